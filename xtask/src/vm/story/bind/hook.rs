//! A guest's hook, run as libvirt runs it: there is no libvirt in the machine, and the hook calls none.

use super::super::Story;
use super::super::by_cede::{DONE, REFUSED};
use super::DISK;
use crate::vm::Outcome;

const HOOK: &str = "/etc/libvirt/hooks/qemu.d/50-cede-win11";

impl Story {
    /// The guest's start gets the disk, or is refused while it is mounted; its end gives it back; undo leaves nothing.
    pub(super) fn hook(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?;
        let block = self.block_of(&disk)?;
        self.machine.output("mkdir /etc/libvirt")?;
        self.cede(&format!("hook install win11 {} --yes", disk.address), DONE)?;
        self.cede("verify", DONE)?;
        let refused = self.machine.run(&format!("mount /dev/{block} /run/data; {HOOK} win11 prepare begin -"))?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        if refused.status != REFUSED || !said.contains(&format!("nvme → {block} → /run/data")) || !refused.stdout.is_empty() {
            return Err(format!("the start of the guest was not refused: {} {said}", refused.status));
        }
        self.machine.output(&format!("set -e; umount /run/data; {HOOK} other prepare begin - </dev/null"))?;
        if self.one(DISK)? != disk {
            return Err("the start of another guest took the disk".to_owned());
        }
        self.machine.output(&format!("set -e; echo '<domain/>' | {HOOK} win11 prepare begin -; {HOOK} win11 started begin -"))?;
        self.is_on_vfio(&disk.address)?;
        self.machine.output(&format!("set -e; {HOOK} win11 stopped end -; {HOOK} win11 release end -"))?;
        if self.one(DISK)? != disk {
            return Err("the disk did not come back".to_owned());
        }
        let told = self.machine.output("journalctl -q -t cede-hook -o cat | grep -E 'bound|released' | tail -2")?;
        self.cede("undo --yes", DONE)?;
        self.machine.output("rmdir /etc/libvirt")?;
        Ok(told.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}
