//! What the host would lose. A device that it cannot do without is not given away, unless its owner names exactly what is lost.

mod boot_mount;
mod display;
mod gone;
mod loss;
mod storage;

pub use boot_mount::boot_not_mounted;
pub use loss::{Loss, Lost};

use crate::intent::Identity;
use crate::plan::Refusal;
use cede_model::Host;
use gone::Gone;
use std::collections::BTreeSet;

/// Looks for one kind of loss.
type Look = fn(&Host, &Gone<'_>) -> Vec<Lost>;

/// Every kind there is.
const LOOKS: [Look; 2] = [storage::look, display::look];

/// Everything that the host loses with these functions, by now or at its next start.
pub fn losses(host: &Host, ceded: &[Identity]) -> Vec<Lost> {
    let gone = Gone::new(host, ceded);
    LOOKS.iter().flat_map(|look| look(host, &gone)).collect()
}

/// The losses that were not accepted.
pub fn refusals(host: &Host, ceded: &[Identity], accepted: &[Loss]) -> Vec<Refusal> {
    let open = losses(host, ceded).into_iter().filter(|lost| !accepted.contains(&lost.loss));
    open.map(Refusal::from).collect()
}

/// What the host will miss, and can do without.
pub fn costs(host: &Host, ceded: &[Identity]) -> Vec<String> {
    let routes = host.capture.attribute("/proc/net/route").unwrap_or_default();
    let default = routes.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        (words.next() == Some("00000000")).then_some(name)
    });
    let mut list = Vec::new();
    for name in default.collect::<BTreeSet<_>>() {
        let link = host.capture.link(&format!("/sys/class/net/{name}")).unwrap_or_default();
        if let Some(lost) = ceded.iter().find(|identity| link.contains(&format!("/{}/", identity.address))) {
            list.push(format!("{} carries {name}, the default route of this host: it will be without that network", lost.address));
        }
    }
    list
}
