modprobe vfio_iommu_type1
bind 0000:01:00.0
try unsafe cede prove 01:00.0
try unsafe-json cede prove 01:00.0 --depth open --json
echo Y >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
try accepted cede prove 01:00.0 --depth open
