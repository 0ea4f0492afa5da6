//! Who or what uses a function: found and named, never ended, and never gone against.

use super::network_use;
use super::services::names_on;
use crate::guard::Loss;
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::PciDevice;
use cede_model::uses::block_names::BLOCK;
use cede_model::uses::nodes::{NVIDIA, Opener, VFIO, nodes_on, openers};

/// The id of the refusal that a holder is.
pub const HELD: &str = "held";

/// Nodes of devices that may go at any time, as when they are unplugged.
const MAY_GO: [&str; 2] = ["/dev/input/", "/dev/hidraw"];

/// What holds a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderKind {
    /// A process with a device node open.
    Process(Opener),
    /// A network interface that is in use.
    Interface(String),
    /// A block device that is made of one on the function.
    Block(String),
}

/// Something that uses a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The function and its driver, `0000:01:00.0 nvidia`.
    pub function: String,
    /// What holds it.
    pub kind: HolderKind,
    /// How it does, in words.
    pub what: String,
    /// How to end that.
    pub advice: String,
}

impl From<&Holder> for Refusal {
    fn from(holder: &Holder) -> Self {
        Self::new(HELD, format!("{} → {}: {}", holder.function, holder.what, holder.advice))
    }
}

/// Everything that uses a function. Interfaces are left out where their owner gives up the network by name.
pub fn of(host: &Host, device: &PciDevice, accepted: &[Loss]) -> Vec<Holder> {
    let function = device.driver_name().map_or_else(|| device.address.to_string(), |driver| format!("{} {driver}", device.address));
    let holder = |kind, what, advice| Holder { function: function.clone(), kind, what, advice };
    let mut list: Vec<Holder> = processes(host, device)
        .into_iter()
        .map(|one| {
            let what = format!("{}: open in {} (pid {})", one.file, one.name, one.pid);
            let advice = advice(&one);
            holder(HolderKind::Process(one), what, advice)
        })
        .collect();
    if !accepted.iter().any(|loss| matches!(loss, Loss::NetworkRoute | Loss::SshSession)) {
        let uses = network_use::of(&host.capture, device.address);
        list.extend(uses.into_iter().map(|one| {
            holder(
                HolderKind::Interface(one.interface.clone()),
                format!("{}: {}", one.interface, one.what),
                format!("`{}` first", one.advice),
            )
        }));
    }
    list.extend(stacked(host, device).into_iter().map(|(below, above)| {
        holder(HolderKind::Block(above.clone()), format!("{below}: {above} is made of it"), end_of_stack(host, &above))
    }));
    list
}

/// The processes that have a node of the function open.
fn processes(host: &Host, device: &PciDevice) -> Vec<Opener> {
    let nodes = nodes_on(&host.capture, device.address);
    let is_nvidia = device.driver_name() == Some("nvidia");
    let group = device.iommu_group.filter(|_| device.is_on_vfio()).map(|group| format!("{VFIO}{group}"));
    let is_meant = |file: &str| {
        nodes.iter().any(|node| node == file && !MAY_GO.iter().any(|start| node.starts_with(start)))
            || (is_nvidia && file.starts_with(NVIDIA))
            || group.as_deref() == Some(file)
    };
    openers(&host.capture).into_iter().filter(|one| is_meant(&one.file)).collect()
}

/// Block devices made of those of the function, mounted or not: volumes, arrays, encrypted ones.
fn stacked(host: &Host, device: &PciDevice) -> Vec<(String, String)> {
    let own = names_on(&host.capture, BLOCK, device.address);
    let above = |below: &String| {
        let path = |other: &str| format!("{BLOCK}/{other}/slaves/{below}");
        host.capture.names_in(BLOCK).find(|other| host.capture.exists(&path(other))).map(|other| (below.clone(), other.to_owned()))
    };
    own.iter().filter_map(above).collect()
}

fn end_of_stack(host: &Host, above: &str) -> String {
    let uuid = host.capture.attribute(&format!("{BLOCK}/{above}/dm/uuid")).unwrap_or_default();
    let name = host.capture.attribute(&format!("{BLOCK}/{above}/dm/name")).unwrap_or(above);
    match uuid.split('-').next() {
        _ if above.starts_with("md") => format!("`mdadm --stop /dev/{above}` first"),
        Some("LVM") => format!("`lvchange -an /dev/mapper/{name}` first"),
        Some("CRYPT") => format!("`cryptsetup close {name}` first"),
        Some("mpath") => format!("`multipath -f {name}` first"),
        _ => format!("`dmsetup remove {name}` first"),
    }
}

/// What people stop by other means than ending the process.
const SERVICES: [(&str, &str); 12] = [
    ("pipewire", "`systemctl --user stop pipewire.socket pipewire wireplumber` as its user"),
    ("wireplumber", "`systemctl --user stop pipewire.socket pipewire wireplumber` as its user"),
    ("pulseaudio", "`systemctl --user stop pulseaudio.socket pulseaudio` as its user"),
    ("nvidia-persiste", "`systemctl stop nvidia-persistenced`"),
    ("Xorg", "`systemctl stop display-manager` ends the desktop"),
    ("Xwayland", "`systemctl stop display-manager` ends the desktop"),
    ("gnome-shell", "`systemctl stop display-manager` ends the desktop"),
    ("kwin_wayland", "`systemctl stop display-manager` ends the desktop"),
    ("sway", "`systemctl stop display-manager` ends the desktop"),
    ("Hyprland", "`systemctl stop display-manager` ends the desktop"),
    ("qemu-system-x86", "shut its guest down"),
    ("qemu-kvm", "shut its guest down"),
];

fn advice(one: &Opener) -> String {
    let known = SERVICES.iter().find(|(name, _)| *name == one.name).map(|(_, advice)| format!("{advice} first"));
    known.unwrap_or_else(|| "end it first".to_owned())
}
