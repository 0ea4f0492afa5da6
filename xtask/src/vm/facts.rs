//! What sysfs of the machine says, read without `cede`.

use super::Outcome;
use super::machine::Machine;

/// One line for each PCI function; a link that is not there has an empty target.
const LIST: &str = r#"
for device in /sys/bus/pci/devices/*; do
    driver=$(readlink "$device/driver")
    group=$(readlink "$device/iommu_group")
    read -r vendor <"$device/vendor"
    read -r id <"$device/device"
    read -r class <"$device/class"
    echo "${device##*/},$vendor:$id,$class,${driver##*/},${group##*/}"
done
"#;

/// A PCI function of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    /// `domain:bus:device.function`.
    pub(super) address: String,
    /// `vendor:device` as sysfs writes them.
    pub(super) id: String,
    /// Is it a PCI-to-PCI bridge?
    pub(super) bridge: bool,
    /// The bound driver.
    pub(super) driver: Option<String>,
    /// The IOMMU group.
    pub(super) group: Option<String>,
}

impl Function {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(',');
        let mut next = || words.next().map(str::to_owned);
        let (address, id, class) = (next()?, next()?, next()?);
        let (driver, group) = (next()?, next()?);
        Some(Self {
            address,
            id,
            bridge: class.starts_with("0x0604"),
            driver: Some(driver).filter(|name| !name.is_empty()),
            group: Some(group).filter(|name| !name.is_empty()),
        })
    }
}

/// All PCI functions, in the order of their addresses.
pub(super) fn functions(machine: &mut Machine) -> Outcome<Vec<Function>> {
    let text = machine.output(LIST)?;
    let functions: Option<Vec<_>> = text.lines().map(Function::parse).collect();
    match functions {
        Some(functions) if !functions.is_empty() => Ok(functions),
        _ => Err(format!("sysfs listing not understood:\n{text}")),
    }
}

/// The display's vendor and device, and those of the audio function beside it.
const IDS: [&str; 2] = ["0x1234:0x1111", "0x8086:0x293e"];

/// The two functions of the card under test.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Card {
    /// Function 0.
    pub(super) display: Function,
    /// Function 1.
    pub(super) audio: Function,
}

impl Card {
    /// Finds the card by its identity: the one that has both functions.
    pub(super) fn find(functions: &[Function]) -> Outcome<Self> {
        let one = |id: &str, slot: &str| {
            let mut found = functions.iter().filter(|function| function.id == id && function.address.starts_with(slot));
            match (found.next(), found.next()) {
                (Some(function), None) => Ok(function.clone()),
                _ => Err(format!("not exactly one {id} in {functions:?}")),
            }
        };
        let audio = one(IDS[1], "")?;
        let slot = audio.address.trim_end_matches(|c: char| c.is_ascii_digit());
        Ok(Self { display: one(IDS[0], slot)?, audio })
    }

    /// The displays that are like the card's.
    pub(super) fn twins(&self, functions: &[Function]) -> Vec<Function> {
        functions.iter().filter(|function| function.id == IDS[0] && function.address != self.display.address).cloned().collect()
    }

    /// Both drivers, display first.
    pub(super) fn drivers(&self) -> [Option<&str>; 2] {
        [self.display.driver.as_deref(), self.audio.driver.as_deref()]
    }
}

/// The names of all IOMMU groups.
pub(super) fn groups(machine: &mut Machine) -> Outcome<Vec<String>> {
    let text = machine.output("ls /sys/kernel/iommu_groups")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Lines of the kernel's log of this boot that have one of these texts.
pub(super) fn log_lines(machine: &mut Machine, texts: &[String]) -> Outcome<Vec<String>> {
    let log = machine.output("dmesg")?;
    if log.lines().count() < 100 {
        return Err(format!("the kernel's log is not whole:\n{log}"));
    }
    let named = |line: &&str| texts.iter().any(|text| line.contains(text.as_str()));
    Ok(log.lines().filter(named).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_are_not_there_are_none() {
        let bare = Function::parse("0000:01:00.0,0x1234:0x1111,0x038000,,").unwrap();
        assert_eq!((bare.driver, bare.group, bare.bridge), (None, None, false));
        let bridge = Function::parse("0000:00:01.0,0x1b36:0x000c,0x060400,pcieport,3").unwrap();
        assert_eq!(bridge.driver.as_deref(), Some("pcieport"));
        assert_eq!(bridge.group.as_deref(), Some("3"));
        assert!(bridge.bridge);
        assert_eq!(Function::parse("0000:00:01.0,x"), None);
    }

    #[test]
    fn card_is_found_only_when_it_is_one() {
        let display = Function::parse("0000:01:00.0,0x1234:0x1111,0x038000,,").unwrap();
        let audio = Function::parse("0000:01:00.1,0x8086:0x293e,0x040300,,").unwrap();
        assert!(Card::find(&[display.clone(), audio.clone()]).is_ok());
        assert!(Card::find(&[display.clone(), display.clone(), audio]).is_err());
        assert!(Card::find(std::slice::from_ref(&display)).is_err());
        let twin = Function::parse("0000:02:00.0,0x1234:0x1111,0x038000,,").unwrap();
        let functions = [twin.clone(), display.clone(), Function::parse("0000:01:00.1,0x8086:0x293e,0x040300,,").unwrap()];
        let card = Card::find(&functions).unwrap();
        assert_eq!((card.twins(&functions), card.display), (vec![twin], display));
    }
}
