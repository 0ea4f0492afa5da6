# A function that the host has is not touched.
try host cede prove 01:00.0 --depth open
bind 0000:01:00.0
bind 0000:02:00.0
bind 0000:03:00.0
# kmod loads it by itself, as a soft dependency of vfio; busybox does not.
try no-backend cede prove 01:00.0
modprobe vfio_iommu_type1
try attach cede prove 01:00.0
try attach-json cede prove 01:00.0 02:00.0 --json
# Attaching opens no device: it is not enabled.
try attached-leaves-it cat /sys/bus/pci/devices/0000:01:00.0/enable
try open cede prove 01:00.0 --depth open
try open-disk-json cede prove 02:00.0 --depth open --json
# Firmware alone takes both, in emulation within emulation.
try guest cede prove 01:00.0 02:00.0 --depth guest --seconds 300
try guest-json cede prove 02:00.0 --depth guest --seconds 300 --json
try no-qemu-left pidof qemu-system-x86_64
try too-slow cede prove 02:00.0 --depth guest --seconds 1
try still-there cede prove 02:00.0 --depth open
mv /usr/bin/qemu-system-x86_64 /elsewhere
try no-qemu cede prove 02:00.0 --depth guest
# Its neighbour in the group is with the host's driver.
try foreign cede prove 03:00.0 --depth open
try nobody su nobody -c 'cede prove 01:00.0'
chown nobody /dev/vfio/[0-9]*
try nobody-with-node su nobody -c 'ulimit -l 8192; cede prove 01:00.0 --depth open'
try nobody-may-not-lock su nobody -c 'ulimit -l 64; cede prove 01:00.0 --depth open'
# Somebody else has the group.
sleep 60 </dev/vfio/$(basename "$(readlink /sys/bus/pci/devices/0000:01:00.0/iommu_group)") &
try busy cede prove 01:00.0
kill $!
try log sh -c 'dmesg | tail -n 60'
