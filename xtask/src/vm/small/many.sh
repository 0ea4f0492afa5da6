# dpdk-devbind.py knows classes of devices, and disks are none of them: here they are.
sed -i "s/^network_devices = \[/&{'Class': '01', 'Vendor': None, 'Device': None, 'SVendor': None, 'SDevice': None}, /" /usr/bin/dpdk-devbind.py
# 256 virtual functions without a driver become vfio-pci's: by a loop of the shell, by cede, dpdk-devbind.py and driverctl, in turn.
export PYTHONHOME=/usr PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu
mkdir -p /var/lib /run /etc
all() { ls -d /sys/bus/pci/devices/*/physfn | cut -d/ -f6; }
bound() { ls /sys/bus/pci/drivers/vfio-pci | grep -c '^0000:'; }
reset() {
    for one in $V; do
        [ ! -e "/sys/bus/pci/devices/$one/driver" ] || echo "$one" >/sys/bus/pci/drivers/vfio-pci/unbind
        echo >"/sys/bus/pci/devices/$one/driver_override"
    done
}
now() { read -r up _ </proc/uptime; echo "$up" | tr -d .; }
# Says how many milliseconds a command took, or what it said where it failed.
timed() {
    expected=$1
    shift
    before=$(now)
    "$@" >/tmp/said 2>&1 || { tail -n 20 /tmp/said; return 1; }
    after=$(now)
    found=$(bound)
    [ "$found" = "$expected" ] || { echo "$found are bound, not $expected"; tail -n 20 /tmp/said; return 1; }
    echo "$(((after - before) * 10)) ms"
}
make() { for one in $P; do cede bind "$one" --timeout 600 --vfs "$(cat "/sys/bus/pci/devices/$one/sriov_totalvfs")" --yes || return 1; done; }
loop() { for one in $V; do echo vfio-pci >"/sys/bus/pci/devices/$one/driver_override"; echo "$one" >/sys/bus/pci/drivers/vfio-pci/bind; done; }
dpdk() { python3.11 -S /usr/bin/dpdk-devbind.py -b vfio-pci $V; }
one_by_one() { for one in $V; do /bin/bash /usr/sbin/driverctl --nosave set-override "$one" vfio-pci || return 1; done; }

P=$(for one in /sys/bus/pci/devices/*/sriov_totalvfs; do basename "$(dirname "$one")"; done)
try make timed 256 make
V=$(all)
try release timed 0 cede release $V --yes
for round in 1 2 3; do
    reset
    try "loop-$round" timed 256 loop
    reset
    try "cede-$round" timed 256 cede bind $V --yes
    try "cede-release-$round" timed 0 cede release $V --yes
    try "dpdk-devbind-$round" timed 256 dpdk
    reset
    try "driverctl-$round" timed 256 one_by_one
done
try over cede status
