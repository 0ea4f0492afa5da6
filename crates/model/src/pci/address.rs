//! The address of a PCI function: domain, bus, device, function.

use std::fmt;
use std::str::FromStr;

/// `domain:bus:device.function`. Ordered as the kernel lists them. Domains are 32 bits wide in Linux; Intel VMD uses 0x10000 and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// PCI domain (segment group).
    pub domain: u32,
    /// Bus number.
    pub bus: u8,
    /// Device number, 0 to 31, and function number, 0 to 7, packed as in `PCI_DEVFN` (include/uapi/linux/pci.h).
    pub devfn: u8,
}

impl PciAddress {
    /// An address from its parts; `None` where device or function is out of range.
    pub fn new(domain: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        (device < 32 && function < 8).then_some(Self { domain, bus, devfn: device << 3 | function })
    }

    /// Device number, 0 to 31.
    pub fn device(self) -> u8 {
        self.devfn >> 3
    }

    /// Function number, 0 to 7.
    pub fn function(self) -> u8 {
        self.devfn & 7
    }

    /// True where both are functions of one slot: same domain, bus and device number.
    pub fn same_slot(self, other: Self) -> bool {
        (self.domain, self.bus, self.device()) == (other.domain, other.bus, other.device())
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(domain) = u16::try_from(self.domain) else {
            return write!(f, "{:04x}:{:02x}:{:02x}.{}", self.domain, self.bus, self.device(), self.function());
        };
        // By hand: large hosts show thousands of addresses, and formatting four numbers takes as long as reading a function from sysfs.
        let [high, low] = domain.to_be_bytes();
        let [[a, b], [c, d], [e, g], [h, i]] = [high, low, self.bus, self.device()].map(hex_digits);
        let text = [a, b, c, d, b':', e, g, b':', h, i, b'.', b'0' + self.function()];
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

fn hex_digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf].map(|digit| if digit < 10 { b'0' + digit } else { b'a' - 10 + digit })
}

/// Why a text is no PCI address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no PCI address: write [domain:]bus:device.function in hexadecimal, for example 01:00.0")]
pub struct NotAnAddress(pub String);

impl FromStr for PciAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        parse(text).ok_or_else(|| NotAnAddress(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.rsplitn(3, ':');
    let device = hex(parts.next()?, 1..=2)?;
    let bus = hex(parts.next()?, 1..=2)?;
    let domain = match parts.next() {
        Some(domain) => hex(domain, 1..=8)?,
        None => 0,
    };
    PciAddress::new(domain, u8::try_from(bus).ok()?, u8::try_from(device).ok()?, u8::try_from(hex(function, 1..=1)?).ok()?)
}

fn hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let clean = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    clean.then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_and_people_write() {
        let cases = [
            ("0000:01:00.0", "0000:01:00.0"),
            ("01:00.1", "0000:01:00.1"),
            ("1:2.3", "0000:01:02.3"),
            ("10000:e1:1f.7", "10000:e1:1f.7"),
            ("FFFFFFFF:ff:1F.0", "ffffffff:ff:1f.0"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refuses_the_rest_and_says_how_to_write_it() {
        for text in [
            "",
            "01:00",
            "01:00.8",
            "01:20.0",
            "100:00.0",
            "g1:00.0",
            "+1:00.0",
            "0000:01:00.0 ",
            "01:00.0.0",
            "::.",
            "0000:0000:01:00.0",
            "é1:00.0",
            "01:00.é",
            "123456789:01:00.0",
        ] {
            let error = text.parse::<PciAddress>().unwrap_err().to_string();
            assert!(error.contains("01:00.0"), "{error}");
        }
    }

    #[test]
    fn order_is_the_kernels() {
        let mut list: Vec<PciAddress> =
            ["10000:00:00.0", "0000:10:00.0", "0000:02:1f.7", "0000:02:02.0"].iter().map(|t| t.parse().unwrap()).collect();
        list.sort();
        let shown: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0000:02:02.0", "0000:02:1f.7", "0000:10:00.0", "10000:00:00.0"]);
    }
}
