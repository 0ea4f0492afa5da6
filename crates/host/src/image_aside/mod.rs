//! Images made beside those that they are to replace, and put in place one by one. update-initramfs and mkinitcpio rename a new image over the old
//! one themselves, before the system has written it to disk or all that names it: a disk that reorders its writes may have the name before the file
//! that it leads to, and GRUB, or firmware that reads FAT, finds nothing there. What else these tools do is told from their text and settings, or
//! they are run as they are.

mod initramfs_tools;
mod mkinitcpio;

use crate::files::replace_file;
use crate::files::root::Root;
use crate::files::temporary;
use crate::lock;
use crate::machine::{EffectError, ToolEnd};
use cede_plan::initramfs::mkinitcpio::builds::LENT;
use std::ffi::OsString;
use std::path::Path;

/// Longer is no script of a generator, and no settings of one.
const TEXT_LIMIT: usize = 1 << 18;

/// One image that a generator makes under another name.
pub(crate) struct Image {
    place: String,
    name: OsString,
    argv: Vec<String>,
    lent: Option<Lent>,
    /// What is run once the image is in place; empty for nothing.
    then: Vec<String>,
}

/// A file of ours for the generator to read.
struct Lent {
    path: String,
    text: String,
    /// The host's file in the place of which it is.
    of: String,
}

/// The images that a run of a tool comes to; none where it is run as it is.
pub(crate) fn images(root: &Root, argv: &[String]) -> Vec<Image> {
    let known = if argv == initramfs_tools::UPDATE_ALL {
        initramfs_tools::images(root)
    } else if argv == mkinitcpio::ALL_PRESETS {
        mkinitcpio::images(root)
    } else {
        None
    };
    known.unwrap_or_default()
}

/// Makes images and puts each in place, up to the first that fails. Those before it stay, as they do where the tool is run as it is; what the tool
/// would have made after it is left out.
///
/// # Errors
/// A tool cannot be started, or an image not be put in place.
pub(crate) fn make(root: &Root, images: &[Image], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
    let mut end = ToolEnd { success: true, status: String::new(), output: String::new() };
    for image in images {
        end = image.make(root, line)?;
        if !end.success {
            break;
        }
    }
    Ok(end)
}

impl Image {
    fn make(&self, root: &Root, line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        let made = self.generate(root, line).and_then(|end| {
            if end.success {
                self.put(root)?;
            }
            Ok(end)
        });
        if !matches!(&made, Ok(end) if end.success) {
            temporary::sweep(root, Path::new(&self.place));
            return made;
        }
        line(&format!("{} is in place and on disk", self.place));
        if self.then.is_empty() {
            return made;
        }
        line(&self.then.join(" "));
        root.run_tool(&self.then, line)
    }

    fn generate(&self, root: &Root, line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        line(&self.argv.join(" "));
        let Some(Lent { path, text, of }) = &self.lent else { return root.run_tool(&self.argv, line) };
        lend(root, path, text)?;
        // What the tool says of the file is meant for the host's own, which is there to be looked at.
        let end = root.run_tool(&self.argv, &mut |said| line(&said.replace(path, of)));
        // One that stays behind is swept by the next run.
        let _ = replace_file::remove_file(root, path, text.as_bytes());
        end
    }

    fn put(&self, root: &Root) -> Result<(), EffectError> {
        let made = Path::new(&self.place).with_file_name(&self.name);
        if root.symlink_metadata(&made).is_err_and(|error| error.is_not_found()) {
            let why = format!("it ended as if all went well, and made no {}: run it by hand and look at what it says", self.place);
            return Err(EffectError::Tool { tool: self.argv.first().cloned().unwrap_or_default(), why });
        }
        replace_file::put_in_place(root, &self.place, &self.name).map_err(EffectError::from)
    }
}

/// Writes a private file of ours, also over one that a killed run left.
fn lend(root: &Root, path: &str, text: &str) -> Result<(), EffectError> {
    lock::make_private(root, Path::new(LENT))?;
    let left = root.read(path, TEXT_LIMIT).ok();
    replace_file::replace_file(root, path, left.as_deref(), text.as_bytes(), 0o600).map(|_| ()).map_err(EffectError::from)
}

/// A temporary name for the successor of an image, and its path.
fn beside(place: &str) -> Option<(OsString, String)> {
    let name = temporary::fresh_name(place.as_ref());
    let path = Path::new(place).with_file_name(&name).to_str()?.to_owned();
    Some((name, path))
}

/// Whether nothing is in a directory, or it is not there; `None` where that cannot be told.
fn is_empty(root: &Root, directory: &str) -> Option<bool> {
    match root.read_dir(directory) {
        Ok(entries) => Some(entries.is_empty()),
        Err(error) if error.is_not_found() => Some(true),
        Err(_) => None,
    }
}
