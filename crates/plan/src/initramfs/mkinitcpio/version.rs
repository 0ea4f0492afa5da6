//! The order of `sort -V`, in which mkinitcpio reads drop-ins (mkinitcpio 41, where `conf_files` is filled).

use std::cmp::Ordering;

/// GNU coreutils' version sort: names without their endings first, then whole (coreutils manual, "Version sort ordering"; gnulib
/// lib/filevercmp.c).
pub(super) fn order(a: &str, b: &str) -> Ordering {
    let hidden = |name: &str| name.starts_with('.');
    let dots = hidden(b).cmp(&hidden(a));
    let stems = || compare(stem(a).as_bytes(), stem(b).as_bytes());
    dots.then_with(stems).then_with(|| compare(a.as_bytes(), b.as_bytes()))
}

/// Without endings such as `.conf` and `.tar.gz`: a dot, a letter or `~`, then letters, digits and `~`.
fn stem(name: &str) -> &str {
    let is_ending = |ending: &str| {
        let mut bytes = ending.bytes();
        let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'~';
        bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit())
    };
    let mut stem = name;
    while let Some((before, _)) = stem.rsplit_once('.').filter(|(before, ending)| !before.is_empty() && is_ending(ending)) {
        stem = before;
    }
    stem
}

/// Stretches without digits by byte, letters before the rest and `~` before the end; numbers by value.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let weight = |text: &[u8]| match text.first() {
        None => -1,
        Some(b'~') => -2,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let is_text = |text: &[u8]| text.first().is_some_and(|byte| !byte.is_ascii_digit());
    while !(a.is_empty() && b.is_empty()) {
        while is_text(a) || is_text(b) {
            let order = weight(a).cmp(&weight(b));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
        }
        let (one, other) = (number(&mut a), number(&mut b));
        let order = one.len().cmp(&other.len()).then_with(|| one.cmp(other));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the digits at the start away, and returns them without zeros before them.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (found, rest) = text.split_at(digits);
    *text = rest;
    let zeros = found.iter().take_while(|byte| **byte == b'0').count();
    found.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `sort -V` of coreutils 9.1 puts them.
    #[test]
    fn names_come_in_the_order_of_sort() {
        let sorted = [
            ".x.conf",
            "05-c.conf",
            "9-b.conf",
            "10.conf",
            "10a.conf",
            "10-a.conf",
            "10_a.conf",
            "95.conf",
            "95-cede.conf",
            "100-a.conf",
            "local.conf",
            "local-modules.conf",
            "moeOS.conf",
            "zz~.conf",
            "zz.conf",
            "zzz.conf",
            "zz-cede.conf",
            "zz_local.conf",
        ];
        for (index, name) in sorted.iter().enumerate() {
            assert!(sorted.iter().skip(index + 1).all(|later| order(name, later) == Ordering::Less), "{name}");
        }
    }
}
