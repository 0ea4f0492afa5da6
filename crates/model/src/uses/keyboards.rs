//! Keyboards, and the functions that they are plugged in behind.

use super::graph::functions_on;
use crate::capture::Capture;
use crate::observed::Observed;
use crate::pci::PciAddress;

/// Where the kernel lists its input devices (drivers/input/input.c `input_devices_seq_show`).
pub const INPUT: &str = "/proc/bus/input/devices";

/// Something to type with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyboard {
    /// What it calls itself.
    pub name: String,
    /// The functions on its way in `/sys/devices`; none for a laptop's own keyboard on PS/2 or I2C behind no function. For one that is
    /// reached by Bluetooth through a program, those of the adapters.
    pub functions: Vec<PciAddress>,
    /// Made by a program or come over the air: where from is not shown.
    pub is_virtual: bool,
}

/// Bluetooth adapters, each a link into `/sys/devices`.
pub const BLUETOOTH: &str = "/sys/class/bluetooth";

/// The keyboards of a host.
pub fn keyboards(capture: &Capture) -> Observed<Vec<Keyboard>> {
    let adapters: Vec<PciAddress> =
        capture.names_in(BLUETOOTH).filter_map(|name| capture.link(&format!("{BLUETOOTH}/{name}"))).flat_map(functions_on).collect();
    let found = |block: &str| {
        let (keyboard, path) = keyboard(block)?;
        // BlueZ makes them through uhid, with the bus in their names (include/uapi/linux/input.h `BUS_BLUETOOTH`).
        let by_air = keyboard.is_virtual && path.contains("/0005:");
        Some(if by_air { Keyboard { functions: adapters.clone(), ..keyboard } } else { keyboard })
    };
    capture.observed(INPUT).map(|bytes| String::from_utf8_lossy(bytes).split("\n\n").filter_map(found).collect())
}

fn keyboard(block: &str) -> Option<(Keyboard, &str)> {
    let line = |start: &str| block.lines().find_map(|line| line.strip_prefix(start));
    let path = line("S: Sysfs=")?;
    let low = line("B: KEY=")?.split_whitespace().next_back()?;
    let keys = u64::from_str_radix(low, 16).ok()?;
    // Escape, the digits and the first letters: what udev calls a keyboard (systemd: src/udev/udev-builtin-input_id.c `test_key`). Power
    // buttons, remote controls and mice have some keys too.
    let found = Keyboard {
        name: line("N: Name=").unwrap_or_default().trim_matches('"').to_owned(),
        functions: functions_on(path),
        is_virtual: path.starts_with("/devices/virtual/"),
    };
    (keys & 0xffff_fffe == 0xffff_fffe).then_some((found, path))
}

/// The list without what tells who its owner is: names that people give, serial numbers, addresses. Only keyboards stay.
pub fn scrubbed(text: &str) -> String {
    let kept = text.split("\n\n").filter(|block| keyboard(block).is_some());
    let line = |line: &str| match line {
        name if name.starts_with("N: ") => Some("N: Name=\"keyboard\"\n".to_owned()),
        path if path.starts_with("S: ") || path.starts_with("B: KEY=") => Some(format!("{path}\n")),
        _ => None,
    };
    kept.map(|block| block.lines().filter_map(line).collect::<String>() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    /// Blocks as Linux 6.1 prints them.
    const LIST: &str = include_str!("../../../../fixtures/input/devices.txt");

    fn names(text: &str) -> Vec<(String, usize, bool)> {
        let mut capture = Capture::new();
        capture.insert(INPUT, Entry::File(text.as_bytes().to_vec()));
        let list = keyboards(&capture).known().cloned().unwrap();
        list.into_iter().map(|keyboard| (keyboard.name, keyboard.functions.len(), keyboard.is_virtual)).collect()
    }

    #[test]
    fn keyboards_are_told_from_buttons_and_mice() {
        let expected = [
            ("AT Translated Set 2 keyboard".to_owned(), 0, false),
            ("Logitech USB Keyboard".to_owned(), 1, false),
            ("My Bluetooth Keyboard".to_owned(), 0, true),
        ];
        assert_eq!(names(LIST), expected);
        let scrubbed = scrubbed(LIST);
        assert_eq!(names(&scrubbed).iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["keyboard"; 3]);
        assert!(!scrubbed.contains("Bluetooth") && !scrubbed.contains("Uniq") && !scrubbed.contains("Phys"));
        assert!(keyboards(&Capture::new()).is_unknown());
    }
}
