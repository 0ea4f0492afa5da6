//! mkinitcpio (Arch family): `mkinitcpio.conf` is sourced by bash; since v36 the drop-ins of `mkinitcpio.conf.d` are concatenated to it,
//! unless a preset names a configuration by `-c`. The busybox init loads `MODULES` in order before udev's coldplug; with the systemd hook the
//! order comes from softdep lines, so both are set.

pub mod builds;
mod for_trial;
mod preset;
mod version;

pub use preset::{is_preset, named_configs};

use super::{Early, GeneratorChange, InitramfsGenerator, Share, TrialImage, VFIO_MODULES, VIRQFD, proofs, share};
use crate::edit::shell::{Dialect, Environment, Evaluation, Sourcing, Unknown, Why, array, parse};
use crate::plan::{Refusal, Step};
use crate::unread;
use cede_model::kernel::installed::module_name;
use cede_model::{Entry, Host};
use preset::{has_none, preset_trouble, presets};
use std::cmp::Ordering;

/// mkinitcpio.
pub struct Mkinitcpio;

const MAIN: &str = "/etc/mkinitcpio.conf";
const DROP_INS: &str = "/etc/mkinitcpio.conf.d";
/// Where the presets are.
pub const PRESETS: &str = "/etc/mkinitcpio.d";
const TOOL: &str = "/usr/bin/mkinitcpio";
const OWN_NAMES: [&str; 2] = ["95-cede.conf", "zz-cede.conf"];

impl InitramfsGenerator for Mkinitcpio {
    fn name(&self) -> &'static str {
        "mkinitcpio"
    }

    fn detect(&self, host: &Host) -> bool {
        host.capture.file(MAIN).is_some() || host.capture.file(TOOL).is_some()
    }

    fn has_rivals(&self) -> bool {
        true
    }

    fn is_left_over(&self, host: &Host) -> bool {
        host.capture.get(TOOL) == Some(&Entry::Absent)
    }

    fn early_modules(&self, host: &Host) -> Result<Vec<String>, String> {
        let config = configs(host).into_iter().next().unwrap_or_else(|| Config::default_one(host));
        Ok(config.array("MODULES")?.iter().map(|name| module_name(name.trim_end_matches('?'))).collect())
    }

    fn change(&self, host: &Host, early: &Early) -> Result<GeneratorChange, Refusal> {
        let mut change = GeneratorChange { tools: vec![regenerate()], ..GeneratorChange::default() };
        if let Some(why) = preset_trouble(host) {
            return Err(Refusal::new("mkinitcpio-preset-not-readable", format!("which images mkinitcpio makes cannot be told: {why}")));
        }
        if has_none(host) {
            return Err(Refusal::new(
                "mkinitcpio-no-preset",
                format!(
                    "no preset below {PRESETS} says which images to make, and without one `mkinitcpio -P` makes none: the kernel's package writes one (`pacman -S linux`, or what your kernel is called)"
                ),
            ));
        }
        let mut images = images(host);
        if let Some(image) = images.iter().find(|image| image.unified) {
            return Err(Refusal::new(
                "unified-kernel-image",
                format!(
                    "the preset {} makes a unified kernel image, which cede cannot prove yet: set `{}_image` in its place, with a boot loader entry",
                    image.preset, image.preset
                ),
            ));
        }
        for config in configs(host) {
            config.change(host, early, &mut change)?;
        }
        if images.is_empty() {
            images = images_in_boot(host);
        }
        for image in images {
            let kernel = image.kernel.as_deref().and_then(|release| host.kernels.iter().find(|kernel| kernel.release == release));
            change.proofs.extend(proofs(host, &image.path, kernel, early));
        }
        change.files.dedup();
        Ok(change)
    }

    fn trial(&self, host: &Host, early: &Early, image: &TrialImage) -> Result<GeneratorChange, Refusal> {
        for_trial::change(host, early, image)
    }
}

fn regenerate() -> Step {
    Step::RunTool { argv: vec![TOOL.to_owned(), "-P".to_owned()], why: "makes the initramfs of every preset anew".to_owned() }
}

/// What one run of mkinitcpio sources: the main file with its drop-ins, or one named file alone.
struct Config {
    main: String,
    files: Vec<(String, Vec<u8>)>,
    drop_ins: bool,
    /// Another preset reads the main file without its drop-ins.
    main_alone: bool,
}

/// The configurations that the presets use; those that name none share the main one.
fn configs(host: &Host) -> Vec<Config> {
    let presets = presets(host);
    let mut named: Vec<String> = Vec::new();
    let mut default = presets.is_empty();
    for preset in &presets {
        match &preset.config {
            Some(path) if !named.contains(path) => named.push(path.clone()),
            Some(_) => {}
            None => default = true,
        }
    }
    let mut list: Vec<Config> = named.into_iter().map(|path| Config::alone(host, path)).collect();
    if default {
        // Where a preset reads the main file alone, a drop-in would not reach it: then the main file itself is changed, which serves both.
        let mut config = Config::default_one(host);
        config.main_alone = list.iter().any(|config| config.main == MAIN);
        config.drop_ins &= !config.main_alone;
        list.retain(|config| config.main != MAIN);
        list.insert(0, config);
    }
    list
}

impl Config {
    fn alone(host: &Host, path: String) -> Self {
        let files = host.capture.file(&path).map(|bytes| (path.clone(), bytes.to_vec())).into_iter().collect();
        Self { main: path, files, drop_ins: false, main_alone: false }
    }

    fn default_one(host: &Host) -> Self {
        let mut config = Self::alone(host, MAIN.to_owned());
        config.drop_ins = reads_drop_ins(host);
        if config.drop_ins {
            let mut names: Vec<&str> = host.capture.names_in(DROP_INS).filter(|name| name.ends_with(".conf")).collect();
            names.sort_by(|a, b| version::order(a, b));
            for name in names {
                let path = format!("{DROP_INS}/{name}");
                config.files.extend(host.capture.file(&path).map(|bytes| (path.clone(), bytes.to_vec())));
            }
        }
        config
    }

    /// The main file or a drop-in that is there and could not be read.
    fn unseen(&self, host: &Host) -> Option<String> {
        let drop_in = || unread::trouble_in(&host.capture, DROP_INS, ".conf").filter(|_| self.drop_ins);
        unread::trouble(&host.capture, &self.main).or_else(drop_in)
    }

    fn environment(&self) -> Environment {
        let bytes: Vec<&[u8]> = self.files.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        Environment::source(&bytes, Sourcing::Concatenated, Dialect::Bash)
    }

    /// The elements of an array; of a string the words of its first line (mkinitcpio: functions, `arrayize_config`).
    fn array(&self, name: &str) -> Result<Vec<String>, String> {
        let lossy = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let first_line = |text: &str| {
            let line = text.split('\n').next().unwrap_or_default();
            line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        match self.environment().get(name) {
            Evaluation::Unset => Ok(Vec::new()),
            Evaluation::Scalar(text) => Ok(first_line(&lossy(text.bytes()))),
            Evaluation::Array(list) => Ok(list.iter().map(|text| lossy(text.bytes())).collect()),
            Evaluation::Unknown(unknown) => Err(self.glued(&unknown).unwrap_or_else(|| {
                let path = self.files.get(unknown.file).map_or(self.main.as_str(), |(path, _)| path);
                format!("{}; write it as a plain list there", unknown.in_file(path, name))
            })),
        }
    }

    /// Where a file is well by itself, and not behind one whose last line has no end: they are concatenated.
    fn glued(&self, unknown: &Unknown) -> Option<String> {
        let (before, bytes) = self.files.get(unknown.file.checked_sub(1)?)?;
        let (path, own) = self.files.get(unknown.file)?;
        let is_open = bytes.last().is_some_and(|last| *last != b'\n');
        let is_glued = is_open && matches!(unknown.why, Why::Unreadable(_)) && parse(own, Dialect::Bash).is_ok();
        is_glued.then(|| {
            format!("the last line of {before} has no end, so mkinitcpio reads {path} as the rest of it: `echo >> {before}` ends it")
        })
    }

    fn change(&self, host: &Host, early: &Early, change: &mut GeneratorChange) -> Result<(), Refusal> {
        if !self.files.iter().any(|(path, _)| *path == self.main) && !host.capture.is_there(&self.main) {
            return Err(Refusal::new("mkinitcpio-config-missing", format!("{} could not be read: run as root, or restore it", self.main)));
        }
        if let Some(why) = self.unseen(host) {
            return Err(cannot(why));
        }
        if early.needs_shell && !self.array("HOOKS").map_err(cannot)?.iter().any(|hook| hook == "base") {
            let why = "HOOKS lacks `base`, without which the image has no shell to set driver_override with; add `base`";
            return Err(cannot(format!("{}: {why}", self.main)));
        }
        change.rests_on.extend(self.files.iter().map(|(path, _)| path.clone()));
        let wanted = Wanted::new(host, early);
        let modules = self.array("MODULES").map_err(cannot)?;
        if let Some(glued) = modules.iter().find(|name| name.contains(char::is_whitespace)) {
            return Err(cannot(format!(
                "{}: MODULES has the one element \"{glued}\", which names no module; take the quotes away",
                self.main
            )));
        }
        if self.is_string("MODULES") && self.array("HOOKS").map_err(cannot)?.iter().any(|hook| hook == "systemd") {
            let why = "MODULES is a string, and the systemd hook hands it on as the name of one module; write it as `MODULES=(…)`";
            return Err(cannot(format!("{}: {why}", self.main)));
        }
        let needs_files = self.files_to_add(early)?;
        let serves_all = self.serves_main_alone(&wanted).map_err(cannot)?;
        if serves_all && wanted.leads(&modules) && needs_files.is_empty() {
            return Ok(());
        }
        let fresh = self.drop_ins && !modules.iter().any(|name| wanted.is_ours(name)) && !self.is_string("MODULES");
        let edited = if fresh { self.with_drop_in(&wanted, &needs_files) } else { self.in_place(&wanted, &needs_files) };
        // A second mention of a module does no harm, so a drop-in of ours does where several files list them.
        let edited = edited.or_else(|why| if self.drop_ins { self.with_drop_in(&wanted, &needs_files).map_err(|_| why) } else { Err(why) });
        match edited {
            Ok(after) => change.files.extend(self.steps(after)),
            Err(_) if serves_all && wanted.holds(&modules) && needs_files.is_empty() => {}
            Err(why) => return Err(why),
        }
        Ok(())
    }

    /// Without the `modconf` hook nothing of modprobe.d reaches the image, so the files are listed one by one.
    fn files_to_add(&self, early: &Early) -> Result<Vec<String>, Refusal> {
        let hooks = self.array("HOOKS").map_err(cannot)?;
        let present = self.array("FILES").map_err(cannot)?;
        let missing = early.files.iter().map(|(path, _)| path.clone()).filter(|path| !present.contains(path));
        Ok(if hooks.iter().any(|hook| hook == "modconf") { Vec::new() } else { missing.collect() })
    }

    fn with_files(&self, files: Vec<(String, Vec<u8>)>) -> Self {
        Self { main: self.main.clone(), files, drop_ins: self.drop_ins, main_alone: self.main_alone }
    }

    /// True where a preset that reads the main file alone has our modules first too.
    fn serves_main_alone(&self, wanted: &Wanted) -> Result<bool, String> {
        if !self.main_alone {
            return Ok(true);
        }
        let main = self.with_files(self.files.first().cloned().into_iter().collect()).array("MODULES")?;
        Ok(wanted.holds(&main) && wanted.come_first(&main))
    }

    fn is_string(&self, name: &str) -> bool {
        matches!(self.environment().get(name), Evaluation::Scalar(_))
    }

    /// A file of our own behind the others. It starts with an empty line: the files are glued together, and the one before may lack its line end.
    fn with_drop_in(&self, wanted: &Wanted, files: &[String]) -> Result<Self, Refusal> {
        let mut text = "\n# Written by cede to give PCI devices to guests; `cede undo` removes it.\n".to_owned();
        text.push_str(&format!("MODULES=({} \"${{MODULES[@]}}\")\n", wanted.first.join(" ")));
        // An array added to a string would make one element of all that the string lists.
        let list = files.join(" ");
        match files {
            [] => {}
            _ if self.is_string("FILES") => text.push_str(&format!("FILES+=\" {list}\"\n")),
            _ => text.push_str(&format!("FILES+=({list})\n")),
        }
        let mut trouble = None;
        for name in OWN_NAMES {
            let path = format!("{DROP_INS}/{name}");
            if self.files.iter().any(|(other, _)| *other == path) {
                continue;
            }
            let mut next = self.with_files(self.files.clone());
            let at = next
                .files
                .iter()
                .skip(1)
                .position(|(other, _)| version::order(other.rsplit('/').next().unwrap_or(other), name) == Ordering::Greater);
            next.files.insert(at.map_or(next.files.len(), |at| at + 1), (path, text.clone().into_bytes()));
            match self.check(&next, wanted, files) {
                Ok(()) => return Ok(next),
                Err(refusal) => trouble = Some(refusal),
            }
        }
        Err(trouble
            .unwrap_or_else(|| cannot(format!("{} are both there already; rename one of them below {DROP_INS}", OWN_NAMES.join(" and ")))))
    }

    /// Changes the file that holds our modules already, else the last one that assigns `MODULES`, else the main one.
    fn in_place(&self, wanted: &Wanted, files: &[String]) -> Result<Self, Refusal> {
        let first: Vec<&str> = wanted.first.iter().map(String::as_str).collect();
        let mut trouble = format!("{}: no assignment of MODULES could be changed; write `MODULES=(…)` on one line", self.main);
        for at in (0..self.files.len()).rev() {
            let mut next = self.with_files(self.files.clone());
            let Some((path, bytes)) = next.files.get_mut(at) else { continue };
            let edited = array::put_modules_first(bytes, "MODULES", &first, wanted.obsolete).and_then(|bytes| {
                let list: Vec<&str> = files.iter().map(String::as_str).collect();
                if list.is_empty() { Ok(bytes) } else { array::append_elements(&bytes, "FILES", &list) }
            });
            match edited {
                Ok(edited) => *bytes = edited,
                Err(error) => {
                    trouble = error.in_file(path);
                    continue;
                }
            }
            let path = path.clone();
            if self.assigns_modules(at) || at == 0 {
                if self.check(&next, wanted, files).is_ok() {
                    return Ok(next);
                }
                trouble = format!("{path} is not the only file that sets MODULES; set it in one file");
            }
        }
        Err(cannot(trouble))
    }

    fn assigns_modules(&self, at: usize) -> bool {
        let bytes = self.files.get(at).map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        Environment::source(&[bytes], Sourcing::Concatenated, Dialect::Bash).names().any(|name| name == "MODULES")
    }

    /// The changed files, sourced again, must list our modules and files, and still all others.
    fn check(&self, after: &Self, wanted: &Wanted, files: &[String]) -> Result<(), Refusal> {
        let (old, new) = (self.array("MODULES").map_err(cannot)?, after.array("MODULES").map_err(cannot)?);
        let others = |list: &[String]| list.iter().filter(|name| !wanted.is_ours(name)).cloned().collect::<Vec<_>>();
        let listed = || Ok([self.array("FILES")?.as_slice(), files].concat() == after.array("FILES")?);
        let has_files = files.is_empty() || listed().map_err(cannot)?;
        let serves_all = after.serves_main_alone(wanted).map_err(cannot)?;
        if has_files && serves_all && wanted.holds(&new) && wanted.come_first(&new) && others(&old) == others(&new) {
            return Ok(());
        }
        let last = (0..after.files.len()).rev().find(|at| after.assigns_modules(*at)).and_then(|at| after.files.get(at));
        let path = last.map_or(self.main.as_str(), |(path, _)| path);
        Err(cannot(format!("{path} is read later and sets MODULES anew; write `MODULES+=(…)` there")))
    }

    fn steps(&self, after: Self) -> Vec<Step> {
        let before = |path: &str| self.files.iter().find(|(p, _)| p == path).map(|(_, bytes)| bytes.clone());
        let changed = after.files.into_iter().filter(|(path, bytes)| before(path).as_ref() != Some(bytes));
        changed.map(|(path, bytes)| Step::ReplaceFile { before: before(&path), path, after: Some(bytes) }).collect()
    }
}

fn cannot(why: String) -> Refusal {
    Refusal::new("mkinitcpio-not-editable", format!("mkinitcpio's configuration cannot be changed safely: {why}"))
}

/// What `MODULES` must be like.
struct Wanted {
    first: Vec<String>,
    obsolete: &'static [&'static str],
    natives: Vec<String>,
}

impl Wanted {
    fn new(host: &Host, early: &Early) -> Self {
        // vfio-pci depends on it where it exists, so it need not be listed; listed, it makes mkinitcpio fail for a kernel without it.
        let obsolete: &[&str] = match share(&host.kernels, VIRQFD) {
            Share::Some | Share::None => &[VIRQFD],
            Share::All | Share::Unknown => &[],
        };
        let first = VFIO_MODULES.map(str::to_owned).to_vec();
        Self { first, obsolete, natives: early.natives.clone() }
    }

    fn is_ours(&self, name: &str) -> bool {
        let name = module_name(name.trim_end_matches('?'));
        VFIO_MODULES.contains(&name.as_str()) || name == VIRQFD
    }

    /// True where [`Self::holds`] and ours come before all others, so that no driver of another function has to be thought of.
    fn leads(&self, modules: &[String]) -> bool {
        let others = modules.iter().skip_while(|name| self.is_ours(name));
        self.holds(modules) && !others.into_iter().any(|name| self.is_ours(name))
    }

    /// True where all of ours stand before any other; a second mention further on does no harm.
    fn come_first(&self, modules: &[String]) -> bool {
        let head: Vec<&String> = modules.iter().take_while(|name| self.is_ours(name)).collect();
        self.first.iter().all(|wanted| head.iter().any(|name| module_name(name) == module_name(wanted)))
    }

    /// True where all of ours are listed, none is obsolete, and no native driver of a ceded function comes before vfio-pci.
    fn holds(&self, modules: &[String]) -> bool {
        let name = |text: &String| module_name(text.trim_end_matches('?'));
        let names: Vec<String> = modules.iter().map(name).collect();
        let vfio = names.iter().position(|name| name == "vfio_pci");
        let late = names.iter().take(vfio.unwrap_or(0)).any(|name| self.natives.contains(name));
        let missing = self.first.iter().any(|wanted| !names.contains(&name(wanted)));
        !missing && !late && !names.iter().any(|name| self.obsolete.contains(&name.as_str()))
    }
}

struct Image {
    preset: String,
    path: String,
    kernel: Option<String>,
    unified: bool,
}

fn images(host: &Host) -> Vec<Image> {
    let with_path = presets(host).into_iter().filter_map(|preset| {
        let path = preset.path.or_else(|| preset.unified.then(String::new))?;
        Some(Image { preset: preset.preset, path, kernel: preset.kernel, unified: preset.unified })
    });
    with_path.collect()
}

fn images_in_boot(host: &Host) -> Vec<Image> {
    let names = host.capture.names_in("/boot").filter(|name| name.starts_with("initramfs-") && name.ends_with(".img"));
    names.map(|name| Image { preset: String::new(), path: format!("/boot/{name}"), kernel: None, unified: false }).collect()
}

/// mkinitcpio says itself whether it knows drop-ins (`_d_config`, since v36); without its text, their directory does.
fn reads_drop_ins(host: &Host) -> bool {
    let names_them = |script: &[u8]| {
        let text = String::from_utf8_lossy(script);
        text.contains("mkinitcpio.conf.d") || text.contains("_d_config=")
    };
    host.capture.file(TOOL).map_or_else(|| host.capture.exists(DROP_INS), names_them)
}
