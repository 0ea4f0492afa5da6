//! What a run of `mkinitcpio -P` comes to, image by image; nothing where it may be more than that.

use super::preset::{preset_names, unknown_value};
use super::{PRESETS, TOOL};
use crate::edit::shell::{AssignValue, Command, CommandKind, Dialect, Environment, Evaluation, PartKind, Sourcing, Word, parse};
use std::ops::RangeInclusive;

/// One image that `mkinitcpio -P` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Path of the preset file.
    pub preset: String,
    /// Its name among the `PRESETS` of that file.
    pub name: String,
    /// Path of the image.
    pub image: String,
}

/// The run that is told apart.
pub const ALL_PRESETS: [&str; 2] = [TOOL, "-P"];

/// Where presets of ours are for the time of a run, under the names of the host's: mkinitcpio tells its hooks the name (36 to 41,
/// `MKINITCPIO_PROCESS_PRESET`).
pub const LENT: &str = "/var/lib/cede/mkinitcpio.d";

/// Where mkinitcpio looks for what it runs after each image, with the path that the image has (since 35, `run_post_hooks`).
pub const POST_HOOKS: [&str; 2] = ["/etc/initcpio/post", "/usr/lib/initcpio/post"];

/// Versions that were run. Before 32 an image is written in place, whatever its path, and keeps the mode of the one before.
const VERSIONS: RangeInclusive<u32> = 32..=41;

/// What each of them says where it reads a preset and where it writes the image (`process_preset`, `build_image`).
const KNOWN: [&str; 6] = [
    "if [[ $preset != */* ]]; then\n",
    ". \"$preset\" || die ",
    "for p in \"${PRESETS[@]}\"; do\n",
    "preset_cmd+=(-g \"${!preset_image}\")\n",
    "build_image \"$_optgenimg\" \"$_optcompress\" || exit 1\n",
    "mv -f -- \"$compressout\" \"$out\"\n",
];

/// What a preset sets, behind one of its names or `ALL` (mkinitcpio 41 `process_preset`; `efi_image` and `microcode` in older ones).
const KEYS: [&str; 10] = ["kver", "config", "image", "options", "uki", "efi_image", "microcode", "cmdline", "splash", "kerneldest"];

/// Options that lead no output elsewhere (mkinitcpio 41 `usage`).
const OPTIONS: [&str; 16] = [
    "-A",
    "--addhooks",
    "-S",
    "--skiphooks",
    "-c",
    "--config",
    "-k",
    "--kernel",
    "-n",
    "--nocolor",
    "-v",
    "--verbose",
    "-z",
    "--compress",
    "--cmdline",
    "--splash",
];

/// The images of `mkinitcpio -P` in the order in which it makes them. `presets` are the files that it reads, path and bytes, in its order.
/// `None` where it may do anything else, or what it does cannot be told.
pub fn builds(script: &[u8], presets: &[(String, Vec<u8>)]) -> Option<Vec<Build>> {
    if !is_known(&String::from_utf8_lossy(script)) {
        return None;
    }
    let each: Option<Vec<Vec<Build>>> = presets.iter().map(|(path, bytes)| of_preset(path, bytes)).collect();
    Some(each?.concat())
}

impl Build {
    /// A preset by which mkinitcpio makes this image alone, and at another path. What else the preset says it evaluates itself.
    pub fn preset_at(&self, path: &str) -> String {
        let Self { preset, name, .. } = self;
        format!(". '{preset}' || return\nPRESETS=('{name}')\n{name}_image='{path}'\n")
    }
}

fn is_known(script: &str) -> bool {
    let version = assigned(script, "declare -r version=").map(|text| text.trim_matches('\''));
    let version = version.and_then(|text| text.split('.').next()?.parse().ok());
    let hooks = assigned(script, "_d_post=").unwrap_or_default();
    version.is_some_and(|version| VERSIONS.contains(&version))
        && KNOWN.iter().all(|line| script.contains(line))
        && assigned(script, "_d_presets=").is_some_and(|text| paths(text).eq([PRESETS]))
        && paths(hooks).all(|path| POST_HOOKS.contains(&path))
}

/// What stands behind the beginning of a line.
fn assigned<'a>(script: &'a str, name: &str) -> Option<&'a str> {
    script.lines().find_map(|line| line.strip_prefix(name))
}

/// The paths among text of a shell.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\'', '"', ':', '{', '}']).filter(|word| word.contains('/'))
}

fn of_preset(path: &str, bytes: &[u8]) -> Option<Vec<Build>> {
    if !is_plain(path) || !only_sets_keys(bytes) || unknown_value(path, bytes).is_some() {
        return None;
    }
    let environment = Environment::source(&[bytes], Sourcing::Each, Dialect::Bash);
    let names = preset_names(&environment);
    let build = |name: String| {
        let image = image(&environment, &name)?;
        Some(Build { preset: path.to_owned(), name, image })
    };
    if names.is_empty() { None } else { names.into_iter().map(build).collect() }
}

/// The path of an image, where it is all that is made by this name.
fn image(environment: &Environment, name: &str) -> Option<String> {
    let of = |key: &str| words(environment, &format!("{name}_{key}"));
    let kver = [of("kver")?, words(environment, "ALL_kver")?].concat();
    let unified = [of("uki")?, of("efi_image")?].concat();
    let image = match of("image")?.as_slice() {
        [image] => image.clone(),
        _ => return None,
    };
    let is_known = |word: &str| is_plain(word) && (!word.starts_with('-') || OPTIONS.contains(&word));
    let known_options = of("options")?.iter().flat_map(|words| words.split_whitespace()).all(is_known);
    let whole = image.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    (kver.iter().any(|word| !word.is_empty()) && unified.iter().all(String::is_empty) && known_options && whole && is_plain(&image))
        .then_some(image)
}

/// What a variable holds; `None` where that is not known.
fn words(environment: &Environment, name: &str) -> Option<Vec<String>> {
    let texts = match environment.get(name) {
        Evaluation::Unset => Vec::new(),
        Evaluation::Scalar(text) => vec![text],
        Evaluation::Array(list) => list,
        Evaluation::Unknown(_) => return None,
    };
    texts.iter().map(|text| String::from_utf8(text.bytes()?).ok()).collect()
}

/// True where nothing in it means anything to a shell.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,:=@".contains(&byte))
}

/// Whether a preset does nothing but set what mkinitcpio reads of it: it is sourced once more for each image, and within mkinitcpio, whose own
/// variables begin with `_` and `preset`.
fn only_sets_keys(bytes: &[u8]) -> bool {
    let runs_nothing = |word: &Word| !word.parts.iter().any(|part| matches!(part.kind, PartKind::Computed(_)));
    let is_key = |name: &str| {
        let of = |key: &str| name.strip_suffix(key).is_some_and(|before| before.len() > 1 && before.ends_with('_'));
        name == "PRESETS" || (KEYS.into_iter().any(of) && !name.starts_with('_') && !name.starts_with("preset"))
    };
    let sets = |command: &Command| match &command.kind {
        CommandKind::Simple(simple) if simple.words.is_empty() && !simple.redirected => simple.assigns.iter().all(|assign| {
            is_key(&assign.name)
                && match &assign.value {
                    AssignValue::Scalar(word) => runs_nothing(word),
                    AssignValue::Array(literal) => literal.elements.iter().all(runs_nothing),
                }
        }),
        _ => false,
    };
    parse(bytes, Dialect::Bash).is_ok_and(|script| script.commands.iter().all(sets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(version: &str, presets: &str, hooks: &str) -> String {
        format!("declare -r version={version}\n{hooks}\n{presets}\n{}", KNOWN.concat())
    }

    fn known() -> String {
        script("39.2", "_d_presets=/etc/mkinitcpio.d", "_d_post=/etc/initcpio/post:/usr/lib/initcpio/post")
    }

    const LINUX: &str = "/etc/mkinitcpio.d/linux.preset";

    fn of(preset: &str) -> Option<Vec<Build>> {
        builds(known().as_bytes(), &[(LINUX.to_owned(), preset.as_bytes().to_vec())])
    }

    #[test]
    fn each_image_is_told_in_order() {
        // As mkinitcpio 37 installs it, the options and the image of the first by hand.
        let preset = "# mkinitcpio preset file\n\nALL_config=\"/etc/mkinitcpio.conf\"\nALL_kver=\"/boot/vmlinuz-linux\"\nALL_microcode=(/boot/*-ucode.img)\n\nPRESETS=('default' 'fallback')\n\ndefault_image=\"/boot/initramfs-linux.img\"\n#default_uki=\"/efi/EFI/Linux/arch-linux.efi\"\ndefault_options=\"--splash /usr/share/systemd/bootctl/splash-arch.bmp\"\n\nfallback_image=\"${default_image}.fallback\"\nfallback_options=(-S autodetect -v)\n";
        let build = |name: &str, image: &str| Build { preset: LINUX.to_owned(), name: name.to_owned(), image: image.to_owned() };
        let linux = [build("default", "/boot/initramfs-linux.img"), build("fallback", "/boot/initramfs-linux.img.fallback")];
        assert_eq!(of(preset), Some(linux.to_vec()));
        let lts = "PRESETS=(a a)\na_kver=6.12.1-1-lts\na_uki=\na_image=/efi/arch/lts.img\n";
        let both = [(LINUX, preset), ("/etc/mkinitcpio.d/linux-lts.preset", lts)].map(|(path, text)| (path.to_owned(), text.into()));
        let images: Vec<String> = builds(known().as_bytes(), &both).unwrap().into_iter().map(|build| build.image).collect();
        assert_eq!(images, ["/boot/initramfs-linux.img", "/boot/initramfs-linux.img.fallback", "/efi/arch/lts.img", "/efi/arch/lts.img"]);
        let text = ". '/etc/mkinitcpio.d/linux.preset' || return\nPRESETS=('default')\ndefault_image='/boot/x'\n";
        assert_eq!(linux[0].preset_at("/boot/x"), text);
    }

    #[test]
    fn a_preset_that_may_do_more_is_not_told_apart() {
        let plain = "ALL_kver=x\nPRESETS=(a)\na_image=/boot/a\n";
        assert!(of(plain).is_some());
        for more in [
            // Sourced once more for the second image this would copy the first new one.
            "cp /boot/a /boot/a.bak\n",
            "a_config=$(cp /boot/a /boot/a.bak; echo /etc/a.conf)\n",
            "a_microcode=($(cp /boot/a /boot/a.bak))\n",
            "if true; then a_image=/boot/b; fi\n",
            "[[ -e /x ]] && a_image=/boot/b\n",
            ". /etc/other\n",
            "export a_config=/x\n",
            "readonly PRESETS\n",
            "a_config=/x >/boot/log\n",
            "PRESETS=()\n",
            "PRESETS='a b'\n",
            "PRESETS+=(b)\n",
            "PRESETS=(a $B)\n",
            "a_image=$(ls)\n",
            "a_image=\n",
            "a_image=boot/a\n",
            "a_image=/boot//a\n",
            "a_image=/boot/../a\n",
            "a_image='/boot/a b'\n",
            "a_image=\"/boot/a'b\"\n",
            "a_image=(/boot/a /boot/b)\n",
            "ALL_kver=\n",
            "ALL_kver=$K\n",
            "a_uki=/efi/EFI/Linux/a.efi\n",
            "a_efi_image=/efi/EFI/Linux/a.efi\n",
            "a_options='-g /boot/b'\n",
            "a_options='-S autodetect -g/boot/b'\n",
            "a_options='--gen /boot/b'\n",
            "a_options='-vg /boot/b'\n",
            "a_options=(-S autodetect --uki=/efi/a.efi)\n",
            "a_options='-d /boot'\n",
            "a_options='-- x'\n",
            "a_options='*'\n",
            "a_options=$O\n",
            "_optquiet=0\n",
            "_f_config=/x\n",
            "preset_mkopts+=(-g /boot/b)\n",
            "preset=/x\n",
            "helper=linux\n",
            "a_kver[1]=x\n",
            "a_image=/boot/a\r\n",
            "unclosed='\n",
        ] {
            assert_eq!(of(&format!("{plain}{more}")), None, "{more}");
        }
        assert_eq!(of(""), None);
        let odd_name = [("/etc/mkinitcpio.d/a'b.preset".to_owned(), plain.as_bytes().to_vec())];
        assert_eq!(builds(known().as_bytes(), &odd_name), None);
        let second = [LINUX, "/etc/mkinitcpio.d/z.preset"].map(|path| (path.to_owned(), plain.as_bytes().to_vec()));
        assert_eq!(builds(known().as_bytes(), &second).unwrap().len(), 2);
        let second = [(LINUX.to_owned(), plain.into()), ("/etc/mkinitcpio.d/z.preset".to_owned(), b"reboot\n".to_vec())];
        assert_eq!(builds(known().as_bytes(), &second), None, "one of them is enough");
    }

    #[test]
    fn only_what_was_run_is_known() {
        let preset = [(LINUX.to_owned(), b"ALL_kver=x\nPRESETS=(a)\na_image=/boot/a\n".to_vec())];
        let is_told = |script: &str| builds(script.as_bytes(), &preset).is_some();
        let (presets, post) = ("_d_presets=/etc/mkinitcpio.d", "_d_post=/etc/initcpio/post:/usr/lib/initcpio/post");
        // As they stand in 32 (no hooks), 35, 40 and 41.
        assert!(is_told(&script("32", presets, "")));
        assert!(is_told(&script("35.2", presets, post)));
        assert!(is_told(&script("'40'", "_d_presets='/etc/mkinitcpio.d'", "_d_post='/etc/initcpio/post:/usr/lib/initcpio/post'")));
        let from_environment = "_d_post=${MKINITCPIO_POST_HOOKS:-'/etc/initcpio/post:/usr/lib/initcpio/post'}";
        assert!(is_told(&script("'41'", "_d_presets=${MKINITCPIO_PRESETS:-'/etc/mkinitcpio.d'}", from_environment)));
        for version in ["31", "42", "4", "x", "''", ""] {
            assert!(!is_told(&script(version, presets, post)), "{version}");
        }
        assert!(!is_told(&script("39", "_d_presets=/usr/local/etc/mkinitcpio.d", post)));
        assert!(!is_told(&script("39", "", post)));
        assert!(!is_told(&script("39", presets, "_d_post=/etc/initcpio/post:/opt/post")));
        for line in KNOWN {
            assert!(!is_told(&known().replace(line, "\n")), "{line}");
        }
    }

    /// So that `cargo xtask cuts` cuts this way at every system call.
    #[test]
    fn the_simulated_mkinitcpio_is_known() {
        let laptop =
            cede_model::capture_text::parse(include_str!("../../../../../fixtures/hosts/arch-gtx1650-laptop/host.capture")).unwrap();
        let preset = [(LINUX.to_owned(), laptop.file(LINUX).unwrap().to_vec())];
        assert_eq!(builds(laptop.file(TOOL).unwrap(), &preset).unwrap().len(), 1);
    }
}
