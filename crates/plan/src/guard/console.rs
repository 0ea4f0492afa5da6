//! Serial consoles on cards.

use super::gone::Gone;
use super::loss::{Loss, Lost};
use super::stakes::Stakes;
use cede_model::uses::consoles;

/// A console that takes the kernel's messages goes.
pub(super) fn look(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<Lost> {
    let lost = consoles::lost(&stakes.host.capture, &|address| gone.has(address));
    let advice = "the kernel's messages and the login there end; take `console=` of it out of the kernel command line first, or choose another device";
    lost.iter().map(|chain| Lost::new(Loss::Console, format!("{} → the kernel's console", gone.shown(chain)), advice)).collect()
}
