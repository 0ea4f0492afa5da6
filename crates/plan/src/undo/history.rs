//! What the operations of the journal did to each file, one after the other.

use crate::journal::{End, Operation, Verb};
use crate::merge::{self, Clash};
use crate::plan::Step;
use std::collections::BTreeSet;

/// One operation's change of a file; `None` stands for no file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    before: Option<&'a [u8]>,
    pub(super) after: Option<&'a [u8]>,
}

/// Others changed what we changed.
pub(super) struct NotCarried {
    /// The file without us, up to then.
    pub(super) clean: Option<Vec<u8>>,
    pub(super) clash: Clash,
}

/// The operations since nothing of ours was on the host, that were carried out.
pub(super) fn since_nothing(operations: &[Operation]) -> Vec<&Operation> {
    let done: Vec<&Operation> = operations.iter().filter(|operation| operation.end == Some(End::Applied)).collect();
    let mut in_force = BTreeSet::new();
    let mut start = 0;
    for (index, operation) in done.iter().enumerate() {
        match operation.verb {
            Verb::Apply | Verb::Redo(_) => _ = in_force.insert(operation.number),
            Verb::Undo(number) => _ = in_force.remove(&number),
            Verb::Trial | Verb::Bind | Verb::Release | Verb::Hook | Verb::Persist => {}
        }
        if in_force.is_empty() {
            start = index + 1;
        }
    }
    done.into_iter().skip(start).collect()
}

/// Every file that the operations changed, each once, last first.
pub(super) fn paths<'a>(operations: &[&'a Operation]) -> Vec<&'a str> {
    let mut list: Vec<&str> = Vec::new();
    for path in operations.iter().rev().flat_map(|operation| operation.plan.steps.iter().rev().filter_map(Step::path)) {
        if !list.contains(&path) {
            list.push(path);
        }
    }
    list
}

/// What the operations did to a file.
pub(super) fn changes<'a>(operations: &[&'a Operation], path: &str) -> Vec<Change<'a>> {
    let steps = operations.iter().flat_map(|operation| &operation.plan.steps);
    let of_file = steps.filter_map(|step| match step {
        Step::ReplaceFile { path: other, before, after } if other == path => {
            Some(Change { before: before.as_deref(), after: after.as_deref() })
        }
        _ => None,
    });
    of_file.collect()
}

/// The file as it would be without these changes: what others did before, between and after them is done to the file as it was before the
/// first one.
pub(super) fn without(path: &str, changes: &[Change<'_>], now: Option<&[u8]>) -> Result<Option<Vec<u8>>, NotCarried> {
    let Some(first) = changes.first() else { return Ok(now.map(<[u8]>::to_vec)) };
    let mut clean = first.before.map(<[u8]>::to_vec);
    let mut left = first.after;
    let later = changes.iter().skip(1).map(|change| (change.before, change.after)).chain([(now, None)]);
    for (found, after) in later {
        clean = carry(path, clean.as_deref(), left, found).map_err(|clash| NotCarried { clean, clash })?;
        left = after;
    }
    Ok(clean)
}

/// Others made `now` of the file that we left; the same is done to the file as it would have been without us.
fn carry(path: &str, clean: Option<&[u8]>, left: Option<&[u8]>, now: Option<&[u8]>) -> Result<Option<Vec<u8>>, Clash> {
    if now == left {
        return Ok(clean.map(<[u8]>::to_vec));
    }
    let Some(now) = now else { return Ok(None) };
    if clean == left {
        return Ok(Some(now.to_vec()));
    }
    let merged = merge::take_out(path, clean.unwrap_or_default(), left.unwrap_or_default(), now)?;
    Ok(Some(merged).filter(|bytes| clean.is_some() || !bytes.is_empty()))
}
