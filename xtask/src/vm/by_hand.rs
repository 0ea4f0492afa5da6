//! A control: what `cede` should come to, done by a shell script. It shows that the machine can
//! do it, and that the assertions hold without `cede`.

use super::recipe::{Loader, Model};

/// Switches the IOMMU on and gives both functions to `vfio-pci` from the initramfs on.
pub(super) fn apply(model: Model) -> String {
    let left_over = model.left_over();
    let on = match model {
        Model::Intel | Model::Efi => " intel_iommu=on",
        Model::Amd => "",
    };
    let (source, regenerate) = (source(model), regenerate(model));
    format!(
        "# apply by hand
set -e
mkdir /root/before
cp -a {source} /root/before/source
cp -a /etc/initramfs-tools/modules /root/before
sed -i 's/ {left_over}/{on}/' {source}
echo vfio-pci >>/etc/initramfs-tools/modules
cat >/etc/modprobe.d/vfio.conf <<end
softdep bochs pre: vfio-pci
softdep snd_hda_intel pre: vfio-pci
options vfio-pci ids=1234:1111,8086:293e
end
{regenerate}"
    )
}

/// Where the owner of the machine sets the command line.
fn source(model: Model) -> &'static str {
    match model.loader() {
        Loader::Grub => "/etc/default/grub",
        Loader::SystemdBoot => "/etc/kernel/cmdline",
    }
}

/// Puts the former files back.
pub(super) fn undo(model: Model) -> String {
    let (source, regenerate) = (source(model), regenerate(model));
    format!(
        "# undo by hand
set -e
cp -a /root/before/source {source}
cp -a /root/before/modules /etc/initramfs-tools/modules
rm /etc/modprobe.d/vfio.conf
{regenerate}"
    )
}

/// A hook of Debian's update-initramfs makes the entries of systemd-boot anew.
fn regenerate(model: Model) -> String {
    let menu = match model.loader() {
        Loader::Grub => "update-grub",
        Loader::SystemdBoot => "true",
    };
    format!(
        "a=$SECONDS
update-initramfs -u -k all
b=$SECONDS
{menu}
echo update-initramfs: $((b - a)) s, {menu}: $((SECONDS - b)) s
"
    )
}
