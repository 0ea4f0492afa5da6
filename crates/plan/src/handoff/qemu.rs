//! Arguments for QEMU started by hand, one option a line, quoted as a shell and `xargs` take them.

use super::group::{Given, Member, Standing};
use super::layout::slots;
use super::{Options, Target, Text};
use crate::plan::Refusal;
use crate::shell_word::quoted;
use cede_model::Host;
use cede_model::pci::PciAddress;

/// Chassis numbers below this one are left to the ports that are there already. They have eight bits (QEMU, hw/pci-bridge/pcie_root_port.c).
const FIRST_CHASSIS: usize = 0xce;

/// So many ports have slots that QEMU finds; of more, eight are the functions of one, as libvirt does it: a q35 machine has some 28 to give.
const MOST_WITH_SLOT: usize = 8;

/// Functions of a slot.
const FUNCTIONS: usize = 8;

/// The slots of those: QEMU gives out its own from 1 on, and the parts of an ICH9 are from 0x19 on (docs/config/q35-emulated.cfg).
const FIRST_SLOT: usize = 0x10;

/// More ports have no chassis numbers of their own.
const MOST: usize = 48;

/// So many device nodes are named; of more only the number.
const NODES_SHOWN: usize = 4;

/// QEMU.
pub struct Qemu;

impl Target for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn about(&self) -> &'static str {
        "arguments of qemu-system-x86_64, one option a line"
    }

    fn needs(&self) -> Standing {
        Standing::Ceded
    }

    fn text(&self, _: &Host, given: &Given, options: &Options) -> Result<Text, Vec<Refusal>> {
        let slots = slots(given);
        if slots.len() > MOST {
            let message = format!(
                "{} slots are too many for one guest, which has {MOST} root ports for them: `cede handoff` with fewer of the devices",
                slots.len()
            );
            return Err(vec![Refusal::new("too-many-devices", message)]);
        }
        let mut lines = Vec::new();
        let iommufd = given.members.iter().all(|member| member.device_node.is_some());
        if iommufd {
            lines.push("-object iommufd,id=cede-iommufd".to_owned());
        }
        for (at, slot) in slots.iter().enumerate() {
            let port = format!("cede{at}");
            let place = place(at, slots.len());
            lines.push(format!("-device pcie-root-port,id={port},bus=pcie.0,chassis={}{place}", FIRST_CHASSIS + at));
            for (function, member) in &slot.functions {
                let mut device = format!("vfio-pci,{},bus={port},addr=0x0.{function:#x}", host_of(member.address));
                if slot.is_multifunction() && *function == 0 {
                    device.push_str(",multifunction=on");
                }
                if iommufd {
                    device.push_str(",iommufd=cede-iommufd");
                }
                if let Some(rom) = options.rom.as_ref().filter(|_| member.address == given.first) {
                    // A comma ends a value; two of them stand for one (QEMU, util/qemu-option.c).
                    device.push_str(&format!(",romfile={}", rom.path.replace(',', ",,")));
                }
                lines.push(format!("-device {}", quoted(&device)));
            }
        }
        Ok(Text { text: lines.join("\n") + "\n", parts: Vec::new(), notes: notes(given, options, iommufd) })
    }
}

/// Where a port stands among so many.
fn place(at: usize, ports: usize) -> String {
    let (slot, function) = (FIRST_SLOT + at / FUNCTIONS, at % FUNCTIONS);
    match function {
        _ if ports <= MOST_WITH_SLOT => String::new(),
        0 => format!(",addr={slot:#x}.0x0,multifunction=on"),
        _ => format!(",addr={slot:#x}.{function:#x}"),
    }
}

/// QEMU takes no domain above 0xffff as an address (7.2: hw/core/qdev-properties-system.c); the directory in sysfs it does.
pub(crate) fn host_of(address: PciAddress) -> String {
    if address.domain > 0xffff { format!("sysfsdev=/sys/bus/pci/devices/{address}") } else { format!("host={address}") }
}

fn notes(given: &Given, options: &Options, iommufd: bool) -> Vec<String> {
    let mut list = vec![
        "for `-machine q35`: save the lines and start `xargs -a FILE qemu-system-x86_64 -machine q35 …`".to_owned(),
        "VFIO locks all memory of the guest: as a user other than root, `ulimit -l` must be above the guest's memory (LimitMEMLOCK= of a unit, or /etc/security/limits.d)".to_owned(),
    ];
    if iommufd {
        list.push("iommufd needs QEMU 9.0 or later; for an older one leave out the first line and `,iommufd=cede-iommufd`".to_owned());
    }
    let nodes: Vec<String> = nodes(given, iommufd);
    let more = nodes.len().saturating_sub(NODES_SHOWN);
    let shown = nodes.get(..NODES_SHOWN).unwrap_or(&nodes).join(", ");
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    let rule = |what: &str| format!("`{what}, GROUP=\"kvm\", MODE=\"0660\"`");
    let rules = if iommufd {
        format!("udev rules like {} and {}", rule("SUBSYSTEM==\"vfio-dev\""), rule("SUBSYSTEM==\"misc\", KERNEL==\"iommu\""))
    } else {
        format!("a udev rule like {}", rule("SUBSYSTEM==\"vfio\""))
    };
    list.push(format!("as a user other than root, that user must be able to open {shown}{rest}: {rules}"));
    let legacy_display = given.members.iter().find(|member| member.is_vga && member.address == given.first);
    if let Some(member) = legacy_display.filter(|_| options.rom.as_ref().is_some_and(|rom| !rom.has_uefi_driver)) {
        list.push(format!(
            "the ROM has no UEFI driver: with SeaBIOS and {} as the only display add `,x-vga=on` to its line; with OVMF do not",
            member.address
        ));
    }
    list
}

fn nodes(given: &Given, iommufd: bool) -> Vec<String> {
    if iommufd {
        return std::iter::once("/dev/iommu".to_owned())
            .chain(given.members.iter().filter_map(|member| member.device_node.clone()))
            .collect();
    }
    let mut groups: Vec<u32> = given.members.iter().filter_map(|member: &Member| member.group).collect();
    groups.dedup();
    groups.iter().map(|group| format!("/dev/vfio/{group}")).collect()
}
