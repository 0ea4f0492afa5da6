//! Functions that isolate without an ACS capability, and some that do not in spite of one.
//!
//! `pci_dev_acs_enabled[]` of drivers/pci/quirks.c (Linux 7.2), in its order: the first entry that has an opinion decides.
//! Compared entry by entry with 6.1.192 and 6.12.117, which have the same table.

use super::acs::missing_in;
use super::function::Function;
use super::options::{AcsOverride, PredictOptions};
use crate::pci::Field;
use crate::pci::capability::ExpressType;

/// What the table says of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Isolated, or not, whatever its registers say.
    Decided(bool),
    /// The override patch declares it isolated.
    Overridden,
    /// Its registers decide.
    NoOpinion,
    /// An entry may apply; the bytes that decide it were not read.
    Hidden,
}

enum Devices {
    Any,
    Only(&'static [u16]),
    Ranges(&'static [(u16, u16)]),
}

enum Rule {
    /// `pci_quirk_mf_endpoint_acs` and its like.
    Isolated,
    /// `pci_quirk_amd_sb_acs`: south bridges of AMD's first IOMMU hosts.
    AmdSouthBridge,
    /// Isolated if it is of this type.
    IsolatedIf(ExpressType),
    /// `pci_quirk_intel_spt_pch_acs`: a root port with ACS registers of double width.
    WideRegisters,
    /// Root and downstream ports are isolated within the ranges, and are not outside of them.
    Ports(&'static [(u16, u16)]),
    /// Isolated within the list, not isolated outside of it.
    Listed(&'static [u16]),
}

struct Entry(u16, Devices, Rule);

/// Functions of [`TABLE`] that were not in every kernel since 5.10. Stable releases got them at different times (14e4:1760 is in 6.1.192 and
/// not in 6.1.176), and a release's name mostly does not tell which one it is. So of kernels before this version nothing is said.
struct Later(u16, Devices, (u16, u16));

const LATER: &[Later] = &[
    Later(0x14e4, Ranges(&[(0x1760, 0x1763)]), (6, 12)),
    Later(0x0014, Any, (7, 0)),
    Later(0x17cb, Only(&[0x0115, 0x0111, 0x0120]), (7, 2)),
    Later(0x8088, Only(&[0x5010, 0x5025, 0x5040, 0x5110, 0x5125, 0x5140]), (7, 0)),
];

use Devices::{Any, Only, Ranges};
use Rule::{AmdSouthBridge, Isolated, IsolatedIf, Listed, Ports, WideRegisters};

const INTEL_NICS: &[u16] = &[
    0x10c6, 0x10db, 0x10dd, 0x10e1, 0x10f1, 0x10f7, 0x10f8, 0x10f9, 0x10fa, 0x10fb, 0x10fc, 0x1507, 0x1514, 0x151c, 0x1529, 0x152a, 0x154d,
    0x154f, 0x1551, 0x1558, 0x1509, 0x150e, 0x150f, 0x1510, 0x1511, 0x1516, 0x1527, 0x10c9, 0x10e6, 0x10e7, 0x10e8, 0x150a, 0x150d, 0x1518,
    0x1526, 0x10a7, 0x10a9, 0x10d6, 0x1521, 0x1522, 0x1523, 0x1524, 0x105e, 0x105f, 0x1060, 0x10d9, 0x15b7, 0x15b8,
];

/// `pci_quirk_intel_pch_acs_ids`: the kernel isolates them through the root complex's registers, and is taken to succeed.
const INTEL_PCH_ROOT_PORTS: &[(u16, u16)] = &[
    (0x3b42, 0x3b51),
    (0x1c10, 0x1c1f),
    (0x1e10, 0x1e1f),
    (0x8c10, 0x8c1f),
    (0x9c10, 0x9c1b),
    (0x9c90, 0x9c9b),
    (0x1d10, 0x1d10),
    (0x1d12, 0x1d12),
    (0x1d14, 0x1d14),
    (0x1d16, 0x1d16),
    (0x1d18, 0x1d18),
    (0x1d1a, 0x1d1a),
    (0x1d1c, 0x1d1c),
    (0x1d1e, 0x1d1e),
    (0x8d10, 0x8d1e),
    (0x8c90, 0x8c90),
    (0x8c92, 0x8c92),
    (0x8c94, 0x8c94),
    (0x8c96, 0x8c96),
    (0x8c98, 0x8c98),
    (0x8c9a, 0x8c9a),
    (0x8c9c, 0x8c9c),
    (0x8c9e, 0x8c9e),
];

/// `pci_quirk_intel_spt_pch_acs_match`.
const INTEL_SPT_ROOT_PORTS: &[(u16, u16)] = &[(0xa110, 0xa11f), (0xa167, 0xa16a), (0xa290, 0xa29f), (0xa2e7, 0xa2ee), (0x9d10, 0x9d1b)];

const NXP_LX2: &[u16] = &[
    0x8d80, 0x8d81, 0x8d82, 0x8d83, 0x8d88, 0x8d89, 0x8d8a, 0x8d8b, 0x8d90, 0x8d91, 0x8d92, 0x8d93, 0x8d98, 0x8d99, 0x8d9a, 0x8d9b, 0x8da0,
    0x8da1, 0x8da8, 0x8da9, 0x8db0, 0x8db1, 0x8db8, 0x8db9,
];

const ZHAOXIN_PORTS: &[(u16, u16)] = &[(0x0710, 0x071e), (0x0721, 0x0721), (0x0723, 0x0752)];

const WANGXUN: &[u16] = &[
    0x0100, 0x0101, 0x0102, 0x0103, 0x0104, 0x0105, 0x0106, 0x0107, 0x0108, 0x0109, 0x010a, 0x010b, 0x010c, 0x010d, 0x010e, 0x010f, 0x1001,
    0x2001, 0x5010, 0x5025, 0x5040, 0x5110, 0x5125, 0x5140,
];

const TABLE: &[Entry] = &[
    Entry(0x1002, Only(&[0x4385, 0x439c, 0x4383, 0x439d, 0x4384, 0x4399]), AmdSouthBridge),
    Entry(0x1022, Only(&[0x780f, 0x7809]), AmdSouthBridge),
    Entry(0x1924, Only(&[0x0903, 0x0923, 0x0a03]), Isolated),
    Entry(0x8086, Only(INTEL_NICS), Isolated),
    Entry(0x8086, Any, IsolatedIf(ExpressType::RootComplexEndpoint)),
    Entry(0x17cb, Only(&[0x0400, 0x0401, 0x0115, 0x0111, 0x0120]), Isolated),
    Entry(0x1dbf, Only(&[0x0401]), Isolated),
    Entry(0x8086, Ranges(INTEL_PCH_ROOT_PORTS), IsolatedIf(ExpressType::RootPort)),
    Entry(0x8086, Ranges(INTEL_SPT_ROOT_PORTS), WideRegisters),
    Entry(0x19a2, Only(&[0x0710]), Isolated),
    Entry(0x10df, Only(&[0x0720]), Isolated),
    Entry(0x177d, Ranges(&[(0xa000, 0xa7ff), (0xaf84, 0xaf84), (0xb884, 0xb884)]), IsolatedIf(ExpressType::RootPort)),
    Entry(0x177d, Only(&[0xa026, 0xa059, 0xa060]), Isolated),
    Entry(0x10e8, Only(&[0xe004]), Isolated),
    Entry(0x1def, Ranges(&[(0xe005, 0xe00c)]), Isolated),
    Entry(0x14e4, Ranges(&[(0x16d7, 0x16d7), (0x1750, 0x1752), (0x1760, 0x1763), (0xd714, 0xd714)]), Isolated),
    Entry(0x0014, Only(&[0x3c09, 0x3c19, 0x3c29, 0x7a09, 0x7a19, 0x7a29, 0x7a39, 0x7a49, 0x7a59, 0x7a69]), Isolated),
    Entry(0x1c36, Only(&[0x0031]), IsolatedIf(ExpressType::RootPort)),
    Entry(0x1d17, Only(&[0x3038, 0x3104, 0x9083]), Isolated),
    Entry(0x1957, Only(NXP_LX2), Isolated),
    Entry(0x1d17, Any, Ports(ZHAOXIN_PORTS)),
    Entry(0x8088, Any, Listed(WANGXUN)),
];

/// `pci_dev_specific_acs_enabled(function, REQ_ACS_FLAGS)`. The override patch adds an entry for every function at the end of the table.
pub(super) fn verdict(function: &Function, options: &PredictOptions) -> Verdict {
    let Some(id) = function.id else { return Verdict::Hidden };
    let is_for = |vendor: u16, devices: &Devices| vendor == id.vendor && devices.have(id.device);
    if LATER.iter().any(|Later(vendor, devices, since)| is_for(*vendor, devices) && !options.has(*since)) {
        return Verdict::Hidden;
    }
    TABLE
        .iter()
        .filter(|Entry(vendor, devices, _)| is_for(*vendor, devices))
        .map(|Entry(_, _, rule)| rule.apply(function, options.ivrs))
        .find(|verdict| *verdict != Verdict::NoOpinion)
        .unwrap_or_else(|| overridden(function, &options.acs_override))
}

/// `pcie_acs_overrides` of the patch: for PCI Express functions without an ACS capability only.
fn overridden(function: &Function, declared: &AcsOverride) -> Verdict {
    if declared.is_empty() {
        return Verdict::NoOpinion;
    }
    let kind = match (function.express, function.acs) {
        (Field::Hidden, _) | (_, Field::Hidden) => return Verdict::Hidden,
        (Field::Absent, _) | (_, Field::Known(_)) => return Verdict::NoOpinion,
        (Field::Known(kind), Field::Absent) => kind,
    };
    if function.id.is_some_and(|id| declared.ids.contains(&id)) {
        return Verdict::Overridden;
    }
    match kind {
        ExpressType::RootPort | ExpressType::DownstreamPort if declared.downstream => Verdict::Overridden,
        ExpressType::Endpoint | ExpressType::UpstreamPort | ExpressType::LegacyEndpoint | ExpressType::RootComplexEndpoint
            if declared.multifunction =>
        {
            match function.multifunction {
                Some(true) => Verdict::Overridden,
                Some(false) => Verdict::NoOpinion,
                None => Verdict::Hidden,
            }
        }
        _ => Verdict::NoOpinion,
    }
}

impl Devices {
    fn have(&self, device: u16) -> bool {
        match self {
            Any => true,
            Only(list) => list.contains(&device),
            Ranges(ranges) => within(ranges, device),
        }
    }
}

fn within(ranges: &[(u16, u16)], device: u16) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&device))
}

impl Rule {
    fn apply(&self, function: &Function, ivrs: bool) -> Verdict {
        match self {
            Isolated => Verdict::Decided(true),
            Listed(list) => Verdict::Decided(function.id.is_some_and(|id| list.contains(&id.device))),
            AmdSouthBridge => match function.multifunction {
                _ if !ivrs || function.bridge.is_some() => Verdict::NoOpinion,
                Some(true) => Verdict::Decided(true),
                Some(false) => Verdict::NoOpinion,
                None => Verdict::Hidden,
            },
            IsolatedIf(kind) => of_type(function, &[*kind], || Verdict::Decided(true)),
            WideRegisters => of_type(function, &[ExpressType::RootPort], || match function.acs_wide {
                Field::Known(acs) => Verdict::Decided(missing_in(function.id, acs, function.wide_change()) == 0),
                Field::Absent => Verdict::NoOpinion,
                Field::Hidden => Verdict::Hidden,
            }),
            Ports(ranges) => of_type(function, &[ExpressType::RootPort, ExpressType::DownstreamPort], || {
                Verdict::Decided(function.id.is_some_and(|id| within(ranges, id.device)))
            }),
        }
    }
}

fn of_type(function: &Function, kinds: &[ExpressType], then: impl FnOnce() -> Verdict) -> Verdict {
    match function.express {
        Field::Known(kind) if kinds.contains(&kind) => then(),
        Field::Known(_) | Field::Absent => Verdict::NoOpinion,
        Field::Hidden => Verdict::Hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iommu::function::sample;

    fn with(ivrs: bool) -> PredictOptions {
        PredictOptions { ivrs, ..PredictOptions::default() }
    }

    #[test]
    fn of_late_entries_nothing_is_said_for_early_kernels() {
        let nic = Function { express: Field::Known(ExpressType::Endpoint), ..sample(0x14e4, 0x1760) };
        let on = |kernel: &str| PredictOptions { kernel: Some(kernel.parse().unwrap()), ..PredictOptions::default() };
        assert_eq!((verdict(&nic, &on("6.1")), verdict(&nic, &on("6.12"))), (Verdict::Hidden, Verdict::Decided(true)));
        assert_eq!(
            verdict(&Function { id: Some(crate::pci::PciId { vendor: 0x14e4, device: 0x1750 }), ..nic }, &on("6.1")),
            Verdict::Decided(true)
        );
    }

    #[test]
    fn the_override_speaks_only_for_express_functions_without_acs() {
        let declared = AcsOverride::parse("downstream,multifunction,id:10de:1f91").unwrap();
        let endpoint = Function { express: Field::Known(ExpressType::Endpoint), ..sample(0x1b36, 1) };
        let port = Function { express: Field::Known(ExpressType::RootPort), ..sample(0x1b36, 1) };
        let acs = Field::Known(crate::pci::capability::AcsRegisters { capability: 0, control: 0 });
        let cases = [
            (port.clone(), Verdict::Overridden),
            (Function { acs, ..port.clone() }, Verdict::NoOpinion),
            (Function { acs: Field::Hidden, ..port }, Verdict::Hidden),
            (endpoint.clone(), Verdict::NoOpinion),
            (Function { multifunction: Some(true), ..endpoint.clone() }, Verdict::Overridden),
            (Function { multifunction: None, ..endpoint.clone() }, Verdict::Hidden),
            (Function { id: Some(crate::pci::PciId { vendor: 0x10de, device: 0x1f91 }), ..endpoint }, Verdict::Overridden),
            (sample(0x1b36, 1), Verdict::NoOpinion),
        ];
        for (function, expected) in cases {
            assert_eq!(overridden(&function, &declared), expected, "{function:?}");
        }
    }

    /// Of how many device numbers of a vendor the table says that such a function isolates.
    fn isolated(vendor: u16, function: &Function) -> usize {
        let options = with(true);
        let says = |device: u16| verdict(&Function { id: Some(crate::pci::PciId { vendor, device }), ..function.clone() }, &options);
        (0..=u16::MAX).filter(|device| says(*device) == Verdict::Decided(true)).count()
    }

    /// Counted in drivers/pci/quirks.c of Linux 7.2 entry by entry, and not from the table here: no number was lost or has slipped in.
    #[test]
    fn as_many_devices_as_the_kernel_has() {
        use crate::pci::capability::AcsRegisters;
        let of = |kind: ExpressType| Function { express: Field::Known(kind), multifunction: Some(true), ..sample(0, 0) };
        let (endpoint, root_port, downstream) = (of(ExpressType::Endpoint), of(ExpressType::RootPort), of(ExpressType::DownstreamPort));
        let cases = [
            (0x1002, 6, 6, 6),
            (0x1022, 2, 2, 2),
            (0x1924, 3, 3, 3),
            (0x8086, 48, 48 + 119, 48),
            (0x17cb, 5, 5, 5),
            (0x1dbf, 1, 1, 1),
            (0x19a2, 1, 1, 1),
            (0x10df, 1, 1, 1),
            (0x177d, 3, 0x800 + 2, 3),
            (0x10e8, 1, 1, 1),
            (0x1def, 8, 8, 8),
            (0x14e4, 9, 9, 9),
            (0x0014, 10, 10, 10),
            (0x1c36, 0, 1, 0),
            (0x1d17, 3, 3 + 64, 3 + 64),
            (0x1957, 24, 24, 24),
            (0x8088, 24, 24, 24),
            (0x10de, 0, 0, 0),
        ];
        for (vendor, endpoints, root_ports, downstream_ports) in cases {
            let found = (isolated(vendor, &endpoint), isolated(vendor, &root_port), isolated(vendor, &downstream));
            assert_eq!(found, (endpoints, root_ports, downstream_ports), "{vendor:04x}");
        }
        assert_eq!(isolated(0x8086, &of(ExpressType::RootComplexEndpoint)), 0x1_0000);
        let acs_wide = Field::Known(AcsRegisters { capability: 0x1d, control: 0 });
        assert_eq!(isolated(0x8086, &Function { acs_wide, ..root_port }), 48 + 119 + 56);
        let listed: usize = cases.iter().map(|(vendor, ..)| TABLE.iter().filter(|Entry(other, ..)| other == vendor).count()).sum();
        assert_eq!(listed, TABLE.len(), "each vendor of the table was counted");
    }

    #[test]
    fn the_first_entry_with_an_opinion_decides() {
        let endpoint = Field::Known(ExpressType::Endpoint);
        let root_port = Field::Known(ExpressType::RootPort);
        let cases = [
            ((0x8086, 0x10fb), endpoint, Verdict::Decided(true)),
            ((0x8086, 0x9a49), Field::Known(ExpressType::RootComplexEndpoint), Verdict::Decided(true)),
            ((0x8086, 0x9a49), Field::Absent, Verdict::NoOpinion),
            ((0x8086, 0x9a49), Field::Hidden, Verdict::Hidden),
            ((0x8086, 0x8c10), root_port, Verdict::Decided(true)),
            ((0x8086, 0x8c91), root_port, Verdict::NoOpinion),
            ((0x177d, 0xa026), endpoint, Verdict::Decided(true)),
            ((0x177d, 0xa100), endpoint, Verdict::NoOpinion),
            ((0x1d17, 0x071e), root_port, Verdict::Decided(true)),
            ((0x1d17, 0x0722), root_port, Verdict::Decided(false)),
            ((0x1d17, 0x0722), endpoint, Verdict::NoOpinion),
            ((0x8088, 0x0101), endpoint, Verdict::Decided(true)),
            ((0x8088, 0x0200), endpoint, Verdict::Decided(false)),
            ((0x10de, 0x1f91), endpoint, Verdict::NoOpinion),
        ];
        for ((vendor, device), express, expected) in cases {
            let function = Function { express, ..sample(vendor, device) };
            assert_eq!(verdict(&function, &with(true)), expected, "{vendor:04x}:{device:04x} {express:?}");
        }
    }

    #[test]
    fn wide_registers_are_read_at_their_own_place() {
        use crate::pci::capability::AcsRegisters;
        let express = Field::Known(ExpressType::RootPort);
        let port = Function { express, ..sample(0x8086, 0xa110) };
        assert_eq!(verdict(&port, &with(false)), Verdict::NoOpinion, "no capability");
        let acs_wide = Field::Known(AcsRegisters { capability: 0x0f, control: 0 });
        assert_eq!(verdict(&Function { acs_wide, ..port.clone() }, &with(false)), Verdict::Decided(true));
        assert_eq!(verdict(&Function { acs_wide: Field::Hidden, ..port }, &with(false)), Verdict::Hidden);
    }

    #[test]
    fn old_amd_south_bridges_count_only_with_ivrs_on_a_root_bus() {
        let bridge = Function { multifunction: Some(true), ..sample(0x1002, 0x4384) };
        assert_eq!(verdict(&bridge, &with(true)), Verdict::Decided(true));
        assert_eq!(verdict(&bridge, &with(false)), Verdict::NoOpinion);
        assert_eq!(verdict(&Function { bridge: Some(0), ..bridge.clone() }, &with(true)), Verdict::NoOpinion);
        assert_eq!(verdict(&Function { multifunction: Some(false), ..bridge }, &with(true)), Verdict::NoOpinion);
    }
}
