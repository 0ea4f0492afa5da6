#!/bin/bash
# Process 1 of the only boot that does not go through GRUB: puts GRUB on the disk, as the
# installer would, and leaves the disk clean.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -o remount,rw /
mount -t tmpfs tmpfs /tmp
ln -sf /proc/self/mounts /etc/mtab
grub-install --target=i386-pc /dev/vda && update-grub && grep -q "$1" /boot/grub/grub.cfg && echo PREPARED
umount /tmp
sync
mount -o remount,ro /
echo o >/proc/sysrq-trigger
sleep 60
