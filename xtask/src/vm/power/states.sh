#!/bin/bash
# Looks at the disk that a cut leaves, without a start of it. Changes the disk. Wants a mount namespace of its own: what another
# process took along in its own would keep the file systems busy.
# disk, start and size of the root partition, start and size of the EFI system partition or two empty words, a place to work in, cede
set -eu -o pipefail
disk=$1 root=$2 size=$3 esp=$4 esp_size=$5 work=$6 cede=$7
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin MTOOLS_SKIP_CHECK=1
umask 077
rm -rf "$work/fat" && mkdir -p "$work/root" "$work/fat"
loops=()
clear_up() {
    umount -R "$work/root" 2>/dev/null || true
    for loop in "${loops[@]}"; do losetup -d "$loop"; done
}
trap clear_up EXIT
digests() { (cd "$1" && find . -type f -print0 | xargs -0 -r b2sum) || true; }

# As the boot loader sees it: no journal is replayed, no FAT mended.
echo '== loader'
root=$(losetup --find --show --offset "$root" --sizelimit "$size" "$disk") && loops+=("$root")
if [ -z "$esp" ]; then
    mount -o ro,noload "$root" "$work/root"
    digests "$work/root/boot"
    umount "$work/root"
else
    esp=$(losetup --find --show --offset "$esp" --sizelimit "$esp_size" "$disk") && loops+=("$esp")
    # One by one: what was being written may lead nowhere yet, and the loader does not open it.
    mdir -/ -b -i "$esp" ::/ | while read -r path; do
        case $path in
        */) mkdir -p "$work/fat/${path#::/}" ;;
        *) mcopy -Q -n -i "$esp" "$path" "$work/fat/${path#::/}" || true ;;
        esac
    done
    digests "$work/fat"
fi

# As the system sees it after its start: the file systems checked as Debian does, and mounted.
echo '== recover'
e2fsck -p "$root" >&2 || [ $? -le 1 ]
mount "$root" "$work/root"
if [ -n "$esp" ]; then
    fsck.fat -a "$esp" >&2 || [ $? -le 1 ]
    rm -rf "$work/fat" && mkdir "$work/fat"
    mcopy -s -Q -n -i "$esp" '::*' "$work/fat"
    mount --bind "$work/fat" "$work/root/boot/efi"
fi
"$cede" recover --root "$work/root"
echo '== system'
(cd "$work/root" && find etc boot -printf '%y %m %U:%G %p %l\n' && find etc boot -type f -print0 | xargs -0 b2sum)
