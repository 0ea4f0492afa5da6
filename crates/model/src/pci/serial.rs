//! The serial number of a card.

/// Device Serial Number (PCI Express Base Specification 6.0, 7.9.3): an EUI-64, the same in every function of a card. Written as `lspci`
/// does: the highest byte first, with dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SerialNumber(u64);

impl SerialNumber {
    /// From the register; all zero and all ones are no number, and some cards have those.
    pub fn from_register(value: u64) -> Option<Self> {
        (value != 0 && value != u64::MAX).then_some(Self(value))
    }
}

impl std::fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, byte) in self.0.to_be_bytes().iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

/// What is no serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no serial number: eight bytes with dashes between them")]
pub struct NotASerialNumber(String);

impl std::str::FromStr for SerialNumber {
    type Err = NotASerialNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = || NotASerialNumber(text.to_owned());
        let parts: Vec<&str> = text.split('-').collect();
        let well_formed = parts.len() == 8 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = u64::from_str_radix(&parts.concat(), 16).ok().filter(|_| well_formed).ok_or_else(problem)?;
        Self::from_register(value).ok_or_else(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_lspci() {
        let serial = SerialNumber::from_register(0x6805_caff_ff12_3456).unwrap();
        assert_eq!(serial.to_string(), "68-05-ca-ff-ff-12-34-56");
        assert_eq!(serial.to_string().parse(), Ok(serial));
        assert_eq!((SerialNumber::from_register(0), SerialNumber::from_register(u64::MAX)), (None, None));
        for text in
            ["", "68-05", "68-05-ca-ff-ff-12-34-5g", "6805-ca-ff-ff-12-34-56-1", "00-00-00-00-00-00-00-00", "+8-05-ca-ff-ff-12-34-56"]
        {
            assert!(text.parse::<SerialNumber>().is_err(), "{text}");
        }
    }
}
