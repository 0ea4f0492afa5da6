//! GRUB's environment block: a file of fixed size with `name=value` lines, filled up with `#` (GRUB 2.06 `grub-core/lib/envblk.c`).

/// The first line; without it GRUB takes the file for damaged.
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// The size that grub-editenv makes (util/grub-editenv.c `DEFAULT_ENVBLK_SIZE`); GRUB cannot change it.
pub const SIZE: usize = 1024;

/// Why a block cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvBlockError {
    /// The signature is missing.
    #[error("it is no environment block of GRUB")]
    NoBlock,
    /// No room is left.
    #[error("it is full")]
    Full,
}

/// An empty block.
pub fn empty() -> Vec<u8> {
    let mut block = SIGNATURE.to_vec();
    block.resize(SIZE, b'#');
    block
}

/// The value of a variable; `None` where it is not set or empty, which is the same to GRUB's `[ "${name}" ]`.
pub fn get<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let range = line_of(block, name)?;
    let value = block.get(range)?.strip_suffix(b"\n")?.get(name.len() + 1..)?;
    (!value.is_empty()).then_some(value)
}

/// The block with the variable set; the length stays.
///
/// # Errors
/// See [`EnvBlockError`].
pub fn set(block: &[u8], name: &str, value: &str) -> Result<Vec<u8>, EnvBlockError> {
    let mut out = unset(block, name)?;
    let end = out.iter().rposition(|byte| *byte != b'#').map_or(0, |at| at + 1);
    let line = format!("{name}={value}\n");
    let room = out.get_mut(end..end + line.len()).ok_or(EnvBlockError::Full)?;
    room.copy_from_slice(line.as_bytes());
    Ok(out)
}

/// The block without the variable; the length stays.
///
/// # Errors
/// [`EnvBlockError::NoBlock`].
pub fn unset(block: &[u8], name: &str) -> Result<Vec<u8>, EnvBlockError> {
    if !block.starts_with(SIGNATURE) {
        return Err(EnvBlockError::NoBlock);
    }
    let mut out = block.to_vec();
    if let Some(range) = line_of(block, name) {
        out.drain(range);
        out.resize(block.len(), b'#');
    }
    Ok(out)
}

/// The line that sets the variable, with its end. In values a line break has a backslash before it.
fn line_of(block: &[u8], name: &str) -> Option<std::ops::Range<usize>> {
    let prefix = format!("{name}=");
    let mut start = 0;
    for (at, byte) in block.iter().enumerate() {
        let is_escaped = at.checked_sub(1).and_then(|before| block.get(before)) == Some(&b'\\');
        if *byte == b'\n' && !is_escaped {
            if block.get(start..at).is_some_and(|line| line.starts_with(prefix.as_bytes())) {
                return Some(start..at + 1);
            }
            start = at + 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_comes_and_goes_and_the_size_stays() {
        let warning = [SIGNATURE, b"# WARNING: Do not edit\nsaved_entry=a\\\nb\n"].concat();
        let mut with_others = warning.clone();
        with_others.resize(SIZE, b'#');
        for block in [empty(), with_others] {
            let once = set(&block, "next_entry", "-cede-trial").unwrap();
            assert_eq!((once.len(), get(&once, "next_entry")), (SIZE, Some(b"-cede-trial".as_slice())));
            assert_eq!(set(&once, "next_entry", "-cede-trial").unwrap(), once);
            assert_eq!(unset(&once, "next_entry").unwrap(), block);
            assert_eq!(get(&set(&once, "next_entry", "").unwrap(), "next_entry"), None);
        }
        assert_eq!(get(&warning, "saved_entry"), Some(b"a\\\nb".as_slice()));
    }

    #[test]
    fn damage_and_want_of_room_are_told() {
        assert_eq!(set(b"", "a", "b"), Err(EnvBlockError::NoBlock));
        assert_eq!(set(&[0; 1024], "a", "b"), Err(EnvBlockError::NoBlock));
        assert_eq!(set(SIGNATURE, "a", "b"), Err(EnvBlockError::Full));
        let full = [SIGNATURE, b"x=y\n##"].concat();
        assert_eq!(set(&full, "a", "b"), Err(EnvBlockError::Full));
    }
}
