//! Which modules say that they can drive a PCI function: `modules.alias` and `modules.builtin.modinfo` (depmod, scripts/mod/file2alias.c).

use crate::lines::records;
use crate::pci::PciDevice;
use std::collections::{HashMap, HashSet};

/// One `pci:` alias of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alias<'a> {
    pattern: &'a [u8],
    module: &'a str,
}

/// The `pci:` aliases of one kernel, found by vendor and device.
#[derive(Debug, Default)]
pub struct ModuleAliases<'a> {
    /// Sorted by vendor and device: a kernel has 10 000 of them, and most hosts ask for a few.
    exact: Vec<(u64, Alias<'a>)>,
    vendor: HashMap<u64, Vec<Alias<'a>>>,
    any: Vec<Alias<'a>>,
}

/// Vendor, or vendor and device, of `v` and eight digits, `d` and eight digits. `None` where a pattern stands in place of digits.
fn vendor_key(text: &[u8]) -> Option<u64> {
    number(text.strip_prefix(b"v")?.get(..8)?)
}

fn device_key(text: &[u8]) -> Option<u64> {
    let device = number(text.get(9..)?.strip_prefix(b"d")?.get(..8)?)?;
    Some(vendor_key(text)? << 32 | device)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

impl<'a> ModuleAliases<'a> {
    /// Reads the aliases of loadable modules (`modules.alias`) and of built-in ones (`modules.builtin.modinfo`).
    pub fn read(modules_alias: &'a [u8], builtin_modinfo: &'a [u8]) -> Self {
        Self::read_wanted(modules_alias, builtin_modinfo, &|_| true)
    }

    /// As [`ModuleAliases::read`], leaving out what speaks of other devices only: most of a table, on most hosts.
    pub fn read_for(modules_alias: &'a [u8], builtin_modinfo: &'a [u8], devices: &[PciDevice]) -> Self {
        let modaliases = devices.iter().filter_map(PciDevice::modalias_text);
        let vendors: HashSet<u64> = modaliases.filter_map(|text| vendor_key(text.strip_prefix("pci:")?.as_bytes())).collect();
        Self::read_wanted(modules_alias, builtin_modinfo, &|vendor| vendors.contains(&vendor))
    }

    fn read_wanted(modules_alias: &'a [u8], builtin_modinfo: &'a [u8], wanted: &dyn Fn(u64) -> bool) -> Self {
        let mut aliases = Self::default();
        for line in records(modules_alias, b'\n') {
            let Some(rest) = line.strip_prefix(b"alias pci:") else { continue };
            if let Some(blank) = memchr::memchr(b' ', rest) {
                let (pattern, module) = rest.split_at(blank);
                aliases.add(pattern, module, wanted);
            }
        }
        for record in records(builtin_modinfo, 0) {
            let Some(dot) = memchr::memchr(b'.', record) else { continue };
            let (module, rest) = record.split_at(dot);
            if let Some(pattern) = rest.strip_prefix(b".alias=pci:") {
                aliases.add(pattern, module, wanted);
            }
        }
        // Stable: those of one device stay in the order of the file.
        aliases.exact.sort_by_key(|(key, _)| *key);
        aliases
    }

    fn add(&mut self, pattern: &'a [u8], module: &'a [u8], wanted: &dyn Fn(u64) -> bool) {
        if vendor_key(pattern).is_some_and(|vendor| !wanted(vendor)) {
            return;
        }
        let Ok(module) = std::str::from_utf8(module.trim_ascii()) else { return };
        let alias = Alias { pattern, module };
        match (device_key(pattern), vendor_key(pattern)) {
            (Some(key), _) => self.exact.push((key, alias)),
            (None, Some(key)) => self.vendor.entry(key).or_default().push(alias),
            (None, None) => self.any.push(alias),
        }
    }

    /// The modules whose aliases match a function's modalias, each once, those for this very device first.
    pub fn matching(&self, modalias: &str) -> Vec<&'a str> {
        let Some(text) = modalias.strip_prefix("pci:").map(str::as_bytes) else { return Vec::new() };
        let exact = device_key(text).map_or(&[][..], |key| {
            let start = self.exact.partition_point(|(other, _)| *other < key);
            let rest = self.exact.get(start..).unwrap_or_default();
            rest.get(..rest.partition_point(|(other, _)| *other == key)).unwrap_or_default()
        });
        let vendor = vendor_key(text).and_then(|key| self.vendor.get(&key));
        let mut found = Vec::new();
        for alias in exact.iter().map(|(_, alias)| alias).chain(vendor.into_iter().flatten()).chain(&self.any) {
            if !found.contains(&alias.module) && glob(alias.pattern, text) {
                found.push(alias.module);
            }
        }
        found
    }

    /// True where no alias was read.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.vendor.is_empty() && self.any.is_empty()
    }
}

/// The module that takes a function for VFIO: of those with a `vfio_pci:` alias that fits, the one whose alias leaves least open. Kernels before
/// 5.16 have no such aliases; then it is `vfio_pci`.
pub fn vfio_module(modules_alias: &[u8], builtin_modinfo: &[u8], modalias: &str) -> String {
    let text = modalias.strip_prefix("pci:").unwrap_or_default().as_bytes();
    let loadable = records(modules_alias, b'\n').filter_map(|line| {
        let rest = line.strip_prefix(b"alias vfio_pci:")?;
        Some(rest.split_at(memchr::memchr(b' ', rest)?))
    });
    let built_in = records(builtin_modinfo, 0).filter_map(|record| {
        let (module, rest) = record.split_at(memchr::memchr(b'.', record)?);
        Some((rest.strip_prefix(b".alias=vfio_pci:")?, module))
    });
    let open = |pattern: &[u8]| pattern.iter().filter(|byte| **byte == b'*').count();
    let fitting = loadable.chain(built_in).filter(|(pattern, _)| glob(pattern, text));
    let best =
        fitting.min_by_key(|(pattern, _)| open(pattern)).map(|(_, module)| String::from_utf8_lossy(module.trim_ascii()).into_owned());
    best.unwrap_or_else(|| "vfio_pci".to_owned())
}

/// fnmatch(3) as far as module aliases use it: `*`, `?`, and sets in brackets.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            (Some(&wanted), Some(&byte)) => {
                if let Some(next) = one(pattern, p, wanted, byte) {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((after_star, from)) if from < text.len() => {
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on, if its element at `p` matches `byte`.
fn one(pattern: &[u8], p: usize, wanted: u8, byte: u8) -> Option<usize> {
    if wanted != b'[' {
        return (wanted == b'?' || wanted == byte).then_some(p + 1);
    }
    let set = pattern.get(p + 1..)?;
    let end = set.iter().position(|b| *b == b']')?;
    let mut list = set.get(..end)?;
    while let Some((&first, rest)) = list.split_first() {
        let range = match rest {
            [b'-', last, ..] => first..=*last,
            _ => first..=first,
        };
        if range.contains(&byte) {
            return Some(p + end + 2);
        }
        list = rest.get(if range.start() == range.end() { 0 } else { 2 }..).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_whose_alias_leaves_least_open_takes_a_function() {
        let aliases = b"alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core\nalias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n\
            alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\n";
        let modalias = |device: &str| format!("pci:v000015B3d0000{device}sv000015B3sd00000001bc02sc00i00");
        assert_eq!(vfio_module(aliases, b"", &modalias("101E")), "mlx5_vfio_pci");
        assert_eq!(vfio_module(aliases, b"", &modalias("1017")), "vfio_pci");
        assert_eq!(vfio_module(b"", b"x.alias=vfio_pci:v000015B3d*\0", &modalias("1017")), "x");
        assert_eq!(vfio_module(b"", b"", &modalias("1017")), "vfio_pci");
    }

    const GTX: &str = "pci:v000010DEd00001F91sv00001043sd0000109Fbc03sc00i00";

    #[test]
    fn finds_every_candidate_once() {
        let file = b"# Aliases\nalias pci:v000010DEd*sv*sd*bc03sc02i00* nouveau\nalias pci:v000010DEd*sv*sd*bc03sc*i* nouveau\nalias pci:v000010DEd*sv*sd*bc03sc00i00* nvidia_drm\nalias pci:v000010DEd*sv*sd*bc03sc00i00* nvidia\nalias pci:v00008086d00001F91sv*sd*bc*sc*i* i915\nalias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\nalias pci:v*d*sv*sd*bc03sc00i00* generic\nalias pci:v000010DEd00001F91sv*sd*bc*sc*i* exact\n";
        let aliases = ModuleAliases::read(file, b"xhci_pci.license=GPL\0xhci_pci.alias=pci:v*d*sv*sd*bc0Csc03i30*\0");
        assert_eq!(aliases.matching(GTX), ["exact", "nouveau", "nvidia_drm", "nvidia", "generic"]);
        assert_eq!(aliases.matching("pci:v00001B21d00001242sv0sd0bc0Csc03i30"), ["xhci_pci"]);
        assert!(aliases.matching("usb:v1").is_empty());
    }

    #[test]
    fn a_pattern_in_place_of_digits_still_matches() {
        let file = b"alias pci:v000010DEd00001F9[0-9]sv*sd*bc*sc*i* set\nalias pci:v000010DEd* short\nalias pci:v0000???? any\nalias pci:v0000????d* any_vendor\n";
        assert_eq!(ModuleAliases::read(file, b"").matching(GTX), ["set", "short", "any_vendor"]);
        assert!(ModuleAliases::read(file, b"").matching("pci:v").is_empty());
    }

    #[test]
    fn patterns_match_as_fnmatch_does() {
        let cases = [
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("v0000[89A]*", "v0000Ax", true),
            ("v0000[8-9]x", "v00009x", true),
            ("v0000[8-9]x", "v0000Ax", false),
            ("[", "[", false),
            ("?b", "ab", true),
            ("ab", "a", false),
        ];
        for (pattern, text, wanted) in cases {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
    }
}
