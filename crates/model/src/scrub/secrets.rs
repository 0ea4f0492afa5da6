//! Words of the boot configuration that are nobody else's: passwords, servers and addresses, names of people.

use super::told;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;
use std::ops::Range;

/// What stands for a value.
const GONE: &str = "scrubbed";

/// Parameters whose values name machines of a network (dracut.cmdline(7), Documentation/admin-guide/nfs/nfsroot.rst,
/// Documentation/networking/netconsole.rst; those of installers).
const NETWORK: [&str; 19] = [
    "ip",
    "nfsroot",
    "cifsroot",
    "nfsaddrs",
    "netconsole",
    "nameserver",
    "netroot",
    "rd.route",
    "rd.nfs.domain",
    "proxy",
    "inst.proxy",
    "ks",
    "inst.ks",
    "inst.repo",
    "url",
    "preseed/url",
    "cloud-config-url",
    "ds",
    "fetch",
];

/// How parameters begin that name servers, users and passwords.
const NETWORK_STARTS: [&str; 3] = ["rd.iscsi.", "rd.nvmf.", "iscsi_"];

/// What parameters with a secret have in their names.
const SECRET: [&str; 10] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "api_key", "serialno", "hostname"];

/// And what is a word of them: `pass` is one of `pass` and `wifi.pass`, not of `iommu.passthrough`.
const SECRET_WORDS: [&str; 3] = ["pass", "psk", "pwd"];

/// How a hash of GRUB's and the names of iSCSI and of NVMe over networks begin.
const NAMES_OF_OTHERS: [&str; 3] = ["grub.pbkdf2.", "iqn.", "nqn."];

/// Kinds of `root=` with a server behind the colon.
const REMOTE_ROOTS: [&str; 7] = ["nfs", "nfs4", "cifs", "iscsi", "nbd", "live", "fcoe"];

/// Directories that people's names stand below.
/// (`/@home/`: subvolumes; `/USERDATA/`: ZFS as Ubuntu sets it up.)
const HOMES: [&str; 5] = ["/home/", "/run/media/", "/media/", "/@home/", "/USERDATA/"];

/// What was found, and what stands for the people.
#[derive(Default)]
pub(super) struct Secrets {
    values: usize,
    people: BTreeMap<String, usize>,
}

impl Secrets {
    /// What was replaced, one line each.
    pub(super) fn said(&self) -> Vec<String> {
        told([
            (self.values, "value", " of the boot configuration: passwords, servers, network addresses"),
            (self.people.len(), "name", " of people, after /home and the like"),
        ])
    }

    /// A text of the boot configuration without them.
    pub(super) fn clean(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            self.line(line, &mut out);
        }
        out
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut before: &[u8] = &[];
        // Everything up to this byte goes.
        let mut until: Option<u8> = None;
        for part in line.split_inclusive(|byte| is_end(*byte)) {
            let (word, end) = part.split_at(part.iter().position(|byte| is_end(*byte)).unwrap_or(part.len()));
            let mut opened = false;
            match word {
                [] if before == b"--users" && until.is_none() => {
                    until = end.first().copied().filter(|byte| is_quote(*byte));
                    opened = until.is_some();
                }
                [] => {}
                _ if until.is_some() || before == b"--users" => self.gone(b"", word, out),
                // `password NAME SECRET`, `password_pbkdf2 NAME HASH`, `set superusers=NAMES` (GRUB manual, Authentication and authorisation).
                _ if before.is_empty() && word.starts_with(b"password") && !word.contains(&b'=') => {
                    out.extend_from_slice(word);
                    until = Some(b'\n');
                }
                _ => {
                    opened = self.word(word, out);
                    until = end.first().copied().filter(|byte| opened && is_quote(*byte));
                }
            }
            until = until.filter(|last| opened || end.first() != Some(last));
            out.extend_from_slice(end);
            if !word.is_empty() {
                before = word;
            }
        }
    }

    /// Writes a word without its secrets; true where the value of a parameter that is one only follows.
    fn word(&mut self, word: &[u8], out: &mut Vec<u8>) -> bool {
        let (key, value) = word.split_at(word.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1));
        let name = String::from_utf8_lossy(key.strip_suffix(b"=").unwrap_or_default()).to_ascii_lowercase();
        // `$` begins what a shell puts there.
        let is_plain = value.first() != Some(&b'$');
        let is_secret = name == "superusers" || name == "--users" || is_secret(&name) || has_secret_option(value);
        let is_network = NETWORK.contains(&name.as_str()) || NETWORK_STARTS.iter().any(|start| name.starts_with(start));
        if is_plain && (is_secret || (is_network && value.iter().any(|byte| b".:@/".contains(byte)))) && !value.is_empty() {
            self.gone(key, value, out);
        } else if let Some(at) = remote_root(&name, value) {
            self.gone(&[key, value.get(..at).unwrap_or_default()].concat(), value.get(at..).unwrap_or_default(), out);
        } else if has_address(&name, value) || NAMES_OF_OTHERS.iter().any(|start| value.starts_with(start.as_bytes())) {
            self.gone(key, value, out);
        } else {
            self.without_user(word, out);
        }
        value.is_empty() && (is_secret || is_network)
    }

    fn gone(&mut self, before: &[u8], secret: &[u8], out: &mut Vec<u8>) {
        self.values += usize::from(secret != GONE.as_bytes());
        out.extend_from_slice(before);
        out.extend_from_slice(GONE.as_bytes());
    }

    /// `//user:password@server` as `//scrubbed@server`.
    fn without_user(&mut self, word: &[u8], out: &mut Vec<u8>) {
        let user = || {
            let (before, rest) = word.split_at(memchr::memmem::find(word, b"://")? + 3);
            let length = rest.iter().take_while(|byte| **byte != b'/').position(|byte| *byte == b'@')?;
            Some((before, rest.split_at(length)))
        };
        match user() {
            Some((before, (user, after))) => {
                self.gone(before, user, out);
                out.extend_from_slice(after);
            }
            None => out.extend_from_slice(word),
        }
    }

    /// A text, a path or the target of a link with made-up names for the people whose directories it names.
    pub(super) fn without_people(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut kept = 0;
        for at in memchr::memchr_iter(b'/', text) {
            let rest = text.get(at..).unwrap_or_default();
            let Some(home) = HOMES.iter().find(|home| rest.starts_with(home.as_bytes())).filter(|_| at >= kept) else { continue };
            let name = person(rest.get(home.len()..).unwrap_or_default());
            let start = at + home.len() + name.start;
            out.extend_from_slice(text.get(kept..start).unwrap_or_default());
            kept = start + name.len();
            if let Some(name) = text.get(start..kept).filter(|name| !name.is_empty()) {
                let next = self.people.len() + 1;
                let number = self.people.entry(String::from_utf8_lossy(name).into_owned()).or_insert(next);
                out.extend(format!("person-{number}").bytes());
            }
        }
        out.extend_from_slice(text.get(kept..).unwrap_or_default());
        out
    }
}

/// Where the name is behind a directory of homes: hidden directories, such as `.ecryptfs` and `.snapshots`, have people's names below them.
fn person(text: &[u8]) -> Range<usize> {
    let mut start = 0;
    loop {
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| is_end(*byte) || b"/:,;".contains(byte)).unwrap_or(rest.len());
        if rest.first() != Some(&b'.') || rest.get(length) != Some(&b'/') {
            return start..start + length;
        }
        start += length + 1;
    }
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|part| name.contains(part))
        || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| SECRET_WORDS.contains(&word))
}

/// True for `a=b,password=c`.
fn has_secret_option(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    let mut names = value.split(',').filter_map(|option| option.split_once('=')).map(|(name, _)| name);
    names.any(|name| SECRET.contains(&name) || SECRET_WORDS.contains(&name) || matches!(name, "username" | "credentials"))
}

/// True for `server://…` and for values with an address of a network; in a path, numbers with dots are versions.
fn has_address(name: &str, value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value);
    let is_path = value.starts_with('/') && !value.starts_with("//");
    let is_one = |part: &str| part.parse::<Ipv4Addr>().is_ok() || (part.contains("::") && part.parse::<Ipv6Addr>().is_ok());
    !name.is_empty()
        && !is_path
        && (value.contains("://") || value.split(['@', ',', ':', ';', '/', '(', ')']).any(is_one) || value.split(['[', ']']).any(is_one))
}

fn is_end(byte: u8) -> bool {
    byte.is_ascii_whitespace() || is_quote(byte) || byte == b'\\'
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// Where the server begins in the value of a `root=`.
fn remote_root(name: &str, value: &[u8]) -> Option<usize> {
    let at = value.iter().position(|byte| *byte == b':')?;
    let kind = std::str::from_utf8(value.get(..at)?).ok()?;
    (name == "root" && at + 1 < value.len() && REMOTE_ROOTS.contains(&kind)).then_some(at + 1)
}
