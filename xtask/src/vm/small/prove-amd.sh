bind 0000:01:00.0
bind 0000:02:00.0
modprobe vfio_iommu_type1
try amd cede prove 01:00.0 02:00.0 --depth guest --seconds 300
