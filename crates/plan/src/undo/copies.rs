//! Boot entries that others made since from our command line: kernel-install writes those of a new kernel from `/etc/kernel/cmdline`, or from
//! the command line of the running kernel (systemd: 90-loaderentry.install).

use crate::bootloader::entries;
use crate::journal::Operation;
use crate::merge::{self, Clash};
use crate::plan::Step;
use cede_model::Host;
use cede_model::boot::loader_entry::LoaderEntry;

const KERNEL_CMDLINE: &str = "/etc/kernel/cmdline";

/// The command line as an operation changed it.
struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
}

/// Boot entries of this system of which an operation knew nothing.
pub(super) fn unknown_to(host: &Host, operation: &Operation) -> Vec<String> {
    let known = |path: &str| {
        operation.plan.rests_on.iter().any(|fact| fact.path == path) || operation.plan.steps.iter().any(|step| step.path() == Some(path))
    };
    let own = entries::type1(host).into_iter().map(|entry| entry.path);
    own.filter(|path| !known(path)).collect()
}

/// An entry without what the operation added to the command line from which it was made.
pub(super) fn without(operation: &Operation, bytes: &[u8]) -> Result<Vec<u8>, Clash> {
    let Some(template) = template(operation) else { return Ok(bytes.to_vec()) };
    let added = merge::added_words(&template.before, &template.after);
    let mut out = bytes.to_vec();
    let count = LoaderEntry::parse(bytes).values("options").count();
    for index in 0..count {
        let entry = LoaderEntry::parse(&out);
        let Some(value) = entry.values("options").nth(index) else { break };
        if !merge::words_of(value.bytes).iter().any(|word| added.contains(word)) {
            continue;
        }
        // Between the two an undo may have put the words into another order.
        let only_added = merge::added_words(&template.after, &template.before).is_empty();
        let line = match merge::take_out(KERNEL_CMDLINE, &template.before, &template.after, value.bytes) {
            Err(_) if only_added => merge::without_words(value.bytes, &added),
            line => line?,
        };
        let range = value.range();
        out.splice(range, line);
    }
    Ok(out)
}

fn template(operation: &Operation) -> Option<Template> {
    let step = |wanted: &dyn Fn(&str) -> bool| {
        operation.plan.steps.iter().find_map(|step| match step {
            Step::ReplaceFile { path, before, after } if wanted(path) => {
                Some((before.clone().unwrap_or_default(), after.clone().unwrap_or_default()))
            }
            _ => None,
        })
    };
    if let Some((before, after)) = step(&|path| path == KERNEL_CMDLINE) {
        return Some(Template { before: one_line(&before), after: one_line(&after) });
    }
    let (before, after) = step(&|path| path.contains("/loader/entries/"))?;
    let options = |bytes: &[u8]| LoaderEntry::parse(bytes).options().unwrap_or_default();
    Some(Template { before: options(&before).to_vec(), after: options(&after).to_vec() })
}

/// Lines that are no comments are one command line.
fn one_line(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    lines.collect::<Vec<_>>().join(&b' ')
}
