//! The last keyboard.

use super::gone::Gone;
use super::loss::{Loss, Lost};
use super::stakes::Stakes;
use cede_model::Observed;
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::uses::keyboards::{INPUT, Keyboard};

const ADVICE: &str = "nothing could be typed at the machine any more; plug one in elsewhere first, or choose another device";

/// The keyboards that are there are all behind what goes. One made by a program, or come over the air, may hang on one of them too, and does
/// not count as left, unless there is no other. A host without any is not looked after by keyboard.
pub(super) fn look(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<Lost> {
    let list = match stakes.keyboards() {
        Observed::Known(list) => list,
        Observed::Unknown(_) if let Some(why) = stakes.host.capture.unreadable(INPUT) => {
            return cannot_tell(gone, why).into_iter().collect();
        }
        Observed::Absent | Observed::Unknown(_) => return Vec::new(),
    };
    let is_real = |keyboard: &&Keyboard| !keyboard.is_virtual;
    let has_real = list.iter().any(|keyboard| is_real(&keyboard));
    let real: Vec<&Keyboard> = list.iter().filter(|keyboard| is_real(keyboard) || (!has_real && !keyboard.functions.is_empty())).collect();
    let behind = |keyboard: &&Keyboard| keyboard.functions.iter().copied().find(|function| gone.has(*function));
    let lost: Vec<(PciAddress, &Keyboard)> = real.iter().filter_map(|keyboard| Some((behind(keyboard)?, *keyboard))).collect();
    let goes = |keyboard: &&Keyboard| behind(keyboard).is_some() || keyboard.functions.iter().any(|function| gone.had_gone(*function));
    let Some((function, keyboard)) = lost.first().filter(|_| real.iter().all(goes)) else { return Vec::new() };
    vec![Lost::new(Loss::LastKeyboard, format!("{} → {} → the last keyboard", gone.function(*function), keyboard.name), ADVICE)]
}

fn is_usb(device: &PciDevice) -> bool {
    device.class.is_some_and(|class| class.base_and_sub() == 0x0c03)
}

fn cannot_tell(gone: &Gone<'_>, why: &str) -> Option<Lost> {
    let device = gone.first(is_usb)?;
    Some(Lost::new(
        Loss::LastKeyboard,
        format!("{} may carry the last keyboard", gone.function(device.address)),
        format!("{INPUT} could not be read ({why}); run as root, or choose another device"),
    ))
}

/// A keyboard may be switched to another machine now, or plugged in when it is needed.
pub(super) fn costs(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<String> {
    let Some(device) = gone.first(is_usb) else { return Vec::new() };
    let goes = |address: PciAddress| gone.has(address) || gone.had_gone(address);
    let stays = stakes.host.devices.iter().any(|other| is_usb(other) && !goes(other.address) && !other.is_on_vfio());
    let known = stakes.keyboards();
    let has_other = known.known().is_some_and(|list| list.iter().any(|keyboard| !keyboard.functions.iter().any(|f| goes(*f))));
    if !stays && !has_other {
        return vec![format!(
            "{} is the last USB controller: no keyboard can be plugged into the host any more",
            gone.function(device.address)
        )];
    }
    if known.is_unknown() {
        return vec![format!("whether the last keyboard is behind {} was not seen", gone.function(device.address))];
    }
    Vec::new()
}
