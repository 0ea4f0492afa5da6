use super::super::header;
use super::*;

fn record(text: &str) -> Record {
    let mut lines = text.lines().map(str::trim);
    let (address, rest) = header::address(lines.next().unwrap()).unwrap();
    let mut record = Record::new(header::read(address, rest).unwrap());
    lines.for_each(|line| record.take(line));
    record
}

const PORT: &str = "00:01.0 PCI bridge [0604]: Intel Corporation 6th-10th Gen Core Processor PCIe Controller (x16) [8086:1901] (rev 07) (prog-if 00 [Normal decode])
\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV-
\tBus: primary=00, secondary=01, subordinate=02, sec-latency=0
\tCapabilities: [88] Subsystem: Dell 6th-10th Gen Core Processor PCIe Controller (x16) [1028:0863]
\tCapabilities: [a0] Express (v2) Root Port (Slot+), MSI 00
\tCapabilities: [140 v1] Access Control Services
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir- CmpltRedir+ UpstreamFwd- EgressCtrl- DirectTrans-
\tKernel driver in use: pcieport";

#[test]
fn a_port_as_root_sees_it() {
    let port = record(PORT);
    assert_eq!((port.express(), port.has_slot()), (Told::Is(ExpressType::RootPort), true));
    assert_eq!(port.acs(), Told::Is(AcsRegisters { capability: 0x1f, control: 0x08 }));
    assert_eq!(port.buses(), Some(BridgeBuses { primary: 0, secondary: 1, subordinate: 2 }));
    assert_eq!((port.word("Kernel driver in use:"), port.number("IOMMU group")), (Some("pcieport"), None));
    let header = &port.header;
    assert_eq!((header.revision, header.interface, header.id.unwrap().to_string().as_str()), (Some(7), Some(0), "8086:1901"));
    assert_eq!((header.class_name.as_str(), header.class), ("PCI bridge", Some(crate::pci::PciClass(0x060400))));
}

#[test]
fn wrapped_lines_and_broken_words_read_the_same() {
    for wrapped in
        ["SrcValid+\nTransBlk+ ReqRedir+ CmpltRedir+\n\t> UpstreamFwd+", "SrcValid+ TransBlk+ ReqRe\ndir+ CmpltRedir+ UpstreamF\nwd+"]
    {
        let text = PORT.replace("SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+", &wrapped.replace("\t> ", ""));
        assert_eq!(record(&text).acs(), record(PORT).acs(), "{wrapped}");
    }
    let cut = PORT.split("ReqRedir+").next().unwrap();
    assert_eq!(record(cut).acs(), Told::Unsaid, "a capability without its flags");
}

#[test]
fn what_a_listing_does_not_say_is_not_absent() {
    let user =
        "01:00.0 VGA compatible controller: NVIDIA Corporation Device 2504 (rev a1)\n\tFlags: bus master\n\tCapabilities: <access denied>";
    assert_eq!((record(user).express(), record(user).acs()), (Told::Unsaid, Told::Unsaid));
    let short = "01:00.0 VGA compatible controller: NVIDIA Corporation Device 2504 (rev a1)";
    assert_eq!((record(short).express(), record(short).acs()), (Told::Unsaid, Told::Unsaid));
    let one_v = "00:01.0 PCI bridge: X\n\tFlags: bus master\n\tCapabilities: [a0] Express Root Port (Slot+), MSI 00\n\tCapabilities: [140] Access Control Services";
    assert_eq!((record(one_v).express(), record(one_v).acs()), (Told::Is(ExpressType::RootPort), Told::Unsaid));
    let conventional = "00:1f.0 ISA bridge: X\n\tFlags: bus master, medium devsel, latency 0\n\tKernel driver in use: lpc_ich";
    assert_eq!((record(conventional).express(), record(conventional).acs()), (Told::Not, Told::Not));
    let dead = "01:00.0 VGA compatible controller: X (rev ff) (prog-if ff)\n\t!!! Unknown header type 7f\n\tKernel driver in use: nouveau";
    assert!(record(dead).is_dead());
    assert_eq!(record(dead).express(), Told::Unsaid);
}

#[test]
fn dumps_are_taken_row_by_row_up_to_the_first_gap() {
    let whole = "00:00.0 Host bridge: X\n00: 86 80 c2 3e 06 00 90 20 07 00 00 06 00 00 00 00\n10: 01 02";
    assert_eq!(record(whole).bytes.len(), 18);
    let wrapped = "00:00.0 Host bridge: X\n00: 86 80 c2 3e 06 00\n90 20 07 00 00 06 00 00 00 00\n10: 01";
    assert_eq!((record(wrapped).bytes.len(), record(wrapped).bytes[6..9].to_vec()), (17, vec![0x90, 0x20, 0x07]));
    let gap = "00:00.0 Host bridge: X\n00: 86 80\n20: 01\nff0: 01\n1000: 02\n99: 01\n00 : 11";
    assert_eq!(record(gap).bytes.len(), 2);
}

#[test]
fn virtual_functions_are_counted_from_the_physical_one() {
    let text = "01:00.0 Ethernet controller: X\n\tControl: I/O-\n\t\tInitial VFs: 64, Total VFs: 64, Number of VFs: 3, Function Dependency Link: 00\n\t\tVF offset: 128, stride: 2, Device ID: 1515";
    let list: Vec<String> = record(text).virtual_functions().iter().map(ToString::to_string).collect();
    assert_eq!(list, ["0000:01:10.0", "0000:01:10.2", "0000:01:10.4"]);
    assert_eq!(record(&text.replace("128", "65535")).virtual_functions(), []);
}

#[test]
fn numbers_stand_on_their_own_line_or_among_the_flags() {
    let head = "00:01.0 PCI bridge: X";
    for text in
        ["Control: I/O+\nNUMA node: 1\nIOMMU group: 7", "Flags: bus master, fast devsel, latency 0, IRQ 33, NUMA node 1, IOMMU group 7"]
    {
        let record = record(&format!("{head}\n{text}"));
        assert_eq!((record.number("NUMA node"), record.number("IOMMU group")), (Some(1), Some(7)));
    }
}

#[test]
fn lines_that_are_no_function() {
    for line in [
        "0000:00:1c.0: PCI bridge to [bus 01]",
        "00:1c.0",
        "12:34:56.7 something",
        "00:1c.0 a very; strange: line",
        "0:1c.0 PCI bridge: X",
        "lspci -vv",
        "00: 86 80",
    ] {
        assert!(header::address(line).and_then(|(address, rest)| header::read(address, rest)).is_none(), "{line}");
    }
}
