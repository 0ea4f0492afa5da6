//! The tree of functions in the terminal.

use super::table::Table;
use crate::error::CommandError;
use crate::ui::{BAD, FAINT, GOOD, HEADING, Ui, WARN, paint};
use crate::view::tree::{NodeView, TreeView};
use crate::view::tree_lines::{Line, Wire, lines};

/// How wires look: as drawn, and as typed where the terminal has no more.
const DRAWN: [&str; 4] = ["   ", "│  ", "├─ ", "└─ "];
const TYPED: [&str; 4] = ["   ", "|  ", "|- ", "`- "];

/// Prints the tree: one function a line, with its group, and of ports whether they isolate what is behind them. Unless each is wanted
/// singly, many that are alike are one line.
///
/// # Errors
/// Those of the stream.
pub fn print(ui: &mut Ui, view: &TreeView, singly: bool) -> Result<(), CommandError> {
    let pieces = if ui.is_utf8() { DRAWN } else { TYPED };
    let mut table = Table::new(0, 3);
    for root in &view.roots {
        let vmd = root.vmd.as_ref().map(|endpoint| format!("  made by Intel VMD {endpoint}")).unwrap_or_default();
        table.heading(paint(HEADING, format_args!("{}{vmd}", root.bus)));
        for line in lines(&root.functions, singly) {
            row(&mut table, &pieces, &line);
        }
    }
    let width = ui.width();
    Ok(table.print(ui.out(), width)?)
}

fn row(table: &mut Table, pieces: &[&'static str; 4], line: &Line<'_>) {
    let [node, others @ ..] = line.nodes else { return };
    let piece = |wire: &Wire| match (wire, pieces) {
        (Wire::Blank, [piece, ..]) | (Wire::Through, [_, piece, ..]) | (Wire::Branch, [_, _, piece, _]) | (Wire::Last, [.., piece]) => {
            *piece
        }
    };
    let wires: String = line.wires.iter().map(piece).collect();
    let (until, count) = match others.last() {
        Some(last) => (format!("-{}", last.address.rsplit(':').next().unwrap_or_default()), format!("{} alike: ", others.len() + 1)),
        None => (String::new(), String::new()),
    };
    let name = format!("{count}{}", node.name);
    table.row([&format!("{wires}{}{until}", node.without_domain()), &group(line, node), state(node), &name]);
    if node.ceded {
        table.style_last(GOOD);
    } else if node.stays {
        table.style_last(FAINT);
    }
    if node.blocks {
        table.style_cell(2, BAD);
    } else if node.isolates == Some(false) && !node.behind.is_empty() {
        table.style_cell(2, WARN);
    }
}

/// In brackets where several functions are in it.
fn group(line: &Line<'_>, node: &NodeView) -> String {
    let groups = || line.nodes.iter().filter_map(|node| node.group);
    match (groups().min(), groups().max()) {
        (Some(group), _) if node.group_size > 1 => format!("[{group}]"),
        (Some(first), Some(last)) if first < last => format!(" {first}-{last} "),
        (Some(group), _) => format!(" {group} "),
        _ => " - ".to_owned(),
    }
}

/// What a port does, or what becomes of another function.
fn state(node: &NodeView) -> &'static str {
    match port(node) {
        "" if node.ceded => "ceded",
        "" if node.blocks => "blocks",
        port => port,
    }
}

/// Of a port, whether it isolates what is behind it.
pub fn port(node: &NodeView) -> &'static str {
    let is_port =
        matches!(node.kind, Some("root port" | "upstream port" | "downstream port" | "PCIe-to-PCI bridge" | "PCI-to-PCIe bridge"));
    match node.isolates {
        _ if !is_port && node.behind.is_empty() => "",
        Some(true) => "isolates",
        Some(false) => "open",
        None => "?",
    }
}
