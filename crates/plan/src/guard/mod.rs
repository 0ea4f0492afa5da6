//! What the host would lose. A device that it cannot do without is not given away, unless its owner names exactly what is lost.

mod boot_mount;
mod console;
mod display;
mod gone;
mod keyboard;
mod loss;
mod network;
mod stakes;
mod storage;

pub use boot_mount::boot_not_mounted;
pub(crate) use display::ids_told;
pub use loss::{Loss, Lost};
pub use stakes::Stakes;
pub(crate) use stakes::told_at;

use crate::intent::Identity;
use crate::plan::Refusal;
use cede_model::Host;
use gone::Gone;

/// Looks for one kind of loss.
type Look = fn(&Stakes<'_>, &Gone<'_>) -> Vec<Lost>;

/// Every kind there is.
const LOOKS: [Look; 5] = [storage::look, network::look, keyboard::look, display::look, console::look];

/// Everything that the host loses with these functions, by now or at its next start.
pub fn losses(host: &Host, ceded: &[Identity]) -> Vec<Lost> {
    Stakes::new(host).losses(ceded)
}

impl Stakes<'_> {
    /// Everything that the host loses with these functions, by now or at its next start.
    pub fn losses(&self, ceded: &[Identity]) -> Vec<Lost> {
        let gone = Gone::new(self, ceded);
        LOOKS.iter().flat_map(|look| look(self, &gone)).collect()
    }
}

/// What the host loses this instant: what goes at the next start is still there.
pub fn losses_now(host: &Host, ceded: &[Identity]) -> Vec<Lost> {
    Stakes::now(host).losses(ceded)
}

/// The losses that were not accepted.
pub fn refusals(host: &Host, ceded: &[Identity], accepted: &[Loss]) -> Vec<Refusal> {
    let open = losses(host, ceded).into_iter().filter(|lost| !accepted.contains(&lost.loss));
    open.map(Refusal::from).collect()
}

/// What the host will miss, and can do without.
pub fn costs(host: &Host, ceded: &[Identity]) -> Vec<String> {
    let stakes = Stakes::new(host);
    let gone = Gone::new(&stakes, ceded);
    network::costs(&stakes, &gone).into_iter().chain(keyboard::costs(&stakes, &gone)).collect()
}
