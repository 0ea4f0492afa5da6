//! A control: what `cede` should come to, done by a shell script. It shows that the machine can
//! do it, and that the assertions hold without `cede`.

use super::recipe::Vendor;

/// Switches the IOMMU on and gives both functions to `vfio-pci` from the initramfs on.
pub(super) fn apply(vendor: Vendor) -> String {
    let left_over = vendor.left_over();
    let on = match vendor {
        Vendor::Intel => " intel_iommu=on",
        Vendor::Amd => "",
    };
    format!(
        "# apply by hand
set -e
mkdir /root/before
cp -a /etc/default/grub /etc/initramfs-tools/modules /root/before
sed -i 's/ {left_over}/{on}/' /etc/default/grub
echo vfio-pci >>/etc/initramfs-tools/modules
cat >/etc/modprobe.d/vfio.conf <<end
softdep bochs pre: vfio-pci
softdep snd_hda_intel pre: vfio-pci
options vfio-pci ids=1234:1111,8086:293e
end
{REGENERATE}"
    )
}

/// Puts the former files back.
pub(super) fn undo() -> String {
    format!(
        "# undo by hand
set -e
cp -a /root/before/grub /etc/default/grub
cp -a /root/before/modules /etc/initramfs-tools/modules
rm /etc/modprobe.d/vfio.conf
{REGENERATE}"
    )
}

const REGENERATE: &str = "a=$SECONDS
update-initramfs -u -k all
b=$SECONDS
update-grub
echo update-initramfs: $((b - a)) s, update-grub: $((SECONDS - b)) s
";
