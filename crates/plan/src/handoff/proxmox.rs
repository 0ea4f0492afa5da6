//! Proxmox VE: a mapping of the cluster (pve-guest-common, `PVE::Mapping::PCI`) and the lines of the guest (qemu-server,
//! `PVE::QemuServer::PCI`). Proxmox binds the devices to vfio-pci itself when the guest starts.

use super::group::{Given, Member, Standing};
use super::layout::{Slot, slots};
use super::{Options, Rom, Target, Text};
use crate::plan::Refusal;
use crate::shell_word::quoted;
use cede_model::Host;

/// Devices that a guest can have (`$MAX_HOSTPCI_DEVICES`).
const MOST: usize = 16;

/// Where Proxmox looks for ROM files; `romfile=` names one in it.
const ROMS: &str = "/usr/share/kvm/";

/// Proxmox VE.
pub struct Proxmox;

impl Target for Proxmox {
    fn name(&self) -> &'static str {
        "proxmox"
    }

    fn about(&self) -> &'static str {
        "a resource mapping and `hostpci` lines"
    }

    fn needs(&self) -> Standing {
        Standing::Host
    }

    fn text(&self, host: &Host, given: &Given, options: &Options) -> Result<Text, Vec<Refusal>> {
        let parts: Vec<(String, &Member)> = slots(given).iter().flat_map(|slot| paths(host, slot)).collect();
        if parts.len() > MOST {
            let message =
                format!("{} devices are too many for one guest, which can have {MOST}: `cede groups` shows smaller groups", parts.len());
            return Err(vec![Refusal::new("too-many-devices", message)]);
        }
        if let Some(rom) = options.rom.as_ref().filter(|rom| file_name(rom).contains([',', ';'])) {
            let copy = quoted(&rom.path);
            let message = format!(
                "Proxmox takes no `,` and no `;` in the name of a ROM file: `sudo cp {copy} {ROMS}gpu.rom`, and `--rom {ROMS}gpu.rom`"
            );
            return Err(vec![Refusal::new("rom-name", message)]);
        }
        let node = host.capture.attribute("/proc/sys/kernel/hostname").and_then(|name| name.split('.').next()).unwrap_or("NODE");
        let mut text = String::from("# /etc/pve/mapping/pci.cfg\n");
        for (path, member) in &parts {
            let subsystem = member.subsystem.map_or_else(|| "0000:0000".to_owned(), |id| id.to_string());
            let group = member.group.map_or_else(String::new, |group| format!("iommugroup={group},"));
            text.push_str(&format!("{}\n\tmap id={},{group}node={node},path={path},subsystem-id={subsystem}\n\n", name(member), member.id));
        }
        text.push_str("# /etc/pve/qemu-server/VMID.conf\n");
        for (at, (_, member)) in parts.iter().enumerate() {
            let rom = rom(options, given, member).map(|file| format!(",romfile={file}")).unwrap_or_default();
            text.push_str(&format!("hostpci{at}: mapping={},pcie=1{rom}\n", name(member)));
        }
        Ok(Text { text, parts: Vec::new(), notes: notes(host, given, options) })
    }
}

/// The whole device where every function of it goes, else each function. A whole device has the attributes of its function 0.
fn paths<'a>(host: &Host, slot: &Slot<'a>) -> Vec<(String, &'a Member)> {
    let Some((_, first)) = slot.functions.first() else { return Vec::new() };
    if slot.is_multifunction() && host.slot(first.address).count() == slot.functions.len() {
        let whole = first.address.to_string();
        return vec![(whole.trim_end_matches(".0").to_owned(), first)];
    }
    slot.functions.iter().map(|(_, member)| (member.address.to_string(), *member)).collect()
}

/// A name that Proxmox takes (`pve-configid`): a letter, then letters, digits, `-` and `_`.
fn name(member: &Member) -> String {
    format!("pci-{}", member.address.to_string().replace([':', '.'], "-"))
}

fn rom(options: &Options, given: &Given, member: &Member) -> Option<String> {
    options.rom.as_ref().filter(|_| member.address == given.first).map(|rom| file_name(rom).to_owned())
}

fn file_name(rom: &Rom) -> &str {
    rom.path.rsplit('/').next().unwrap_or_default()
}

fn notes(host: &Host, given: &Given, options: &Options) -> Vec<String> {
    let mut list = vec!["pcie=1 needs `machine: q35`; put the number of the guest in the place of VMID".to_owned()];
    if host.capture.attribute("/proc/sys/kernel/hostname").is_none() {
        list.push("the name of this host was not seen: put it in the place of NODE".to_owned());
    }
    if let Some(rom) = options.rom.as_ref().filter(|rom| rom.path.strip_prefix(ROMS).is_none_or(|file| file.contains('/'))) {
        list.push(format!("Proxmox looks for ROM files in {ROMS} only: `sudo cp {} {ROMS}`", quoted(&rom.path)));
    }
    if given.members.iter().any(|member| member.standing == Standing::Host) {
        list.push(
            "Proxmox takes the devices from their drivers when the guest starts; `sudo cede apply ADDR` keeps those away from the start"
                .to_owned(),
        );
    }
    if let Some(member) = given.members.iter().find(|member| member.is_vga) {
        list.push(format!("if {} is to be the guest's first display, add `,x-vga=1` to its line and set `vga: none`", member.address));
    }
    list
}
