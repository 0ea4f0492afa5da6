#!/bin/bash
# Process 1 of the only boot that does not go through the firmware: puts systemd-boot and an entry
# on the EFI system partition, as Debian's package does on a machine with UEFI.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -o remount,rw /
mount -t tmpfs tmpfs /tmp
ln -sf /proc/self/mounts /etc/mtab
modprobe vfat
mount -o umask=0077 /dev/vda1 /boot/efi
# The partition's type is known to udev alone, which does not run.
export SYSTEMD_RELAX_ESP_CHECKS=1
release=$(uname -r)
bootctl install --esp-path=/boot/efi --no-variables --make-machine-id-directory=yes &&
    echo 'timeout 1' >/boot/efi/loader/loader.conf &&
    kernel-install add "$release" "/boot/vmlinuz-$release" &&
    grep -q "$1" /boot/efi/loader/entries/*.conf && echo PREPARED
umount /boot/efi /tmp
sync
mount -o remount,ro /
echo o >/proc/sysrq-trigger
sleep 60
