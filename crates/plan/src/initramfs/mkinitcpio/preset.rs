//! Presets: which images `mkinitcpio -P` makes, and from which configuration (mkinitcpio 41 `process_preset`).

use super::PRESETS;
use crate::edit::shell::{Dialect, Environment, Evaluation, Sourcing};
use crate::unread;
use cede_model::kernel::Kernel;
use cede_model::{Entry, Host};

/// One image of one preset.
pub(super) struct Preset {
    pub(super) preset: String,
    pub(super) config: Option<String>,
    pub(super) path: Option<String>,
    pub(super) kernel: Option<String>,
    pub(super) unified: bool,
    /// Further arguments of mkinitcpio, which it splits at blanks.
    pub(super) options: Option<String>,
}

pub(super) fn presets(host: &Host) -> Vec<Preset> {
    paths(host).flat_map(|path| read_preset(host, &path)).collect()
}

/// Whether the shell's `*.preset` matches a name.
pub fn is_preset(name: &[u8]) -> bool {
    name.ends_with(b".preset") && !name.starts_with(b".")
}

fn paths(host: &Host) -> impl Iterator<Item = String> {
    let names = host.capture.names_in(PRESETS).filter(|name| is_preset(name.as_bytes()));
    names.map(|name| format!("{PRESETS}/{name}"))
}

/// True where there is no preset, so that `mkinitcpio -P` ends with `No presets found`.
pub(super) fn has_none(host: &Host) -> bool {
    matches!(host.capture.get(PRESETS), Some(Entry::Absent | Entry::Dir)) && paths(host).next().is_none()
}

/// The configurations that a preset names for its images.
pub fn named_configs(preset: &[u8]) -> Vec<String> {
    let environment = Environment::source(&[preset], Sourcing::Each, Dialect::Bash);
    let names = preset_names(&environment).into_iter().chain(["ALL".to_owned()]);
    names.filter_map(|name| set(&environment, &format!("{name}_config"))).collect()
}

/// The value of a variable, where it is a string that is not empty: mkinitcpio takes an empty one for unset.
fn set(environment: &Environment, name: &str) -> Option<String> {
    let Evaluation::Scalar(text) = environment.get(name) else { return None };
    text.bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.is_empty())
}

/// The words of `"${PRESETS[@]}"`; a string is one word.
pub(super) fn preset_names(environment: &Environment) -> Vec<String> {
    let texts = match environment.get("PRESETS") {
        Evaluation::Array(list) => list,
        Evaluation::Scalar(text) => vec![text],
        Evaluation::Unset | Evaluation::Unknown(_) => Vec::new(),
    };
    texts.iter().filter_map(|text| text.bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// A preset that could not be read, or of which a value that matters cannot be told.
pub(super) fn preset_trouble(host: &Host) -> Option<String> {
    unread::trouble_in(&host.capture, PRESETS, ".preset")
        .or_else(|| paths(host).find_map(|path| unknown_value(&path, host.capture.file(&path)?)))
}

pub(super) fn unknown_value(path: &str, bytes: &[u8]) -> Option<String> {
    let environment = Environment::source(&[bytes], Sourcing::Each, Dialect::Bash);
    let names = preset_names(&environment);
    let keys = ["config", "image", "kver", "uki", "efi_image"];
    let own = names.iter().flat_map(|name| keys.map(|key| format!("{name}_{key}"))).chain(["ALL_config", "ALL_kver"].map(str::to_owned));
    let unknown = std::iter::once("PRESETS".to_owned()).chain(own).find_map(|variable| match environment.get(&variable) {
        Evaluation::Unknown(unknown) => Some(format!("{}; write its value out there", unknown.in_file(path, &variable))),
        _ => None,
    });
    unknown.or_else(|| odd_option(path, &environment, &names))
}

/// An option that stands in the place of one of the preset's own variables.
fn odd_option(path: &str, environment: &Environment, names: &[String]) -> Option<String> {
    const OWN: [(&str, &str); 5] = [("-c", "config"), ("--config", "config"), ("-U", "uki"), ("--uki", "uki"), ("--uefi", "uki")];
    let odd = |name: &String| {
        let options = match environment.get(&format!("{name}_options")) {
            Evaluation::Scalar(text) => vec![text],
            Evaluation::Array(list) => list,
            Evaluation::Unset | Evaluation::Unknown(_) => Vec::new(),
        };
        let words =
            options.iter().filter_map(|text| text.bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect::<Vec<_>>();
        let is = |option: &str| words.iter().flat_map(|text| text.split(' ')).any(|word| word.split('=').next() == Some(option));
        let (option, key) = OWN.iter().find(|(option, _)| is(option))?;
        Some(format!("{path}: {name}_options has `{option}`; write it as `{name}_{key}=` there"))
    };
    names.iter().find_map(odd)
}

fn read_preset(host: &Host, path: &str) -> Vec<Preset> {
    let bytes = host.capture.file(path).unwrap_or_default();
    let environment = Environment::source(&[bytes], Sourcing::Each, Dialect::Bash);
    let names = preset_names(&environment);
    let read = |name: String| {
        let own = |key: &str| set(&environment, &format!("{name}_{key}"));
        let shared = |key: &str| own(key).or_else(|| set(&environment, &format!("ALL_{key}")));
        // The old name counts where the new one is not set at all.
        let uki = if environment.get(&format!("{name}_uki")) == Evaluation::Unset { own("efi_image") } else { own("uki") };
        Preset {
            config: shared("config"),
            path: own("image"),
            kernel: shared("kver").and_then(|kver| release(host, &kver)),
            unified: uki.is_some(),
            options: own("options"),
            preset: name,
        }
    };
    names.into_iter().map(read).collect()
}

/// The release behind `ALL_kver`: a release, a path below its module tree, or `/boot/vmlinuz-NAME` of which the module tree knows the package's name.
fn release(host: &Host, kver: &str) -> Option<String> {
    let named = |kernel: &&Kernel| kver == kernel.release || kver.contains(&format!("/modules/{}/", kernel.release));
    let package = kver.rsplit('/').next()?.strip_prefix("vmlinuz-");
    let packaged = |kernel: &&Kernel| package.is_some() && host.capture.attribute(&format!("{}/pkgbase", kernel.modules_dir)) == package;
    host.kernels.iter().find(named).or_else(|| host.kernels.iter().find(packaged)).map(|kernel| kernel.release.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_named_as_bash_reads_them() {
        let preset = b"C=/etc/c.conf\nALL_config=\"$C\" # mine\nALL_kver=/v; a_config='/etc/a.conf'\nb_config=\nPRESETS=(a b)\n";
        assert_eq!(named_configs(preset), ["/etc/a.conf", "/etc/c.conf"]);
    }
}
