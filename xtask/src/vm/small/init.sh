#!/bin/busybox sh
# The whole user space of a small machine: mounts, modules, a script, power off.
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
# What udev does for the container (50-udev-default.rules of systemd).
modprobe vfio-pci
test -c /dev/vfio/vfio && chmod 0666 /dev/vfio/vfio
for module in nvme e1000e; do modprobe "$module"; done
sleep 1

# What a command says, and its exit code, between marks that the harness looks for.
try() {
    name=$1
    shift
    echo "@@BEGIN $name"
    "$@" >/tmp/out 2>&1
    code=$?
    cat /tmp/out
    echo
    echo "@@END $name $code"
}

# Gives a function to vfio-pci.
bind() {
    echo vfio-pci >"/sys/bus/pci/devices/$1/driver_override"
    test ! -e "/sys/bus/pci/devices/$1/driver" || echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
    echo "$1" >/sys/bus/pci/drivers_probe
}

. /story.sh
echo "@@OVER"
poweroff -f
