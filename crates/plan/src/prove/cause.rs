//! What an error number means at the step where it came, on this host.
//!
//! Sources: drivers/vfio/container.c, group.c, vfio_iommu_type1.c, drivers/iommu/iommu.c and drivers/iommu/iommufd/device.c of Linux 6.1,
//! 6.12 and 7.2, and runs on 6.1.

use super::errno::Errno;
use super::facts::Facts;
use super::record::Subject;
use super::step::Step;
use super::wish::{Target, Wish};
use cede_model::pci::PciAddress;

/// What is meant, and what to type or do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// In a sentence.
    pub why: String,
    /// A command first, where there is one.
    pub remedy: String,
}

fn cause(why: impl Into<String>, remedy: impl Into<String>) -> Cause {
    Cause { why: why.into(), remedy: remedy.into() }
}

/// The cause of a failure.
pub fn of(step: Step, errno: Errno, subject: &Subject, wish: &Wish, facts: Facts<'_>) -> Cause {
    let group = group_of(subject, wish);
    match step {
        Step::Container | Step::Version => container(errno),
        Step::Group => open_group(errno, group, wish, facts),
        Step::Status | Step::SetContainer => set_container(errno, group, facts),
        Step::Type1 | Step::SetIommu => set_iommu(errno, group, facts),
        Step::Iommufd | Step::Ioas => iommufd(errno, wish, facts),
        Step::Node => node(errno, subject, wish, facts),
        Step::Bind => bind(errno, group, subject, wish, facts),
        Step::AttachIoas => attach(errno, group, facts),
        Step::GetDevice => get_device(errno, subject),
        Step::Map | Step::Unmap => map(errno, facts),
        Step::Reset | Step::ResetAgain | Step::Close => reset(errno, subject),
        Step::FindQemu => no_qemu(errno, facts),
        Step::Guest | Step::GuestIds | Step::GuestBars | Step::GuestRom => unknown(errno),
        Step::Info | Step::Regions | Step::Interrupts | Step::Config | Step::ResetSet => dead(errno, subject),
    }
}

fn group_of(subject: &Subject, wish: &Wish) -> Option<u32> {
    match subject {
        Subject::Group(id) => Some(*id),
        Subject::Device(_) | Subject::Returned(_) => target(subject, wish).map(|target| target.group),
        // What is asked of the container fails for the group that was put into it first.
        Subject::Node(_) | Subject::Guest => wish.targets.first().map(|target| target.group),
    }
}

fn target<'a>(subject: &Subject, wish: &'a Wish) -> Option<&'a Target> {
    wish.targets.iter().find(|target| subject.address() == Some(target.address))
}

fn addresses(wish: &Wish) -> String {
    let list: Vec<String> = wish.targets.iter().map(|target| target.address.to_string()).collect();
    list.join(" ")
}

fn unknown(errno: Errno) -> Cause {
    let why = format!("{} is not among the answers that this step is known to give", errno.symbol().unwrap_or("this number"));
    cause(why, "`sudo dmesg | grep -i -e vfio -e iommu -e DMAR -e AMD-Vi | tail`: the kernel's log may say more")
}

fn container(errno: Errno) -> Cause {
    match errno {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => {
            cause("VFIO is not loaded, or this kernel is without containers (CONFIG_VFIO_CONTAINER)", "sudo modprobe vfio-pci")
        }
        Errno::EACCES | Errno::EPERM => {
            cause("you may not open the container, which everybody may by default", "sudo chmod 0666 /dev/vfio/vfio")
        }
        other => unknown(other),
    }
}

fn permission(path: &str, device: &str, wish: &Wish, facts: Facts<'_>) -> Cause {
    if facts.around.is_root {
        return cause(
            format!("root may not open {path}: a container, a sandbox or a security module forbids it"),
            "run it on the host itself, outside of containers",
        );
    }
    cause(
        format!("you may not open {path}: it is root's unless a rule gives it to somebody"),
        format!("`sudo cede prove {}`; for guests of yours a udev rule: `{device}, GROUP=\"kvm\", MODE=\"0660\"`", addresses(wish)),
    )
}

/// The nodes of a group and of its functions shut each other out (drivers/vfio/group.c `vfio_device_block_group`).
fn holders(group: Option<u32>, wish: &Wish, facts: Facts<'_>) -> Vec<String> {
    let of_group = group.map(|group| format!("/dev/vfio/{group}"));
    let members = wish.targets.iter().filter(|target| Some(target.group) == group);
    of_group.into_iter().chain(members.filter_map(|target| target.node.clone())).flat_map(|path| facts.holders(&path)).collect()
}

fn in_use(path: &str, group: Option<u32>, wish: &Wish, facts: Facts<'_>) -> Cause {
    let holders = holders(group, wish, facts);
    let who = match (holders.is_empty(), facts.around.is_root) {
        (false, _) => holders.join(", "),
        (true, true) => "another process".to_owned(),
        (true, false) => "a process of somebody else".to_owned(),
    };
    cause(format!("{path} is in use by {who}"), "shut that guest down first; nothing was changed")
}

fn open_group(errno: Errno, group: Option<u32>, wish: &Wish, facts: Facts<'_>) -> Cause {
    let path = format!("/dev/vfio/{}", group.unwrap_or_default());
    match errno {
        Errno::ENOENT if wish.targets.iter().all(|target| target.node.is_some()) => cause(
            format!("there is no {path}: this kernel has nodes for devices only (no CONFIG_VFIO_GROUP)"),
            format!("cede prove {} --depth {} --interface iommufd", addresses(wish), wish.depth.name()),
        ),
        Errno::ENOENT => cause(
            format!("there is no {path}: no function of the group is on a VFIO driver any more, or /dev is not the host's"),
            "cede devices",
        ),
        Errno::EACCES => permission(&path, "SUBSYSTEM==\"vfio\"", wish, facts),
        Errno::EBUSY => in_use(&path, group, wish, facts),
        Errno::EPERM => {
            cause(format!("{path} may not be opened: the group isolates nothing (no-IOMMU mode), or you may not"), "cede check")
        }
        other => unknown(other),
    }
}

/// The members that somebody else drives, named.
fn foreign(group: u32, facts: Facts<'_>) -> Option<Cause> {
    let members = facts.foreign(group);
    let named: Vec<String> =
        members.iter().map(|device| format!("{} ({})", device.address, device.driver_name().unwrap_or_default())).collect();
    let first = members.first()?.address;
    let stays = members.iter().any(|device| crate::group_choice::stays(device));
    let why = format!("group {group} is not viable: {} is in it and not on vfio-pci", named.join(", "));
    let remedy = if stays { format!("cede explain {first}") } else { format!("sudo cede bind {first}") };
    Some(cause(why, remedy))
}

/// Since 6.6 the core refuses to take the group over (drivers/iommu/iommu.c `__iommu_device_set_domain`).
fn one_to_one(group: u32, facts: Facts<'_>) -> Option<Cause> {
    let range = facts.direct(group)?;
    Some(cause(
        format!("firmware wants {range} mapped one to one for group {group}, and VFIO cannot do that"),
        "look for `Pre-boot DMA protection` (AM5 boards) or shared memory of a management controller (HP) in the firmware's setup and switch it off; leave the IOMMU on",
    ))
}

fn set_container(errno: Errno, group: Option<u32>, facts: Facts<'_>) -> Cause {
    let id = group.unwrap_or_default();
    match errno {
        Errno::EPERM | Errno::EBUSY | Errno::EINVAL if !facts.foreign(id).is_empty() => {
            foreign(id, facts).unwrap_or_else(|| unknown(errno))
        }
        Errno::EINVAL => one_to_one(id, facts).unwrap_or_else(|| unknown(errno)),
        Errno::EPERM => cause(
            format!("group {id} is not viable: a driver has one of its functions, though none is seen now"),
            format!("cede groups; `ls -l /sys/kernel/iommu_groups/{id}/devices/*/driver`"),
        ),
        Errno::EBUSY => {
            cause(format!("group {id} is attached to another owner (iommufd, another container)"), "shut that guest down first")
        }
        other => unknown(other),
    }
}

fn no_remapping(module: &str) -> Cause {
    cause(
        "interrupts are not remapped, so a guest could send any interrupt to the host; VFIO refuses that",
        format!(
            "take `intremap=off` and `nointremap` off the kernel's command line, and switch VT-d (or AMD's IOMMU) fully on in the firmware's setup; where guests are trusted, `echo 1 | sudo tee /sys/module/{module}/parameters/allow_unsafe_interrupts` accepts it"
        ),
    )
}

fn set_iommu(errno: Errno, group: Option<u32>, facts: Facts<'_>) -> Cause {
    let id = group.unwrap_or_default();
    match errno {
        // Up to 6.5 the Intel driver says EPERM here for a 1:1 mapping too (drivers/iommu/intel/iommu.c `device_is_rmrr_locked`).
        Errno::EPERM | Errno::EINVAL if facts.direct(id).is_some() => one_to_one(id, facts).unwrap_or_else(|| unknown(errno)),
        Errno::EPERM if facts.around.remapping() == Some(true) => unknown(errno),
        Errno::EPERM => no_remapping("vfio_iommu_type1"),
        Errno::ENODEV => cause("the backend for this IOMMU is not loaded", "sudo modprobe vfio_iommu_type1"),
        Errno::EINVAL => cause(
            format!("group {id} is not in the container, or its IOMMU cannot be used like this"),
            format!("cede explain {}", first(facts, id)),
        ),
        Errno::ENOMEM => cause("the kernel has no memory for the page tables", "free memory, and run it again"),
        other => unknown(other),
    }
}

/// As the kernel names it.
fn place(subject: &Subject) -> String {
    subject.address().map(|address| address.to_string()).unwrap_or_default()
}

fn first(facts: Facts<'_>, group: u32) -> String {
    let found: Option<PciAddress> = facts.host.devices.iter().find(|device| device.iommu_group == Some(group)).map(|device| device.address);
    found.map(|address| address.to_string()).unwrap_or_default()
}

fn iommufd(errno: Errno, wish: &Wish, facts: Facts<'_>) -> Cause {
    match errno {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => cause(
            "iommufd is not loaded, or this kernel is without it (CONFIG_IOMMUFD)",
            "`sudo modprobe iommufd`, or `--interface container`",
        ),
        Errno::EACCES | Errno::EPERM => permission("/dev/iommu", "SUBSYSTEM==\"misc\", KERNEL==\"iommu\"", wish, facts),
        other => unknown(other),
    }
}

fn node(errno: Errno, subject: &Subject, wish: &Wish, facts: Facts<'_>) -> Cause {
    let path = target(subject, wish).and_then(|target| target.node.clone()).unwrap_or_default();
    match errno {
        Errno::ENOENT => {
            cause(format!("there is no {path}: udev did not make it, or the driver has gone"), "sudo udevadm settle; cede devices")
        }
        Errno::EACCES => permission(&path, "SUBSYSTEM==\"vfio-dev\"", wish, facts),
        other => unknown(other),
    }
}

/// drivers/iommu/iommufd/device.c `iommufd_device_bind`, drivers/vfio/vfio_main.c `vfio_df_open`, drivers/iommu/iommu.c
/// `iommu_device_claim_dma_owner`.
fn bind(errno: Errno, group: Option<u32>, subject: &Subject, wish: &Wish, facts: Facts<'_>) -> Cause {
    let id = group.unwrap_or_default();
    let is_held = || !holders(group, wish, facts).is_empty();
    let in_use = || in_use(&place(subject), group, wish, facts);
    match errno {
        Errno::EPERM if !facts.foreign(id).is_empty() => foreign(id, facts).unwrap_or_else(|| unknown(errno)),
        Errno::EPERM | Errno::EINVAL if facts.direct(id).is_some() => one_to_one(id, facts).unwrap_or_else(|| unknown(errno)),
        Errno::EBUSY => in_use(),
        Errno::EPERM | Errno::EINVAL if is_held() => in_use(),
        Errno::EPERM if facts.around.remapping() != Some(true) => no_remapping("iommufd"),
        Errno::EPERM => in_use(),
        Errno::EINVAL => cause(
            "somebody has the device open, or its IOMMU leaves DMA out of the caches' protocol, which iommufd does not take",
            format!("cede prove {} --depth {} --interface container", addresses(wish), wish.depth.name()),
        ),
        Errno::ETIMEDOUT | Errno::EIO | Errno::EAGAIN => dead(errno, subject),
        other => unknown(other),
    }
}

fn attach(errno: Errno, group: Option<u32>, facts: Facts<'_>) -> Cause {
    let id = group.unwrap_or_default();
    match errno {
        Errno::EINVAL | Errno::EPERM if facts.direct(id).is_some() => one_to_one(id, facts).unwrap_or_else(|| unknown(errno)),
        Errno::EPERM if facts.around.remapping() != Some(true) => no_remapping("iommufd"),
        other => unknown(other),
    }
}

fn no_qemu(errno: Errno, facts: Facts<'_>) -> Cause {
    match errno {
        Errno::EOPNOTSUPP => cause(
            "the guest of this proof has SeaBIOS, which is for x86 processors",
            "start a guest of yours with the text of `cede handoff ADDR --to qemu`",
        ),
        _ => cause("there is no qemu-system-x86_64 on this host", super::guest::installation(facts.host.os.id.as_deref())),
    }
}

fn get_device(errno: Errno, subject: &Subject) -> Cause {
    match errno {
        Errno::ENODEV => cause(format!("{subject} is not in the group any more, or not on its VFIO driver"), "cede devices"),
        Errno::EBUSY => cause(
            format!("a resource of {subject} is held by the host: most often the framebuffer of the firmware lies in a BAR"),
            "`sudo grep -i -e efifb -e simplefb -e BOOTFB /proc/iomem`; make another display the firmware's first",
        ),
        Errno::EPERM => cause(
            format!(
                "{subject} may not be opened: it is a virtual function whose guest must know a token, or the group is not the container's"
            ),
            "cede devices",
        ),
        other => dead(other, subject),
    }
}

fn dead(errno: Errno, subject: &Subject) -> Cause {
    let at = place(subject);
    match errno {
        Errno::EIO | Errno::ETIMEDOUT | Errno::EAGAIN | Errno::ENXIO | Errno::ENODEV => cause(
            format!("{subject} does not answer: it did not wake up, or an earlier reset has lost it"),
            format!(
                "`sudo dmesg | grep {at} | tail`; `cat /sys/bus/pci/devices/{at}/power_state`; only a restart of the host may bring it back"
            ),
        ),
        other => unknown(other),
    }
}

fn map(errno: Errno, facts: Facts<'_>) -> Cause {
    match (errno, facts.around.memlock) {
        (Errno::ENOMEM, Some(limit)) => cause(
            format!("memory may not be locked: the limit is {}, and VFIO locks all memory of a guest", super::compare::bytes(limit)),
            "`ulimit -l` shows it; /etc/security/limits.d, or LimitMEMLOCK= of a unit, raises it (libvirt does so by itself)",
        ),
        (Errno::ENOMEM, None) => cause("there is no memory that could be locked", "free memory, and run it again"),
        (Errno::EINVAL, _) => cause("the IOMMU cannot map that address or page size", "cat /sys/kernel/iommu_groups/*/reserved_regions"),
        (other, _) => unknown(other),
    }
}

fn reset(errno: Errno, subject: &Subject) -> Cause {
    let at = place(subject);
    match errno {
        Errno::EINVAL | Errno::ENOTTY => cause(
            format!("{subject} cannot be reset alone: each guest gets it as the one before left it"),
            format!("cat /sys/bus/pci/devices/{at}/reset_method"),
        ),
        Errno::EAGAIN => cause(format!("{subject} is locked by something else that the kernel does to it"), "run it again"),
        other => dead(other, subject),
    }
}
