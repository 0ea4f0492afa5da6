//! mkinitcpio writes an image beside the old one, flushes its data alone and renames it (mkinitcpio 32 to 41 `build_image`: `sync -d`, `mv -f`), and
//! minutes may pass until the next image is done and all are flushed. It takes the path of a preset, so each image is made by a preset of ours that
//! reads the host's own and gives that one image another path.

use super::{Image, Lent, TEXT_LIMIT, beside, is_empty};
use crate::files::file_error::FileKind;
use crate::files::root::Root;
pub(super) use cede_plan::initramfs::mkinitcpio::builds::ALL_PRESETS;
use cede_plan::initramfs::mkinitcpio::builds::{Build, LENT, POST_HOOKS, builds};
use cede_plan::initramfs::mkinitcpio::{PRESETS, is_preset};
use std::path::Path;

/// The images of all presets; `None` where mkinitcpio may do more than to make them.
pub(super) fn images(root: &Root) -> Option<Vec<Image>> {
    let [tool, _] = ALL_PRESETS;
    let script = root.read(tool, TEXT_LIMIT).ok()?;
    if !POST_HOOKS.iter().all(|directory| is_empty(root, directory) == Some(true)) {
        return None;
    }
    builds(&script, &presets(root)?)?.iter().map(|build| image(root, build)).collect()
}

/// In the order of their names, as bash lists them.
fn presets(root: &Root) -> Option<Vec<(String, Vec<u8>)>> {
    let mut presets = Vec::new();
    for entry in root.read_dir(PRESETS).ok()?.into_iter().filter(|entry| is_preset(entry.name.as_encoded_bytes())) {
        let path = format!("{PRESETS}/{}", entry.name.to_str()?);
        let bytes = root.read(&path, TEXT_LIMIT).ok()?;
        presets.push((path, bytes));
    }
    Some(presets)
}

fn image(root: &Root, build: &Build) -> Option<Image> {
    let place = build.image.clone();
    // Through a link mkinitcpio would write, or replace it, depending on the room that there is.
    match root.symlink_metadata(&place) {
        Ok(found) if found.kind == FileKind::File => {}
        Err(error) if error.is_not_found() => {}
        _ => return None,
    }
    root.metadata(Path::new(&place).parent()?).ok().filter(|found| found.kind == FileKind::Directory)?;
    let (name, path) = beside(&place)?;
    let lent = Lent {
        path: format!("{LENT}/{}", Path::new(&build.preset).file_name()?.to_str()?),
        text: build.preset_at(&path),
        of: build.preset.clone(),
    };
    let [tool, _] = ALL_PRESETS;
    let argv = vec![tool.to_owned(), "-p".to_owned(), lent.path.clone()];
    Some(Image { place, name, argv, lent: Some(lent), then: Vec::new() })
}
