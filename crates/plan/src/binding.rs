//! How vfio-pci gets the functions before their native drivers do: ids, and softdep lines for the order.

use crate::by_address;
use crate::edit::modprobe::{ModprobeConfig, with_value_extended};
use crate::intent::{BindMethod, Identity};
use crate::plan::{Refusal, Step};
use crate::shell_word::quoted;
use crate::unread;
use cede_model::kernel::{ModuleAliases, installed::ModuleForm, module_name};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Entry, Host};
use std::collections::BTreeSet;

/// Our own file of modprobe.d. Of several softdep lines for a module only the first counts (kmod: `kmod_softdep`), hence a name that sorts first.
pub const OWN_FILE: &str = "/etc/modprobe.d/00-cede.conf";

const OWN_HEAD: &str = "# Written by cede to give PCI devices to guests; `cede undo` removes it.\n";

/// Where the owner of a host writes. A file there hides those of its name in the other directories (modprobe.d(5)).
const OWNERS_DIR: &str = "/etc/modprobe.d/";

const MODPROBE_DIRS: [&str; 5] =
    ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

/// modprobe.d as this host has it, all directories.
pub fn modprobe_config(host: &Host) -> ModprobeConfig {
    ModprobeConfig::from_files(modprobe_files(host))
}

/// Every file of modprobe.d that was read.
pub fn modprobe_files(host: &Host) -> Vec<(&str, &[u8])> {
    let below = MODPROBE_DIRS.iter().flat_map(|dir| host.capture.below(format!("{dir}/")));
    below.filter_map(|(path, entry)| if let Entry::File(bytes) = entry { Some((path, bytes.as_slice())) } else { None }).collect()
}

/// The ids for vfio-pci, each once. Where another function has the same vendor and device, the subsystem's numbers tell them apart if they can.
///
/// # Errors
/// A function that stays cannot be told from one that goes.
pub fn ids(host: &Host, ceded: &[Identity]) -> Result<Vec<String>, Vec<Refusal>> {
    let mut ids: Vec<String> = Vec::new();
    let mut refusals = Vec::new();
    let by_address: Vec<_> = by_address::told(&modprobe_config(host)).iter().filter_map(by_address::Told::address).collect();
    // One that vfio-pci has by its address may come back to the host, and must not be taken by ids then.
    let has_gone = |device: &PciDevice| device.is_on_vfio() && !by_address.contains(&device.address);
    for identity in ceded {
        let goes = |device: &PciDevice| ceded.iter().any(|other| other.address == device.address);
        let twins: Vec<&PciDevice> =
            host.devices.iter().filter(|d| d.id == Some(identity.id) && !goes(d) && !d.is_bridge() && !has_gone(d)).collect();
        let id = match (twins.as_slice(), identity.subsystem) {
            ([], _) => identity.id.to_string(),
            (twins, Some(own)) if twins.iter().all(|twin| twin.subsystem != Some(own)) => format!("{}:{own}", identity.id),
            ([twin, ..], _) => {
                refusals.push(Refusal::new(
                    "twins",
                    format!("{} and {} are alike ([{}]): ids cannot tell them apart, and the second would be taken from the host too; use --bind override, or give both", identity.address, twin.address, identity.id),
                ));
                continue;
            }
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if refusals.is_empty() { Ok(ids) } else { Err(refusals) }
}

/// Each ceded function that another one is like in all that ids can tell, and the address of that one, which stays.
pub fn twins<'c>(host: &Host, ceded: &'c [Identity]) -> Vec<(&'c Identity, PciAddress)> {
    let stays = |device: &&PciDevice| !device.is_bridge() && !ceded.iter().any(|other| other.address == device.address);
    let twin = |identity: &Identity| {
        let alike = |device: &&PciDevice| device.id == Some(identity.id) && device.subsystem == identity.subsystem;
        host.devices.iter().filter(stays).find(alike).map(|device| device.address)
    };
    ceded.iter().filter_map(|identity| Some((identity, twin(identity)?))).collect()
}

/// The native drivers that vfio-pci must come before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Natives {
    /// Loadable modules, with underscores, sorted.
    pub modules: Vec<String>,
    /// Drivers that are built into a kernel: function, module, release.
    pub built_in: Vec<(String, String, String)>,
}

impl Natives {
    /// Every module of every kernel that could drive one of the functions.
    pub fn of(host: &Host, ceded: &[Identity]) -> Self {
        let devices: Vec<&PciDevice> = ceded.iter().filter_map(|identity| host.device(identity.address)).collect();
        let mut modules: BTreeSet<String> = devices.iter().filter_map(|device| bound_module(host, device)).collect();
        let mut built_in = Vec::new();
        for kernel in &host.kernels {
            let aliases: ModuleAliases<'_> = kernel.aliases(&host.capture, &host.devices);
            for device in &devices {
                for name in host.candidates(device, &aliases).iter().map(|name| module_name(name)).filter(|name| !is_stub(name)) {
                    match kernel.form(&name) {
                        ModuleForm::Loadable => _ = modules.insert(name),
                        ModuleForm::BuiltIn => built_in.push((device.address.to_string(), name, kernel.release.clone())),
                        ModuleForm::Missing => {}
                    }
                }
            }
        }
        Self { modules: modules.into_iter().collect(), built_in }
    }
}

/// The module of the driver that has the function now, where one of its name exists, or where no module tree was seen.
fn bound_module(host: &Host, device: &PciDevice) -> Option<String> {
    let name = module_name(device.driver_name().filter(|_| !device.is_on_vfio())?);
    let exists = host.kernels.is_empty() || host.kernels.iter().any(|kernel| kernel.form(&name) == ModuleForm::Loadable);
    (exists && !is_stub(&name)).then_some(name)
}

fn is_stub(module: &str) -> bool {
    module == "pci_stub" || module.ends_with("vfio_pci")
}

/// The changes of modprobe.d: our own file, and where ids are set in another file already, that file.
///
/// # Errors
/// A file that comes before ours decides otherwise.
pub fn modprobe_steps(host: &Host, natives: &Natives, bind: BindMethod, ids: &[String], ceded: &[Identity]) -> Result<Vec<Step>, Refusal> {
    if let Some(why) = unread_file(host) {
        return Err(Refusal::new("modprobe-not-readable", format!("what modprobe.d says cannot be told: {why}")));
    }
    let config = modprobe_config(host);
    if let Some(refusal) = never_loaded(&config) {
        return Err(refusal);
    }
    let mut lines = Vec::new();
    for module in &natives.modules {
        lines.extend(softdep_line(host, &config, module)?);
    }
    let mut steps = Vec::new();
    if bind == BindMethod::Modprobe {
        match config.option("vfio_pci", "ids") {
            None => lines.push(format!("options vfio-pci ids={}", ids.join(","))),
            Some((value, source)) => steps.extend(joined_ids(host, &value, &source.path, source.line, ids)?),
        }
    }
    let own = steps.iter().position(|step| step.path() == Some(OWN_FILE)).map(|at| steps.remove(at));
    let before = host.capture.file(OWN_FILE).map(<[u8]>::to_vec);
    let base = match own {
        Some(Step::ReplaceFile { after, .. }) => after,
        _ => before.clone(),
    };
    let mut after = with_lines(base.as_deref(), &lines);
    if bind == BindMethod::Override {
        let text = after.unwrap_or_else(|| OWN_HEAD.as_bytes().to_vec());
        after = Some(by_address::with_functions(host, &text, ceded)?);
    }
    if after != before && after.is_some() {
        steps.insert(0, Step::ReplaceFile { path: OWN_FILE.to_owned(), before, after });
    }
    Ok(steps)
}

/// An `install` line that runs nothing in place of loading vfio-pci, the idiom by which a module is switched off. What a script does is not known.
fn never_loaded(config: &ModprobeConfig) -> Option<Refusal> {
    let (command, source) = config.install("vfio_pci")?;
    let program = command.split_whitespace().next()?.rsplit('/').next()?;
    matches!(program, "true" | "false" | ":").then(|| {
        Refusal::new(
            "vfio-pci-switched-off",
            format!(
                "{}:{} runs `{command}` in place of loading vfio-pci, so it would never get the device: take that line out",
                source.path, source.line
            ),
        )
    })
}

/// A file that could not be read, unless one of the same name in a directory of higher precedence hides it.
fn unread_file(host: &Host) -> Option<String> {
    let own = unread::trouble(&host.capture, OWN_FILE);
    let mut hidden: BTreeSet<String> = BTreeSet::new();
    let mut inside = |dir: &str| {
        let mut names = host.capture.names_in(dir).filter(|name| name.ends_with(".conf"));
        let counts = |name: &str| host.capture.get(&format!("{dir}/{name}")).is_some_and(|entry| *entry != Entry::Dir);
        let found = names.find_map(|name| {
            let fresh = counts(name) && hidden.insert(name.to_owned());
            unread::trouble(&host.capture, &format!("{dir}/{name}")).filter(|_| fresh)
        });
        host.capture.unreadable(dir).map(|why| unread::unreadable(dir, why)).or(found)
    };
    own.or_else(|| MODPROBE_DIRS.into_iter().find_map(&mut inside))
}

fn with_lines(base: Option<&[u8]>, lines: &[String]) -> Option<Vec<u8>> {
    if lines.is_empty() {
        return base.map(<[u8]>::to_vec);
    }
    let mut out = base.map_or_else(|| OWN_HEAD.as_bytes().to_vec(), <[u8]>::to_vec);
    if out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
    for line in lines {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    Some(out)
}

/// The line that puts vfio-pci before a module, with what the module's present softdep says; `None` where that is so already.
fn softdep_line(host: &Host, config: &ModprobeConfig, module: &str) -> Result<Option<String>, Refusal> {
    let (mut pre, mut post) = (Vec::new(), Vec::new());
    if let Some(softdep) = config.softdep(module) {
        if softdep.pre.iter().any(|name| module_name(name) == "vfio_pci") {
            return Ok(None);
        }
        let name = softdep.source.path.rsplit('/').next().unwrap_or_default();
        if name <= "00-cede.conf" {
            return Err(Refusal::new(
                "softdep-decided-elsewhere",
                format!(
                    "{}:{} sets a softdep of {module}, and only the first one counts: add `vfio-pci` to its `pre:` list, or rename the file to sort after 00-cede.conf",
                    softdep.source.path, softdep.source.line
                ),
            ));
        }
        (pre, post) = (softdep.pre, softdep.post);
    } else {
        for kernel in &host.kernels {
            let table = host.capture.file(&format!("{}/modules.softdep", kernel.modules_dir)).unwrap_or_default();
            if let Some(softdep) = ModprobeConfig::from_files([("/etc/modprobe.d/modules.conf", table)]).softdep(module) {
                pre.extend(softdep.pre);
                post.extend(softdep.post);
            }
        }
    }
    Ok(Some(render_softdep(module, &pre, &post)))
}

fn render_softdep(module: &str, pre: &[String], post: &[String]) -> String {
    let unique = |list: &[String]| {
        let mut seen = BTreeSet::new();
        list.iter().filter(|name| module_name(name) != "vfio_pci" && seen.insert(module_name(name))).cloned().collect::<Vec<_>>()
    };
    let mut line = format!("softdep {module} pre: vfio-pci");
    for name in unique(pre) {
        line.push_str(&format!(" {name}"));
    }
    let post = unique(post);
    if !post.is_empty() {
        line.push_str(&format!(" post: {}", post.join(" ")));
    }
    line
}

/// Of several `ids=` the last one wins, so the missing ids join the list that is in force.
fn joined_ids(host: &Host, value: &str, path: &str, line: usize, ids: &[String]) -> Result<Option<Step>, Refusal> {
    let present: Vec<&str> = value.split(',').filter(|item| !item.is_empty()).collect();
    let missing: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| !present.iter().any(|item| crate::parameter::covers(item, id))).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    if !path.starts_with(OWNERS_DIR) {
        let name = path.rsplit('/').next().unwrap_or_default();
        return Err(Refusal::new(
            "ids-not-editable",
            format!(
                "{path}:{line} sets ids for vfio-pci, and a change there would be lost, with the package's next version or at the next start: `cp {} {OWNERS_DIR}{}` puts a file in its place that may be changed",
                quoted(path),
                quoted(name)
            ),
        ));
    }
    let before = host.capture.file(path).unwrap_or_default();
    let comma = if value.is_empty() || value.ends_with(',') { "" } else { "," };
    let more = format!("{comma}{}", missing.join(","));
    // A carriage return is part of the last id for modprobe; nothing is written behind it.
    let plain = !value.bytes().any(|byte| byte.is_ascii_control());
    let extended = with_value_extended(before, line, "ids", &more).filter(|after| {
        let read = ModprobeConfig::from_files([(path, after.as_slice())]).option("vfio_pci", "ids");
        plain && read.is_some_and(|(read, _)| read == format!("{value}{more}"))
    });
    match extended {
        Some(after) => Ok(Some(Step::ReplaceFile { path: path.to_owned(), before: Some(before.to_vec()), after: Some(after) })),
        None => Err(Refusal::new(
            "ids-not-editable",
            format!(
                "{path}:{line} sets ids for vfio-pci in a way that cannot be extended safely: write them as `options vfio-pci ids=…` on one line"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_module_had_stays() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(render_softdep("nouveau", &list("drm vfio-pci drm"), &list("x y")), "softdep nouveau pre: vfio-pci drm post: x y");
        assert_eq!(render_softdep("nvme", &[], &[]), "softdep nvme pre: vfio-pci");
    }

    #[test]
    fn lines_join_our_file() {
        assert_eq!(with_lines(Some(b"a"), &["b".into()]), Some(b"a\nb\n".to_vec()));
        assert_eq!(with_lines(None, &[]), None);
        assert!(with_lines(None, &["b".into()]).unwrap().ends_with(b"removes it.\nb\n"));
    }
}
