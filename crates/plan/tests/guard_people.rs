//! Keyboards, consoles, displays, and the chipset: what people and the machine itself need.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, Host};
use cede_plan::guard::{costs, losses};
use cede_plan::intent::{BindMethod, Identity};
use cede_plan::plan::Refusal;
use support::machine::{Loader, Machine};
use support::pci::Function;
use support::{assert_tells_what_to_do, at, plan_on, refused};

/// The laptop's own USB controller.
const USB: &str = "00:14.0";
const CARD: &str = "05:00.0";
const INPUT: &str = "/proc/bus/input/devices";
const KEYS: &str = "1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe";

fn keyboard(name: &str, path: &str) -> String {
    format!("I: Bus=0003\nN: Name=\"{name}\"\nS: Sysfs=/devices/{path}/input/input5\nB: EV=120013\nB: KEY={KEYS}\n\n")
}

/// The laptop with a card in a slot, and these input devices.
fn host(class: u32, driver: &'static str, input: &[String]) -> Machine {
    let card = Function::new("0000:05:00.0", "pci0000:00/0000:00:1d.1", (0x1912, 0x0014), class).driver(driver);
    let machine = Machine::arch(Loader::Grub).functions(&[card]).text("/proc/self/mountinfo", "28 1 0:20 / / rw - tmpfs x rw\n");
    machine.text(INPUT, &input.concat())
}

fn lost(machine: &Machine, address: &str) -> Vec<(&'static str, String)> {
    let host = Host::from_capture(machine.capture.clone());
    let identity = Identity::of(host.device(at(address)).unwrap()).unwrap();
    let plan = plan_on(&machine.capture, &[address], BindMethod::Cmdline);
    assert_tells_what_to_do(&plan);
    losses(&host, &[identity]).into_iter().map(|lost| (lost.loss.id(), Refusal::from(lost).message)).collect()
}

fn notes(machine: &Machine, address: &str) -> String {
    let host = Host::from_capture(machine.capture.clone());
    costs(&host, &[Identity::of(host.device(at(address)).unwrap()).unwrap()]).join("\n")
}

const ON_BOARD: &str = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/0003:046D:C31C.0001";
const ON_CARD: &str = "pci0000:00/0000:00:1d.1/0000:05:00.0/usb3/3-1/3-1:1.0/0003:046D:C31C.0002";
const ON_PS2: &str = "platform/i8042/serio0";
const ON_I2C: &str = "pci0000:00/0000:00:15.0/i2c_designware.0/i2c-1/i2c-ELAN:00/0018:04F3:0001.0003";
const BY_AIR: &str = "virtual/misc/uhid/0005:05AC:0255.0004";
const BEHIND_HUB: &str = "pci0000:00/0000:00:14.0/usb1/1-4/1-4.1/1-4.1.2/1-4.1.2:1.0/0003:046D:C31C.0005";

#[test]
fn the_last_keyboard_is_found_wherever_it_is_plugged_in() {
    let usb = |paths: &[&str]| host(0x0c_0330, "xhci_hcd", &paths.iter().map(|path| keyboard("Model M", path)).collect::<Vec<_>>());
    let only = lost(&usb(&[ON_BOARD]), USB);
    assert_eq!(only[0].0, "last-keyboard");
    assert!(only[0].1.starts_with("0000:00:14.0 xhci_hcd → Model M → the last keyboard: "), "{only:?}");
    assert_eq!(lost(&usb(&[BEHIND_HUB]), USB)[0].0, "last-keyboard");
    assert_eq!(lost(&usb(&[ON_BOARD, ON_CARD]), USB), []);
    assert_eq!(lost(&usb(&[ON_BOARD, ON_PS2]), USB), []);
    assert_eq!(lost(&usb(&[ON_BOARD, ON_I2C]), USB), []);
    assert_eq!(lost(&usb(&[ON_BOARD, BY_AIR]), USB)[0].0, "last-keyboard", "its receiver may hang there too");
    let adapter = "../../devices/pci0000:00/0000:00:14.0/usb1/1-7/1-7:1.0/bluetooth/hci0";
    let by_air = lost(&usb(&[BY_AIR]).link("/sys/class/bluetooth/hci0", adapter), USB);
    assert!(by_air[0].0 == "last-keyboard" && by_air[0].1.contains("0000:00:14.0 xhci_hcd → Model M"), "{by_air:?}");
    assert_eq!(lost(&usb(&[BY_AIR, ON_PS2]).link("/sys/class/bluetooth/hci0", adapter), USB), []);
    assert_eq!(lost(&usb(&[BY_AIR]).link("/sys/class/bluetooth/hci0", adapter), CARD), []);
    assert_eq!(lost(&usb(&[ON_BOARD]), CARD), []);
    assert_eq!(lost(&usb(&[]), USB), [], "a host without keyboards");
    // Switched to another machine now, or plugged in when needed.
    let alone = host(0x02_0000, "igb", &[]);
    assert!(notes(&alone, USB).contains("0000:00:14.0 xhci_hcd is the last USB controller"), "{}", notes(&alone, USB));
    assert_eq!(notes(&usb(&[]), USB), "");
}

#[test]
fn what_was_not_read_of_keyboards_is_said() {
    let mut closed = host(0x0c_0330, "xhci_hcd", &[]);
    closed.capture.insert(INPUT, Entry::Unreadable("EACCES".into()));
    assert!(lost(&closed, CARD)[0].1.contains("/proc/bus/input/devices could not be read (EACCES); run as root"));
    assert_eq!(lost(&closed, "01:00.0"), []);
    closed.capture.remove(INPUT);
    assert_eq!(
        (lost(&closed, CARD), notes(&closed, CARD)),
        (vec![], "whether the last keyboard is behind 0000:05:00.0 xhci_hcd was not seen".to_owned())
    );
}

#[test]
fn a_console_on_a_card_is_lost_with_it() {
    let serial = |console: &str| {
        let machine = host(0x07_0002, "serial", &[]).text("/sys/class/tty/console/active", &format!("tty0 {console}\n"));
        let machine = machine.link("/sys/class/tty/tty0", "../../devices/virtual/tty/tty0");
        let machine = machine.link("/sys/class/tty/ttyS0", "../../devices/pnp0/00:04/tty/ttyS0");
        machine.link("/sys/class/tty/ttyS4", "../../devices/pci0000:00/0000:00:1d.1/0000:05:00.0/tty/ttyS4")
    };
    let found = lost(&serial("ttyS4"), CARD);
    assert_eq!(found[0].0, "console");
    assert!(found[0].1.starts_with("0000:05:00.0 serial → ttyS4 → the kernel's console: "), "{found:?}");
    assert_eq!(lost(&serial("ttyS0"), CARD), []);
    let virtio = Function::new("0000:05:00.0", "pci0000:00/0000:00:1d.1", (0x1af4, 0x1043), 0x07_8000).driver("virtio-pci");
    let guest = Machine::arch(Loader::Grub).functions(&[virtio]).text("/proc/self/mountinfo", "28 1 0:20 / / rw - tmpfs x rw\n");
    let found = lost(&guest.clone().text("/sys/class/tty/console/active", "hvc0\n"), CARD);
    assert!(found[0].0 == "console" && found[0].1.contains("0000:05:00.0 virtio-pci → hvc0 → the kernel's console"), "{found:?}");
    assert_eq!(lost(&guest.text("/sys/class/tty/console/active", "tty0\n"), CARD), []);
}

#[test]
fn the_boot_display_is_named_with_the_one_that_stays() {
    let machine = host(0x02_0000, "igb", &[]);
    let found = lost(&machine, "00:02.0");
    assert!(found[0].0 == "boot-display" && found[0].1.contains("0000:01:00.0 stays: set that one"), "{found:?}");
    let connector = "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/drm/card1/card1-DP-1";
    let dark = machine.link("/sys/class/drm/card1-DP-1", connector).text("/sys/class/drm/card1-DP-1/status", "disconnected\n");
    assert!(lost(&dark, "00:02.0")[0].1.contains("0000:01:00.0 stays, into which no screen is plugged: "));
    let lit = dark.text("/sys/class/drm/card1-DP-1/status", "connected\n");
    assert!(lost(&lit, "00:02.0")[0].1.contains("0000:01:00.0 stays: "));
    assert_eq!(lost(&lit, "01:00.0"), []);
}

#[test]
fn a_display_that_is_no_vga_controller_may_be_the_only_one() {
    let card = |id: u16, status: &str| {
        let mut machine = host(0x03_8000, "amdgpu", &[]);
        for function in ["00:02.0", "01:00.0"] {
            machine = machine.link(&format!("/sys/bus/pci/devices/0000:{function}/driver"), "../../../bus/pci/drivers/vfio-pci");
            machine = machine.text(&format!("/sys/bus/pci/devices/0000:{function}/boot_vga"), "0\n");
        }
        let connector = format!("/sys/class/drm/card{id}-eDP-1");
        let path = format!("../../devices/pci0000:00/0000:00:1d.1/0000:05:00.0/drm/card{id}/card{id}-eDP-1");
        lost(&machine.link(&connector, &path).text(&format!("{connector}/status"), status), CARD)
    };
    let found = card(1, "connected\n");
    assert!(found.iter().any(|(id, message)| *id == "only-display" && message.contains("0000:05:00.0 amdgpu")), "{found:?}");
    assert_eq!(card(1, "disconnected\n"), []);
}

#[test]
fn the_chipset_is_never_given_away() {
    let root = "pci0000:00";
    let functions = [
        Function::new("0000:00:1f.2", root, (0x8086, 0xa2a1), 0x05_8000).express(None).group(9),
        Function::new("0000:00:1f.3", root, (0x8086, 0xa348), 0x04_0300).express(None).driver("snd_hda_intel").group(9),
        Function::new("0000:00:1f.4", root, (0x8086, 0xa323), 0x0c_0500).express(None).driver("i801_smbus").group(9),
        Function::new("0000:00:1f.5", root, (0x8086, 0xa324), 0x0c_8000).express(None).group(9),
        Function::new("0000:00:00.2", root, (0x1022, 0x1481), 0x08_0600).express(None),
        // A graphics card's USB-C controller has the same class, and is none.
        Function::new("0000:01:00.3", "pci0000:00/0000:00:01.0", (0x10de, 0x1ad9), 0x0c_8000).group(1),
    ];
    let machine = Machine::arch(Loader::Grub).iommu_on().functions(&functions);
    for address in ["00:1f.2", "00:1f.4", "00:1f.5", "00:00.2", "00:00.0", "00:01.0"] {
        let plan = plan_on(&machine.capture, &[address], BindMethod::Cmdline);
        assert_eq!(refused(&plan), ["bridge"], "{address}");
    }
    assert_eq!(refused(&plan_on(&machine.capture, &["00:1f.3"], BindMethod::Cmdline)), ["group-has-chipset-device"]);
    let card = plan_on(&machine.capture, &["01:00.0"], BindMethod::Cmdline);
    assert!(card.refused.is_empty() && card.devices.len() == 3, "{:?}", card.refused);
}
