bind 0000:01:00.0
bind 0000:02:00.0
node=/dev/vfio/devices/$(basename /sys/bus/pci/devices/0000:01:00.0/vfio-dev/*)
group=/dev/vfio/$(basename "$(readlink /sys/bus/pci/devices/0000:01:00.0/iommu_group)")
# Through nodes nothing is attached without being opened, and that is said.
try nodes cede prove 01:00.0 --interface iommufd
try attach-json cede prove 01:00.0 --json
try bound cede prove 01:00.0 02:00.0 --depth open
try bound-json cede prove 01:00.0 02:00.0 --depth open --json
try container cede prove 01:00.0 --depth open --interface container
try nobody su nobody -c 'cede prove 01:00.0 --depth open'
chown nobody /dev/iommu
try nobody-with-iommu su nobody -c 'cede prove 01:00.0 --depth open'
chown nobody "$node"
try nobody-with-node su nobody -c 'cede prove 01:00.0 --depth open'
sleep 300 <"$group" &
try busy cede prove 01:00.0 --depth open
kill $!
try guest cede prove 01:00.0 02:00.0 --depth guest --seconds 300
try log sh -c 'ls -l /dev/iommu /dev/vfio /dev/vfio/devices; dmesg | tail -n 40'
