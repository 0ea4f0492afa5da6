//! The images that a boot loader starts, where they are copies of what the generator makes: kernel-install keeps one for each kernel on the
//! boot partition. What is proved is the copy, for that is what starts.

use crate::bootloader::{BootEntry, entries};
use crate::plan::{Condition, Refusal, Step, step};
use cede_model::{Entry, Host};

/// What brings the copies up to date, and what must be true of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// One for each copy.
    pub steps: Vec<Step>,
    /// What is proved of the generator's image, said of its copy.
    pub proofs: Vec<Condition>,
}

/// Finds for each image that an entry starts the one that the generator makes; `made` is what is proved of those. Entries of GRUB's menu start
/// the generator's own images.
///
/// # Errors
/// An entry starts an image that does not come from this generator, so nothing can be proved of that start.
pub fn copies(host: &Host, loader_entries: &[BootEntry], made: &[Condition], generator: &str) -> Result<Copies, Refusal> {
    let mut copies = Copies::default();
    for entry in loader_entries.iter().filter(|entry| !entry.rescue) {
        for image in started(entry) {
            if made.iter().chain(&copies.proofs).filter_map(Condition::image).any(|path| entries::is_same_file(path, &image)) {
                continue;
            }
            let from = source(&image, made).filter(|_| step::may_write(&image) && host.capture.get(&image) != Some(&Entry::Absent));
            let from = from.ok_or_else(|| unknown(entry, &image, generator))?;
            copies.steps.push(Step::CopyImage { from: from.to_owned(), to: image.clone() });
            let proofs = made.iter().filter(|condition| condition.image() == Some(from));
            copies.proofs.extend(proofs.map(|condition| condition.clone().of_image(&image)));
        }
    }
    Ok(copies)
}

/// The images of an entry as paths of the host, without those that only bring microcode.
fn started(entry: &BootEntry) -> Vec<String> {
    let Some(partition) = entries::partition_of(&entry.path) else { return Vec::new() };
    let images = entry.files.iter().skip(1).filter(|file| !file.contains("ucode"));
    images.map(|file| format!("{partition}/{}", file.trim_start_matches('/'))).collect()
}

/// kernel-install copies an image under its own name (systemd: 90-loaderentry.install).
fn source<'a>(image: &str, made: &'a [Condition]) -> Option<&'a str> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    made.iter().filter_map(Condition::image).find(|path| name(path) == name(image))
}

fn unknown(entry: &BootEntry, image: &str, generator: &str) -> Refusal {
    Refusal::new(
        "boot-image-unknown",
        format!(
            "{}:{}: entry `{}` starts {image}, which is not there or is not made by {generator}, so that start could not be proved; `bootctl list` shows the entries: take it out, or correct it",
            entry.path, entry.line, entry.title
        ),
    )
}
