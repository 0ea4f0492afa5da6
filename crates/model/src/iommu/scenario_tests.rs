use super::*;
use crate::Host;
use crate::lspci;

/// Port 1c.0 isolates and holds a network card, 1c.4 isolates and is empty, 01.0 does not isolate and holds a graphics card.
const LISTING: &str = "\
00:01.0 PCI bridge [0604]: Intel Corporation X [8086:1901] (rev 07)
Control: I/O+
Bus: primary=00, secondary=01, subordinate=01, sec-latency=0
Capabilities: [a0] Express (v2) Root Port (Slot+), MSI 00

00:1c.0 PCI bridge [0604]: Intel Corporation Y [8086:a338] (rev f0)
Control: I/O+
Bus: primary=00, secondary=02, subordinate=02, sec-latency=0
Capabilities: [40] Express (v2) Root Port (Slot+), MSI 00
ACSCap: SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd- EgressCtrl- DirectTrans-

00:1d.0 PCI bridge [0604]: Intel Corporation Y [8086:a330] (rev f0)
Control: I/O+
Bus: primary=00, secondary=03, subordinate=03, sec-latency=0
Capabilities: [40] Express (v2) Root Port (Slot+), MSI 00
ACSCap: SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd- EgressCtrl- DirectTrans-

00:1f.0 ISA bridge [0601]: Intel Corporation Z [8086:a30d] (rev 10)
Control: I/O+

01:00.0 VGA compatible controller [0300]: NVIDIA Corporation V [10de:1f91] (rev a1)
Control: I/O+
Capabilities: [78] Express (v2) Legacy Endpoint, MSI 00

01:00.1 Audio device [0403]: NVIDIA Corporation A [10de:10fa] (rev a1)
Control: I/O+
Capabilities: [78] Express (v2) Endpoint, MSI 00

02:00.0 Network controller [0280]: Intel Corporation N [8086:2723] (rev 1a)
Control: I/O+
Capabilities: [40] Express (v2) Endpoint, MSI 00
";

fn topology() -> Topology {
    Topology::of(&Host::from_capture(lspci::read(LISTING.as_bytes()).swap_remove(0).capture))
}

fn what_if(text: &str) -> Result<Scenario, ScenarioError> {
    topology().what_if(&parse(&[text.to_owned()])?)
}

fn shown(groups: &[Vec<PciAddress>]) -> String {
    let short = |address: &PciAddress| address.to_string().trim_start_matches("0000:").to_owned();
    groups.iter().map(|group| group.iter().map(short).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(" | ")
}

#[track_caller]
fn assert_groups(text: &str, expected: &str) {
    let scenario = what_if(text).unwrap();
    assert_eq!(shown(scenario.topology.prediction().groups().unwrap()), expected, "{text}");
}

const TODAY: &str = "00:01.0 01:00.0 01:00.1 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 02:00.0";

#[test]
fn today_is_the_what_if_of_nothing() {
    assert_eq!(shown(topology().prediction().groups().unwrap()), TODAY);
    assert_groups("kernel=6.1", TODAY);
}

#[test]
fn cards_move_with_all_their_functions() {
    let elsewhere = "00:01.0 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 02:00.0 | 03:00.0 03:00.1";
    assert_groups("move 01:00.1 00:1d.0", elsewhere);
    assert_groups("move 01:00.0 to 00:1d.0", elsewhere);
    let scenario = what_if("move 01:00.0 00:1d.0").unwrap();
    let at = |text: &str| text.parse::<PciAddress>().unwrap();
    assert_eq!(scenario.former, BTreeMap::from([(at("03:00.0"), Some(at("01:00.0"))), (at("03:00.1"), Some(at("01:00.1")))]));
}

#[test]
fn a_slot_takes_one_card() {
    let holds = ScenarioError::Occupied { port: "00:1c.0".parse().unwrap(), occupant: "02:00.0".parse().unwrap() };
    for slot in ["00:1c.0", "02:00.0"] {
        assert_eq!(what_if(&format!("move 01:00.0 {slot}")).unwrap_err(), holds);
    }
    let swapped = "00:01.0 01:00.0 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 02:00.0 02:00.1";
    assert_groups("move 01:00.0 00:1c.0 move 02:00.0 00:01.0", swapped);
    assert_groups("remove 02:00.0 move 01:00.0 00:1c.0", "00:01.0 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 02:00.0 02:00.1");
    assert!(matches!(what_if("move 01:00.0 00:1d.0 move 02:00.0 00:1d.0"), Err(ScenarioError::Occupied { .. })));
}

#[test]
fn cards_come_and_go() {
    assert_groups(
        "add 10de:2204,10de:1aef under 00:1d.0",
        "00:01.0 01:00.0 01:00.1 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 02:00.0 | 03:00.0 03:00.1",
    );
    assert_groups("remove 01:00.0", "00:01.0 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 02:00.0");
    assert_groups("remove 00:1c.0", "00:01.0 01:00.0 01:00.1 | 00:1d.0 | 00:1f.0");
}

#[test]
fn the_override_parts_what_has_no_acs() {
    assert_groups("acs-override=downstream", "00:01.0 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 01:00.0 01:00.1 | 02:00.0");
    assert_groups("acs-override=downstream,multifunction", "00:01.0 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 01:00.0 | 01:00.1 | 02:00.0");
    assert_groups("acs-override id:8086:1901", "00:01.0 | 00:1c.0 | 00:1d.0 | 00:1f.0 | 01:00.0 01:00.1 | 02:00.0");
}

#[test]
fn what_cannot_be_is_said_and_how_to_write_it() {
    let cases = [
        ("", None),
        ("jump 01:00.0", Some("is no what-if")),
        ("move 01:00.0", Some("move ADDR SLOT")),
        ("move 09:00.0 00:1d.0", Some("no PCI function at 0000:09:00.0")),
        ("move 00:1f.0 00:1d.0", Some("cannot be moved")),
        ("move 01:00.0 00:1f.0", Some("no port")),
        ("add 10de under 00:1d.0", Some("is no what-if")),
        ("kernel=new", Some("write it as in 6.12")),
        ("acs-override=upstream", Some("`upstream` is none of downstream, multifunction")),
        ("acs-override=", Some("acs-override=downstream")),
        ("remove", Some("remove ADDR")),
    ];
    for (text, expected) in cases {
        let error = what_if(text).err().map(|error| error.to_string());
        assert!(error.as_deref().unwrap_or_default().contains(expected.unwrap_or_default()), "{text}: {error:?}");
        assert_eq!(error.is_some(), expected.is_some(), "{text}");
    }
}

#[test]
fn words_may_come_one_by_one_or_together() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let text = "move 01:00.0 00:1d.0 remove 02:00.0 kernel=6.12 acs-override=multifunction add 10de:2204 under 00:1c.0";
    let changes = parse(&words(text)).unwrap();
    assert_eq!(changes, parse(&[text.to_owned()]).unwrap());
    let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join(" ").replace("0000:", ""), text);
}

#[test]
fn only_what_differs_is_shown() {
    let at = |text: &str| text.split(' ').map(|address| address.parse().unwrap()).collect::<Vec<PciAddress>>();
    let before = [at("00:01.0 01:00.0"), at("00:02.0"), at("00:03.0"), at("00:04.0")];
    let after = [at("00:01.0"), at("01:00.0"), at("00:02.0"), at("00:04.0 00:03.0")];
    let list = regroupings(&before, &after);
    assert_eq!(list.len(), 2);
    assert_eq!(list[0], Regrouping { before: vec![at("00:01.0 01:00.0")], after: vec![at("00:01.0"), at("01:00.0")] });
    assert_eq!((shown(&list[1].before), shown(&list[1].after)), ("00:03.0 | 00:04.0".into(), "00:03.0 00:04.0".into()));
    assert_eq!(regroupings(&after, &after), []);
}
