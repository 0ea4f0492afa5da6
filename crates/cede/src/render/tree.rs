//! The tree of functions in the terminal.

use super::table::Table;
use crate::error::CommandError;
use crate::ui::{FAINT, GOOD, HEADING, Ui, WARN, paint};
use crate::view::tree::{NodeView, TreeView};

/// The lines that join a tree.
struct Lines {
    branch: &'static str,
    last: &'static str,
    through: &'static str,
}

const DRAWN: Lines = Lines { branch: "├─ ", last: "└─ ", through: "│  " };
const TYPED: Lines = Lines { branch: "|- ", last: "`- ", through: "|  " };

/// Prints the tree: one function a line, with its group, and of ports whether they isolate what is behind them.
///
/// # Errors
/// Those of the stream.
pub fn print(ui: &mut Ui, view: &TreeView) -> Result<(), CommandError> {
    let lines = if ui.is_utf8() { DRAWN } else { TYPED };
    let mut table = Table::new(0, 3);
    for root in &view.roots {
        let vmd = root.vmd.as_ref().map(|endpoint| format!("  made by Intel VMD {endpoint}")).unwrap_or_default();
        table.heading(paint(HEADING, format_args!("{}{vmd}", root.bus)));
        rows(&mut table, &lines, &root.functions, "");
    }
    let width = ui.width();
    Ok(table.print(ui.out(), width)?)
}

fn rows(table: &mut Table, lines: &Lines, nodes: &[NodeView], indent: &str) {
    for (index, node) in nodes.iter().enumerate() {
        let is_last = index + 1 == nodes.len();
        let branch = if is_last { lines.last } else { lines.branch };
        // The domain stands above.
        let address = node.address.split_once(':').map_or(node.address.as_str(), |(_, rest)| rest);
        let group = match (node.group, node.group_size) {
            (None, _) => "-".to_owned(),
            (Some(group), 1) => format!(" {group} "),
            (Some(group), _) => format!("[{group}]"),
        };
        table.row([&format!("{indent}{branch}{address}"), &group, port(node), &node.name]);
        if node.ceded {
            table.style_last(GOOD);
        } else if node.stays {
            table.style_last(FAINT);
        }
        if node.isolates == Some(false) && !node.behind.is_empty() {
            table.style_cell(2, WARN);
        }
        let through = if is_last { "   " } else { lines.through };
        rows(table, lines, &node.behind, &format!("{indent}{through}"));
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
