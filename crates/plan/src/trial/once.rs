//! The choice of an entry for one start: `next_entry` in GRUB's environment block, the EFI variable `LoaderEntryOneShot` of systemd-boot. Both
//! loaders take the choice away before they start what it names, so whatever becomes of that start, the next one is the default again.

use super::{ENTRY, ENTRY_FILE, env_block};
use crate::plan::{Refusal, Step};
use cede_model::{Entry, Host};

/// Where GRUB has its files.
pub const GRUB: &str = "/boot/grub";

/// GRUB's environment block.
pub const ENV_BLOCK: &str = "/boot/grub/grubenv";

/// The variable in it (util/grub-reboot.in; util/grub.d/00_header.in reads and clears it).
const NEXT_ENTRY: &str = "next_entry";

/// Names another block, in which the menu clears the choice (GRUB 2.14 util/grub.d/00_header.in).
const ELSEWHERE: &str = "env_block";

/// The variable of systemd-boot (systemd: Boot Loader Interface). The file has four bytes of attributes before the value (Linux
/// Documentation/filesystems/efivarfs.rst).
pub const ONE_SHOT: &str = "/sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Non-volatile, for boot services and the system (UEFI 2.10, 8.2 `GetVariable`).
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];

/// True for a path whose content a boot loader takes away by itself.
pub fn is_choice(path: &str) -> bool {
    path == ENV_BLOCK || path == ONE_SHOT
}

/// The step that makes GRUB start our entry once.
///
/// # Errors
/// The block is damaged or full, or names another entry.
pub fn by_grub(host: &Host) -> Result<Step, Refusal> {
    let cannot = |why: String| Refusal::new("trial-not-once", format!("{ENV_BLOCK}: {why}; `grub-editenv - list` shows it"));
    if let Some(why) = crate::unread::trouble(&host.capture, ENV_BLOCK) {
        return Err(cannot(why));
    }
    let before = host.capture.file(ENV_BLOCK).map(<[u8]>::to_vec);
    let block = before.clone().filter(|block| !block.is_empty()).unwrap_or_else(env_block::empty);
    if block.len() != env_block::SIZE {
        return Err(cannot(format!("it has {} bytes, not {} as `grub-editenv {ENV_BLOCK} create` makes it", block.len(), env_block::SIZE)));
    }
    if let Some(other) = env_block::get(&block, ELSEWHERE) {
        return Err(cannot(format!("GRUB takes the choice away in {}, not in this file", String::from_utf8_lossy(other))));
    }
    if let Some(other) = env_block::get(&block, NEXT_ENTRY) {
        return Err(cannot(format!("another entry is chosen for the next start already (`{}`)", String::from_utf8_lossy(other))));
    }
    let after = env_block::set(&block, NEXT_ENTRY, ENTRY).map_err(|error| cannot(error.to_string()))?;
    Ok(Step::ReplaceFile { path: ENV_BLOCK.to_owned(), before, after: Some(after) })
}

/// The step that makes systemd-boot start our entry once.
///
/// # Errors
/// Another entry is chosen already.
pub fn by_variable(host: &Host) -> Result<Step, Refusal> {
    match host.capture.get(ONE_SHOT) {
        None | Some(Entry::Absent) => {}
        Some(_) => {
            return Err(Refusal::new(
                "trial-not-once",
                "another entry is chosen for the next start already (EFI variable LoaderEntryOneShot): start it first, or `bootctl set-oneshot \"\"`",
            ));
        }
    }
    Ok(Step::ReplaceFile { path: ONE_SHOT.to_owned(), before: None, after: Some(variable()) })
}

/// The variable's file with our choice.
fn variable() -> Vec<u8> {
    ATTRIBUTES.into_iter().chain(ENTRY_FILE.encode_utf16().chain([0]).flat_map(u16::to_le_bytes)).collect()
}

/// The step that brings a choice back to what it was before, or what the loader left of it: GRUB leaves the variable empty. `now` is what stands
/// at the path; `before` is nothing or another value where we chose, and our choice where we took it away. `None` where nothing is to do, also where
/// someone else has chosen since.
pub fn back(path: &str, now: Option<&[u8]>, before: Option<&[u8]>) -> Option<Step> {
    let after = if path == ENV_BLOCK { block_back(now?, before)? } else { variable_back(now, before)? };
    (after.as_deref() != now).then(|| Step::ReplaceFile { path: path.to_owned(), before: now.map(<[u8]>::to_vec), after })
}

fn block_back(now: &[u8], before: Option<&[u8]>) -> Option<Option<Vec<u8>>> {
    if env_block::get(now, NEXT_ENTRY).is_some_and(|chosen| chosen != ENTRY.as_bytes()) {
        return None;
    }
    let clean = env_block::unset(now, NEXT_ENTRY).ok()?;
    let was = before.filter(|before| env_block::unset(before, NEXT_ENTRY).as_ref() == Ok(&clean)).map(<[u8]>::to_vec);
    Some(if before.is_none() && clean == env_block::empty() { None } else { Some(was.unwrap_or(clean)) })
}

/// A file without a byte is no variable: it was made, and not written any more.
fn variable_back(now: Option<&[u8]>, before: Option<&[u8]>) -> Option<Option<Vec<u8>>> {
    now.is_none_or(|now| now.is_empty() || now == variable()).then(|| before.map(<[u8]>::to_vec))
}

/// True where our choice waits for a start.
pub fn is_ours_still(host: &Host) -> bool {
    let by_grub = host.capture.file(ENV_BLOCK).and_then(|block| env_block::get(block, NEXT_ENTRY)) == Some(ENTRY.as_bytes());
    by_grub || host.capture.file(ONE_SHOT).is_some_and(|value| value == variable())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a [u8], Option<&'a [u8]>, Option<Option<Vec<u8>>>);

    fn after(step: Option<Step>) -> Option<Option<Vec<u8>>> {
        step.map(|step| if let Step::ReplaceFile { after, .. } = step { after } else { None })
    }

    #[test]
    fn what_the_loader_left_goes_and_what_others_chose_stays() {
        let empty = env_block::empty();
        let block = |value: &str| env_block::set(&empty, NEXT_ENTRY, value).unwrap();
        let saved = env_block::set(&block(""), "saved_entry", "x").unwrap();
        let left_empty = block("");
        let cases: [Case<'_>; 7] = [
            (&block(ENTRY), Some(&empty), Some(Some(empty.clone()))),
            (&block(""), Some(&empty), Some(Some(empty.clone()))),
            (&block(ENTRY), Some(&left_empty), Some(Some(left_empty.clone()))),
            (&left_empty, Some(&left_empty), None),
            (&block("other"), Some(&empty), None),
            (&block(ENTRY), None, Some(None)),
            (&saved, Some(&empty), Some(Some(env_block::unset(&saved, NEXT_ENTRY).unwrap()))),
        ];
        for (now, before, expected) in cases {
            assert_eq!(after(back(ENV_BLOCK, Some(now), before)), expected, "{}", String::from_utf8_lossy(now));
        }
        assert_eq!(back(ENV_BLOCK, None, None), None);
        assert_eq!(after(back(ONE_SHOT, Some(&variable()), None)), Some(None));
        assert_eq!(back(ONE_SHOT, Some(b"\x07\0\0\0x\0\0\0"), None), None);
        assert_eq!(back(ONE_SHOT, None, None), None);
        assert_eq!(after(back(ONE_SHOT, Some(b""), None)), Some(None));
        assert_eq!(after(back(ONE_SHOT, None, Some(&variable()))), Some(Some(variable())));
        assert_eq!(back(ONE_SHOT, Some(&variable()), Some(&variable())), None);
    }
}
