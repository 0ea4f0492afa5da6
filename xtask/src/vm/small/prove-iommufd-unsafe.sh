bind 0000:01:00.0
try unsafe-json cede prove 01:00.0 --depth open --json
try unsafe cede prove 01:00.0 --depth open
echo Y >/sys/module/iommufd/parameters/allow_unsafe_interrupts
try accepted cede prove 01:00.0 --depth open
