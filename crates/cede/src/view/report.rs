//! What a page about a host says. It has no JSON form of its own: `groups --tree --json` and `check --json` say the same.

use super::check::CheckView;
use super::groups::{origin, perhaps};
use super::tree::{TreeView, shared, worth_asking};
use crate::cli::Global;
use crate::render::table::counted;
use cede_model::Host;
use cede_model::iommu::foretell::{GroupOrigin, GroupRow};
use cede_model::iommu::{GroupTable, IommuState};
use cede_model::pci::{PciDevice, PciNames};
use cede_plan::guard::Stakes;
use cede_plan::intent::Identity;
use cede_plan::{Verdict, checks, group_choice};
use std::collections::HashMap;

/// Everything on the page.
#[derive(Debug)]
pub struct ReportView {
    /// Which host it is, as far as that is no secret.
    pub title: String,
    /// How it stands, in one sentence.
    pub verdict: String,
    /// How good that is.
    pub grade: Verdict,
    /// The lines below it, each with its name.
    pub facts: Vec<(&'static str, String)>,
    /// What the checks found; `None` where the source says too little for them.
    pub findings: Option<CheckView>,
    /// How the functions are wired.
    pub tree: TreeView,
    /// What is to be said of a group, by its number.
    pub remarks: HashMap<u32, Remarks>,
    /// What to type next.
    pub next: String,
}

/// What `status` tells of a host.
#[derive(Debug)]
pub struct Standing {
    /// Boot loader and generator.
    pub boot: String,
    /// What to type next.
    pub next: String,
}

/// What is to be said of a group.
#[derive(Debug, Default)]
pub struct Remarks {
    /// Ways from its functions to what the host would lose with them, each with the name of the loss.
    pub lost: Vec<(&'static str, String)>,
    /// Of bounds: what may come to it.
    pub perhaps: Option<String>,
}

impl ReportView {
    /// The page of a host; of a listing, which tells nothing around its functions, without a standing.
    pub fn new(host: &Host, standing: Option<Standing>, global: &Global) -> Self {
        let table = GroupTable::of(host);
        let names = PciNames::of_devices(&host.capture, &host.devices);
        let tree = TreeView::new(host, &table, &names);
        let remarks = remarks(host, &table);
        let head = match standing {
            Some(standing) => of_host(host, standing),
            None => of_listing(host, &table, &tree, global),
        };
        let count = |word: fn(&PciDevice) -> bool| host.devices.iter().filter(|device| word(device)).count();
        let state = match host.iommu {
            IommuState::On => "on",
            IommuState::Off => "off",
            IommuState::Unknown => "not seen",
        };
        let mut facts = vec![("IOMMU", format!("{state}: {}", origin(host, &table)))];
        facts.extend(head.facts);
        facts.push(("Functions", format!("{}, {} on vfio-pci", host.devices.len(), count(PciDevice::is_on_vfio))));
        facts.extend(notes(host).map(|note| ("Note", note.to_owned())));
        let Head { title, verdict, grade, findings, next, .. } = head;
        Self { title, verdict, grade, facts, findings, tree, remarks, next }
    }
}

/// What is known of the host around its functions.
struct Head {
    title: String,
    verdict: String,
    grade: Verdict,
    facts: Vec<(&'static str, String)>,
    findings: Option<CheckView>,
    next: String,
}

fn of_host(host: &Host, standing: Standing) -> Head {
    let findings = checks::check(host, &[]);
    let grade = findings.first().map_or(Verdict::Fine, |finding| finding.verdict);
    let count = findings.iter().filter(|finding| finding.verdict == grade).count();
    let verdict = match grade {
        Verdict::Problem if count == 1 => "1 problem stands in the way".to_owned(),
        Verdict::Problem => format!("{count} problems stand in the way"),
        Verdict::CannotTell => "No problem found, but not everything could be told".to_owned(),
        Verdict::Advice | Verdict::Fine => "No problem found".to_owned(),
    };
    let kernel = host.running.as_ref().map(|release| format!("kernel {release}"));
    let known: Vec<String> = host.os.name.clone().into_iter().chain(kernel).collect();
    Head {
        facts: if known.is_empty() { Vec::new() } else { vec![("Boot", standing.boot)] },
        title: if known.is_empty() { "a host of which only the wiring was seen".to_owned() } else { known.join(", ") },
        verdict,
        grade,
        findings: Some(CheckView::new(&findings)),
        next: standing.next,
    }
}

/// A listing shows how functions are wired, and nothing of kernel, boot files and disks.
fn of_listing(host: &Host, table: &GroupTable, tree: &TreeView, global: &Global) -> Head {
    let shared = shared(host, table).count();
    let is_told = table.origin != GroupOrigin::Bounds;
    Head {
        title: format!("A listing of lspci, {}", counted(tree.roots.len(), "root bus").replace("buss", "buses")),
        verdict: match shared {
            _ if !is_told => "What groups there will be cannot be told from this listing".to_owned(),
            0 => "Every device has a group of its own".to_owned(),
            1 => "1 group holds several functions, which go together or not at all".to_owned(),
            count => format!("{count} groups hold several functions, which go together or not at all"),
        },
        grade: if !is_told {
            Verdict::CannotTell
        } else if shared == 0 {
            Verdict::Fine
        } else {
            Verdict::Advice
        },
        facts: Vec::new(),
        findings: None,
        next: worth_asking(host, table)
            .map_or_else(|| global.command("groups", false), |address| global.command(&format!("explain {address}"), false)),
    }
}

/// What a listing says of itself.
fn notes(host: &Host) -> impl Iterator<Item = &str> {
    host.capture.notes.iter().map(String::as_str).filter(|note| crate::source::is_of_listing(note))
}

fn remarks(host: &Host, table: &GroupTable) -> HashMap<u32, Remarks> {
    let is_seen = host.capture.exists("/proc/self/mountinfo");
    let stakes = Stakes::new(host);
    let of_row = |row: &GroupRow| {
        let goes = row.devices.iter().filter_map(|address| host.device(*address)).filter(|device| !group_choice::stays(device));
        let ceded: Vec<Identity> = goes.filter(|_| is_seen).filter_map(Identity::of).collect();
        let lost = stakes.losses(&ceded).into_iter().map(|lost| (lost.loss.id(), lost.way)).collect();
        (row.id, Remarks { lost, perhaps: perhaps(table, row) })
    };
    table.rows.iter().map(of_row).collect()
}
