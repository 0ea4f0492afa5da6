//! Menu entries of a generated `grub.cfg`.
//!
//! Reads, never runs: conditions are not decided, so commands of both branches are listed, and variables stand as written.

use super::grub_lexer::{TokenKind, tokens};

/// Submenu levels that are named; deeper ones are read without their names.
const MAX_SUBMENUS: usize = 16;

/// What a `grub.cfg` offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrubCfg {
    /// In the order of the file, those of submenus included.
    pub entries: Vec<MenuEntry>,
    /// `grub-mkconfig` wrote it: it has the marker `### BEGIN /etc/grub.d/`. Without it a person did, and regenerating
    /// would lose that.
    pub generated: bool,
    /// It runs `blscfg`, so further entries come from `loader/entries` (Fedora, RHEL).
    pub blscfg: bool,
}

/// Title and id of a menu entry or submenu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuName {
    /// As shown.
    pub title: Vec<u8>,
    /// Given by `--id` or `$menuentry_id_option`.
    pub id: Option<Vec<u8>>,
}

/// One `menuentry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuEntry {
    /// Title and id.
    pub name: MenuName,
    /// The submenus it is in, outermost first.
    pub submenus: Vec<MenuName>,
    /// Line of the `menuentry` command, from 1.
    pub line: usize,
    /// Its `linux` commands; more than one only with conditions. Empty for other systems and firmware set-up.
    pub linux: Vec<LinuxCommand>,
    /// Paths of its `initrd` commands in order.
    pub initrd: Vec<Vec<u8>>,
}

/// One `linux`, `linuxefi` or `linux16` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinuxCommand {
    /// The command's own name.
    pub command: Vec<u8>,
    /// Path of the kernel, perhaps with a device or variable before it.
    pub kernel: Vec<u8>,
    /// Arguments after GRUB's quoting is removed.
    pub words: Vec<Vec<u8>>,
    /// Line of the command, from 1.
    pub line: usize,
}

impl LinuxCommand {
    /// The command line as GRUB hands it over, without `BOOT_IMAGE=`: an argument with a blank is put into double quotes, and
    /// `\`, `'` and `"` get a backslash unless they begin a `\xNN` (GRUB 2.06 `grub-core/lib/cmdline.c`).
    pub fn command_line(&self) -> Vec<u8> {
        let words: Vec<Vec<u8>> = self.words.iter().map(|word| loader_quote(word)).collect();
        words.join(&b' ')
    }
}

impl MenuEntry {
    /// A rescue entry, which takes `GRUB_CMDLINE_LINUX` only: by its id (`-recovery-`), by its English title, or because the
    /// kernel is told to stop early.
    pub fn is_recovery(&self) -> bool {
        const WORDS: [&[u8]; 6] =
            [b"single", b"recovery", b"rescue", b"emergency", b"systemd.unit=rescue.target", b"systemd.unit=emergency.target"];
        let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
        let mut words = self.linux.iter().flat_map(|linux| &linux.words);
        has(self.name.id.as_deref().unwrap_or_default(), b"-recovery-")
            || has(&self.name.title, b"(recovery mode)")
            || words.any(|word| WORDS.contains(&word.as_slice()))
    }
}

fn loader_quote(word: &[u8]) -> Vec<u8> {
    let blank = word.contains(&b' ');
    let mut out = Vec::with_capacity(word.len() + 2);
    out.extend(blank.then_some(b'"'));
    for (at, byte) in word.iter().enumerate() {
        let tail = word.get(at..).unwrap_or_default();
        let hex = matches!(tail, [b'\\', b'x', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
        if matches!(byte, b'\\' | b'\'' | b'"') && !hex {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.extend(blank.then_some(b'"'));
    out
}

/// Reads a `grub.cfg`. Any bytes are accepted; what is no menu entry is passed over.
pub fn parse(text: &[u8]) -> GrubCfg {
    const MARKER: &[u8] = b"### BEGIN /etc/grub.d/";
    let mut reader = Reader::default();
    for token in tokens(text) {
        match token.kind {
            TokenKind::Word(word) => reader.word(word, token.line),
            TokenKind::End => reader.command(),
            TokenKind::Open => reader.open(),
            TokenKind::Close => reader.close(),
        }
    }
    reader.command();
    reader.cfg.generated = text.windows(MARKER.len()).any(|window| window == MARKER);
    reader.cfg
}

enum Block {
    Submenu(MenuName),
    Entry(usize),
    Other,
}

#[derive(Default)]
struct Reader {
    cfg: GrubCfg,
    blocks: Vec<Block>,
    words: Vec<Vec<u8>>,
    line: usize,
}

impl Reader {
    fn word(&mut self, word: Vec<u8>, line: usize) {
        const LEADERS: [&[u8]; 7] = [b"then", b"else", b"elif", b"if", b"while", b"until", b"do"];
        if self.words.is_empty() {
            if LEADERS.contains(&word.as_slice()) {
                return;
            }
            self.line = line;
        }
        self.words.push(word);
    }

    fn open(&mut self) {
        let words = std::mem::take(&mut self.words);
        let block = match words.split_first() {
            Some((first, rest)) if first == b"submenu" => Block::Submenu(menu_name(rest)),
            Some((first, rest)) if first == b"menuentry" => {
                self.cfg.entries.push(MenuEntry {
                    name: menu_name(rest),
                    submenus: self.submenus(),
                    line: self.line,
                    linux: Vec::new(),
                    initrd: Vec::new(),
                });
                Block::Entry(self.cfg.entries.len() - 1)
            }
            _ => Block::Other,
        };
        self.blocks.push(block);
    }

    fn submenus(&self) -> Vec<MenuName> {
        let names = self.blocks.iter().filter_map(|block| match block {
            Block::Submenu(name) => Some(name.clone()),
            _ => None,
        });
        names.take(MAX_SUBMENUS).collect()
    }

    fn close(&mut self) {
        self.command();
        self.blocks.pop();
    }

    fn command(&mut self) {
        let words = std::mem::take(&mut self.words);
        let Some((command, arguments)) = words.split_first() else {
            return;
        };
        self.cfg.blscfg |= command == b"blscfg";
        let entry = self.blocks.iter().rev().find_map(|block| match block {
            Block::Entry(index) => Some(*index),
            _ => None,
        });
        let Some(entry) = entry.and_then(|index| self.cfg.entries.get_mut(index)) else {
            return;
        };
        if is_command(command, b"linux") {
            if let Some((kernel, words)) = arguments.split_first() {
                entry.linux.push(LinuxCommand { command: command.clone(), kernel: kernel.clone(), words: words.to_vec(), line: self.line });
            }
        } else if is_command(command, b"initrd") {
            entry.initrd.extend_from_slice(arguments);
        }
    }
}

/// `linux`, `linuxefi`, `linux16`, and `linux$variable` or `linux${variable}`, which some distributions write.
fn is_command(word: &[u8], name: &[u8]) -> bool {
    let suffix = word.strip_prefix(name);
    suffix.is_some_and(|suffix| matches!(suffix, b"" | b"efi" | b"16") || suffix.starts_with(b"$"))
}

fn menu_name(words: &[Vec<u8>]) -> MenuName {
    const WITH_VALUE: [&[u8]; 4] = [b"--class", b"--users", b"--hotkey", b"--source"];
    const ID: [&[u8]; 3] = [b"--id", b"$menuentry_id_option", b"${menuentry_id_option}"];
    let mut name = MenuName { title: Vec::new(), id: None };
    let mut titled = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if ID.contains(&word.as_slice()) {
            name.id = words.next().cloned();
        } else if let Some(id) = word.strip_prefix(b"--id=") {
            name.id = Some(id.to_vec());
        } else if WITH_VALUE.contains(&word.as_slice()) {
            words.next();
        } else if !word.starts_with(b"--") && !titled {
            name.title.clone_from(word);
            titled = true;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{GrubCfg, LinuxCommand, parse};

    const DEBIAN: &[u8] = include_bytes!("../../../../fixtures/grub/debian-2.06.cfg");

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_generated_file() {
        let cfg = parse(DEBIAN);
        assert!(cfg.generated && !cfg.blscfg);
        let recovery: Vec<bool> = cfg.entries.iter().map(|entry| entry.is_recovery()).collect();
        assert_eq!(recovery, [false, false, true, false, true]);
        let simple = &cfg.entries[0];
        assert_eq!(text(&simple.name.title), "Debian GNU/Linux");
        let id = simple.name.id.as_deref().unwrap();
        assert_eq!(text(id), "gnulinux-simple-1111aaaa-22bb-33cc-44dd-555566667777");
        assert!(simple.submenus.is_empty());
        assert_eq!(text(&simple.linux[0].kernel), "/vmlinuz-6.12.9-amd64");
        assert!(simple.linux[0].words.contains(&b"vfio-pci.ids=10de:1b80,10de:10f0".to_vec()));
        assert!(simple.linux[0].words.contains(&b"dyndbg=file drivers/vfio/* +p".to_vec()));
        let line = simple.linux[0].line;
        assert!(text(DEBIAN).lines().nth(line - 1).unwrap().starts_with("\tlinux\t/vmlinuz-6.12.9-amd64"));
        assert_eq!(
            text(&simple.linux[0].command_line()),
            "root=/dev/sda2 ro console=ttyS0 quiet intel_iommu=on \"dyndbg=file drivers/vfio/* +p\" \
             vfio-pci.ids=10de:1b80,10de:10f0"
        );
        let nested = &cfg.entries[4];
        assert_eq!(text(&nested.submenus[0].title), "Advanced options for Debian GNU/Linux");
        assert!(text(nested.submenus[0].id.as_deref().unwrap()).starts_with("gnulinux-advanced-"));
        assert_eq!(nested.initrd, [b"/initrd.img-6.1.0-28-amd64".to_vec()]);
    }

    fn one(script: &str) -> GrubCfg {
        let cfg = parse(script.as_bytes());
        assert_eq!(cfg.entries.len(), 1, "{script}");
        cfg
    }

    #[test]
    fn conditions_blocks_and_variants() {
        let cfg = one("function f { menu x; }\nmenuentry --unrestricted --class a \"T \\\"q\\\"\" --id=x{\n\
            if [ $a ]; then linuxefi ($root)/v1 a=${b}c; else linux16 /v2; fi\n\
            { linux$x /v3 'b c' # d\n initrdefi /u /i; }\n initrd16 /j }\nlinux /outside\n");
        let entry = &cfg.entries[0];
        assert_eq!(text(&entry.name.title), "T \"q\"");
        assert_eq!(entry.name.id.as_deref(), Some(&b"x"[..]));
        let kernels: Vec<&str> = entry.linux.iter().map(|linux| text(&linux.kernel)).collect();
        assert_eq!(kernels, ["($root)/v1", "/v2", "/v3"]);
        assert_eq!(entry.linux[0].words, [b"a=${b}c".to_vec()]);
        assert_eq!(entry.linux[2].words, [b"b c".to_vec()]);
        assert_eq!(entry.initrd, [b"/u".to_vec(), b"/i".to_vec(), b"/j".to_vec()]);
    }

    #[test]
    fn signs_of_other_kinds_of_file() {
        let fedora = parse(b"if [ x = x ]; then\n  blscfg\nfi\n");
        assert!(fedora.blscfg && !fedora.generated && fedora.entries.is_empty());
        for word in ["single", "systemd.unit=rescue.target"] {
            assert!(one(&format!("menuentry a {{ linux /v {word}; }}")).entries[0].is_recovery());
        }
        assert!(!one("menuentry a { linux /v singles; }").entries[0].is_recovery());
        assert!(one("menuentry UEFI { fwsetup; }").entries[0].linux.is_empty());
    }

    #[test]
    fn quoting_towards_the_kernel() {
        let words = [&b"plain"[..], b"a b", b"q\"q", b"b\\c", b"h\\x20i", b""];
        let linux = LinuxCommand { command: b"linux".to_vec(), kernel: b"/v".to_vec(), words: words.map(<[u8]>::to_vec).to_vec(), line: 1 };
        assert_eq!(text(&linux.command_line()), "plain \"a b\" q\\\"q b\\\\c h\\x20i ");
    }

    #[test]
    fn tolerates_anything() {
        for broken in ["}}}}", "menuentry", "menuentry {", "menuentry 'x", "{{{{", "submenu a { menuentry b { linux"] {
            parse(broken.as_bytes());
        }
        for length in 0..DEBIAN.len() {
            assert!(parse(&DEBIAN[..length]).entries.len() <= 5);
        }
        let deep = "submenu a { ".repeat(50_000) + "menuentry b { linux /v }";
        assert_eq!(one(&deep).entries[0].submenus.len(), 16);
        let mut seed = 3u32;
        for _ in 0..5000 {
            let mut damaged = DEBIAN.to_vec();
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 8) as usize % damaged.len();
            damaged[at] = (seed >> 4) as u8;
            assert!(parse(&damaged).entries.len() <= 6);
        }
    }
}
