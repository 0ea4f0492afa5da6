# libvirtd as it is set up by Debian, but for what this machine has not: polkit, virtlogd, and cgroups.
mkdir -p /run /var/lib /var/log/libvirt /var/cache /etc/libvirt /root /mnt
ln -s /run /var/run
echo 'libvirt-qemu:x:64055:106::/var/lib/libvirt:/bin/false' >>/etc/passwd
printf 'root:x:0:\nkvm:x:106:\nlibvirt-qemu:x:64055:\n' >/etc/group
echo 'auth_unix_rw = "none"' >/etc/libvirt/libvirtd.conf
echo 'stdio_handler = "file"' >/etc/libvirt/qemu.conf
# The other drivers need libraries that are not here.
find /usr/lib/x86_64-linux-gnu/libvirt -name '*.so' ! -name libvirt_driver_qemu.so -exec rm {} +
modprobe vfio_iommu_type1

# Whatever libvirt warns of is no part of a domain.
mv /usr/bin/virsh /usr/bin/virsh-itself
printf '#!/bin/sh\necho "warning: <devices>" >&2\nexec /usr/bin/virsh-itself "$@"\n' >/usr/bin/virsh
chmod 755 /usr/bin/virsh

D=0000:01:00.0
driver() { basename "$(readlink "/sys/bus/pci/devices/$D/driver")"; }

# Waits for a command to succeed, and says at last why it does not.
wait_for() {
    for second in $(seq 300); do "$@" >/tmp/waited 2>&1 && break; sleep 1; done
    cat /tmp/waited
    test "$second" -lt 300
}

listens() { virsh-itself list; }
libvirtd() {
    test ! -e /run/libvirtd.pid || kill "$(cat /run/libvirtd.pid)"
    wait_for test ! -e /run/libvirtd.pid && /usr/sbin/libvirtd -d && wait_for listens
}

# What a guest's firmware has found, and what its process has open.
sees() { virsh-itself qemu-monitor-command "$1" --hmp 'info pci' | grep -B2 -A3 1b36:0010; }
has() { ls -l "/proc/$(pidof qemu-system-x86_64)/fd" | grep -o '/dev/vfio/.*'; }

# The disk is the host's again, and what is on it is whole.
mounts() {
    disk=$(ls "/sys/bus/pci/devices/$D/nvme/"*/ | grep -m1 -E '^nvme[0-9]+n[0-9]+$')
    mount -t ext4 "/dev/$disk" /mnt && cat /mnt/file && umount /mnt
}
back() { wait_for mounts && driver; }

define() {
    cat >"/tmp/$1.xml" <<END
<domain type='qemu'>
  <name>$1</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
END
    virsh define --validate "/tmp/$1.xml"
}

try libvirtd libvirtd
try whole back
for guest in given managed hooked; do try "define-$guest" define "$guest"; done

# Left to libvirt.
try attach-managed cede handoff "$D" --to libvirt --domain managed --attach --yes
try managed virsh-itself dumpxml --inactive managed
try start-managed virsh-itself start managed
try taken driver
try seen-managed wait_for sees managed
try destroy-managed virsh-itself destroy managed
try returned back

# Ceded first, and given by hand.
try bind cede bind "$D" --yes
try attach cede handoff "$D" --to libvirt --domain given --attach --yes
try given virsh-itself dumpxml --inactive given
try start virsh-itself start given
try seen wait_for sees given
try in-use cede release "$D" --yes
try process has
try destroy virsh-itself destroy given
try left driver
try release cede release "$D" --yes
try released back

# libvirtd takes a device for the one that a guest had with managed='no', and leaves it, until it is started anew.
try said-again cede handoff "$D" --to libvirt
virsh-itself start managed >/tmp/out 2>&1
try destroy-again virsh-itself destroy managed
try not-returned driver
cede release "$D" --yes >/tmp/out 2>&1
try libvirtd-anew libvirtd
virsh-itself start managed >/tmp/out 2>&1
try destroy-anew virsh-itself destroy managed
try returned-anew back

# Left to the hook, which libvirtd runs.
cede bind "$D" --yes >/tmp/out 2>&1
try attach-hooked cede handoff "$D" --to libvirt --domain hooked --attach --yes
cede release "$D" --yes >/tmp/out 2>&1
wait_for mounts
try hook cede hook install hooked --yes
try libvirtd-again libvirtd
mount -t ext4 "/dev/$disk" /mnt
try mounted virsh-itself start hooked
try still-mounted cat /mnt/file
umount /mnt
try start-hooked virsh-itself start hooked
try bound-by-hook driver
try seen-hooked wait_for sees hooked
try destroy-hooked virsh-itself destroy hooked
try released-by-hook back
try undo cede undo --yes
try log sh -c 'cede log; tail -n 40 /var/log/libvirt/qemu/*.log; dmesg | tail -n 20'
