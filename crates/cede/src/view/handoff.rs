//! `cede.handoff/1`.

use cede_plan::Refusal;
use cede_plan::handoff::{Handoff, Member, Standing};
use serde::Serialize;

/// What is handed over, as text for the machine that takes it.
#[derive(Debug, Serialize)]
pub struct HandoffView {
    format: &'static str,
    /// Who takes it.
    pub target: &'static str,
    /// The functions.
    pub devices: Vec<DeviceView>,
    /// Bridges of the group, which stay.
    pub stays: Vec<String>,
    /// The text; `null` where it is refused.
    pub text: Option<String>,
    /// Single elements; libvirt only.
    pub parts: Vec<String>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Why there is no text.
    pub refused: Vec<RefusalView>,
}

/// One function.
#[derive(Debug, Serialize)]
pub struct DeviceView {
    /// Where it is.
    pub address: String,
    /// Vendor.
    pub vendor: String,
    /// Device.
    pub device: String,
    /// `ceded`, `next_boot` or `host`.
    pub standing: &'static str,
    /// The operation that ceded it.
    pub operation: Option<u32>,
    /// Its NUMA node.
    pub numa_node: Option<u32>,
}

/// One reason.
#[derive(Debug, Serialize)]
pub struct RefusalView {
    id: &'static str,
    message: String,
}

impl RefusalView {
    /// The view of a refusal.
    pub fn new(refusal: &Refusal) -> Self {
        Self { id: refusal.id, message: refusal.message.clone() }
    }
}

impl HandoffView {
    /// The view of an answer.
    pub fn new(target: &'static str, answer: &Result<Handoff, Vec<Refusal>>) -> Self {
        let mut view = Self {
            format: "cede.handoff/1",
            target,
            devices: Vec::new(),
            stays: Vec::new(),
            text: None,
            parts: Vec::new(),
            notes: Vec::new(),
            refused: Vec::new(),
        };
        match answer {
            Ok(handoff) => {
                view.devices = handoff.given.members.iter().map(device).collect();
                view.stays = handoff.given.stays.iter().map(ToString::to_string).collect();
                view.text = Some(handoff.text.text.clone());
                view.parts.clone_from(&handoff.text.parts);
                view.notes.clone_from(&handoff.text.notes);
            }
            Err(refusals) => {
                view.refused = refusals.iter().map(RefusalView::new).collect();
            }
        }
        view
    }
}

fn device(member: &Member) -> DeviceView {
    DeviceView {
        address: member.address.to_string(),
        vendor: format!("{:04x}", member.id.vendor),
        device: format!("{:04x}", member.id.device),
        standing: match member.standing {
            Standing::Host => "host",
            Standing::NextBoot => "next_boot",
            Standing::Ceded => "ceded",
        },
        operation: member.operation,
        numa_node: member.numa_node,
    }
}
