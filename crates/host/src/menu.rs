//! GRUB's menu, made aside and put in place whole. grub-mkconfig writes over the menu that the next start needs (GRUB 2.06
//! `util/grub-mkconfig.in`: `cat ${grub_cfg}.new > ${grub_cfg}`), and a power cut in between leaves half of it, or nothing.

use crate::files::root::Root;
use crate::files::temporary;
use crate::machine::{EffectError, Machine};
use crate::read_host::FILE_LIMIT;
use cede_plan::bootloader::entries::GRUB_CFG;
use std::path::Path;

const UPDATE_GRUB: &str = "/usr/sbin/update-grub";
const GRUB_MKCONFIG: &str = "/usr/sbin/grub-mkconfig";
/// More is no wrapper of one line.
const SCRIPT_LIMIT: usize = 4096;

/// A run of grub-mkconfig that writes beside the menu.
pub(crate) struct Aside {
    /// What is run instead.
    pub(crate) argv: Vec<String>,
    output: String,
}

/// The run for a tool that would write the menu; `None` for any other, and where there is no menu yet that could be lost.
pub(crate) fn aside(root: &Root, argv: &[String]) -> Option<Aside> {
    let script = root.read(UPDATE_GRUB, SCRIPT_LIMIT).unwrap_or_default();
    let tool = tool(argv, &script)?;
    root.metadata(GRUB_CFG).ok()?;
    let path = Path::new(GRUB_CFG);
    let name = temporary::fresh_name(path.file_name()?);
    let output = path.with_file_name(name).to_str()?.to_owned();
    Some(Aside { argv: vec![tool.to_owned(), "-o".to_owned(), output.clone()], output })
}

/// The grub-mkconfig that a command comes to. Debian's update-grub is a wrapper of it; one that somebody changed is run as it is.
fn tool<'a>(argv: &'a [String], update_grub: &[u8]) -> Option<&'a str> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let wrapper = "#!/bin/sh\nset -e\nexec grub-mkconfig -o /boot/grub/grub.cfg \"$@\"\n";
    match words.as_slice() {
        [tool, "-o", GRUB_CFG] if tool.ends_with("/grub-mkconfig") => Some(tool),
        [UPDATE_GRUB] if update_grub == wrapper.as_bytes() => Some(GRUB_MKCONFIG),
        _ => None,
    }
}

impl Aside {
    /// Puts the new menu in the place of the old one, which stays until the new one is on disk.
    pub(crate) fn put(&self, root: &Root) -> Result<(), EffectError> {
        let read = |path: &str| root.read(path, FILE_LIMIT).map_err(|error| EffectError::File(error.to_string()));
        let (old, new) = (read(GRUB_CFG)?, read(&self.output)?);
        root.replace(GRUB_CFG, Some(&old), Some(&new))
    }

    /// Takes away what the tool wrote, and what it left where it failed.
    pub(crate) fn clear(&self, root: &Root) {
        temporary::sweep(root, Path::new(GRUB_CFG));
    }
}

#[cfg(test)]
mod tests {
    use super::tool;

    #[test]
    fn only_what_is_known_to_write_the_menu_is_led_elsewhere() {
        let debian = b"#!/bin/sh\nset -e\nexec grub-mkconfig -o /boot/grub/grub.cfg \"$@\"\n";
        let other = b"#!/bin/sh\nset -e\ngrub-mkconfig -o /boot/grub/grub.cfg\nmy-own-hook\n";
        let cases: [(&[&str], &[u8], Option<&str>); 7] = [
            (&["/usr/sbin/update-grub"], debian, Some("/usr/sbin/grub-mkconfig")),
            (&["/usr/sbin/update-grub"], other, None),
            (&["/usr/sbin/update-grub"], b"", None),
            (&["/usr/bin/grub-mkconfig", "-o", "/boot/grub/grub.cfg"], b"", Some("/usr/bin/grub-mkconfig")),
            (&["/usr/bin/grub-mkconfig", "-o", "/boot/other.cfg"], b"", None),
            (&["/usr/bin/grub-mkconfig"], debian, None),
            (&["/usr/bin/mkinitcpio", "-P"], debian, None),
        ];
        for (argv, script, expected) in cases {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(tool(&argv, script), expected, "{argv:?}");
        }
    }
}
