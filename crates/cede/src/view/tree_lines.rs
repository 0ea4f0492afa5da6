//! The tree laid out in lines: what its drawings in the terminal and on a page have in common.

use super::tree::NodeView;

/// More functions than one slot has, alike and side by side, are drawn as one line: virtual functions come by the hundred.
const DRAWN_SINGLY: usize = 8;

/// One piece of the wires that lead to a line, each as wide as one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Nothing.
    Blank,
    /// A wire that passes by.
    Through,
    /// A wire that passes by, with a branch to this line.
    Branch,
    /// A wire that ends at this line.
    Last,
}

/// One line of the drawing.
#[derive(Debug)]
pub struct Line<'a> {
    /// From the root bus to this line; never empty.
    pub wires: Vec<Wire>,
    /// The function; or several that are alike, in their order.
    pub nodes: &'a [NodeView],
}

impl Line<'_> {
    /// The group that all its functions are in.
    pub fn group(&self) -> Option<u32> {
        let group = self.nodes.first()?.group;
        group.filter(|_| self.nodes.iter().all(|node| node.group == group))
    }
}

/// Lays out what is on a bus; with `singly`, every function on a line of its own.
pub fn lines(nodes: &[NodeView], singly: bool) -> Vec<Line<'_>> {
    let mut layout = Layout { singly, wires: Vec::new(), lines: Vec::new() };
    layout.add(nodes);
    layout.lines
}

struct Layout<'a> {
    singly: bool,
    wires: Vec<Wire>,
    lines: Vec<Line<'a>>,
}

impl<'a> Layout<'a> {
    fn add(&mut self, nodes: &'a [NodeView]) {
        let (mut left, singly) = (nodes.len(), self.singly);
        for run in nodes.chunk_by(|one, next| !singly && alike(one, next)) {
            let each = if run.len() > DRAWN_SINGLY { run.len() } else { 1 };
            for drawn in run.chunks(each) {
                left -= drawn.len();
                self.add_line(drawn, left == 0);
            }
        }
    }

    fn add_line(&mut self, drawn: &'a [NodeView], is_last: bool) {
        let ends = |last, other| if is_last { last } else { other };
        self.wires.push(ends(Wire::Last, Wire::Branch));
        self.lines.push(Line { wires: self.wires.clone(), nodes: drawn });
        self.wires.pop();
        self.wires.push(ends(Wire::Blank, Wire::Through));
        self.add(drawn.first().map(|node| node.behind.as_slice()).unwrap_or_default());
        self.wires.pop();
    }
}

/// True where only address and group tell two functions apart, and neither or the same group binds them to others.
fn alike(one: &NodeView, other: &NodeView) -> bool {
    let kind = |node: &NodeView| (node.kind, node.isolates, node.stays, node.ceded, node.blocks, node.group.is_some(), node.group_size);
    let is_leaf = |node: &NodeView| node.behind.is_empty();
    is_leaf(one)
        && is_leaf(other)
        && kind(one) == kind(other)
        && (one.group_size <= 1 || one.group == other.group)
        && (&one.id, &one.class, &one.driver, &one.name) == (&other.id, &other.class, &other.driver, &other.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str, group: u32, behind: Vec<NodeView>) -> NodeView {
        NodeView { address: address.to_owned(), group: Some(group), group_size: 1, behind, ..NodeView::default() }
    }

    fn drawn(nodes: &[NodeView], singly: bool) -> Vec<String> {
        let piece = |wire: &Wire| match wire {
            Wire::Blank => "   ",
            Wire::Through => "│  ",
            Wire::Branch => "├─ ",
            Wire::Last => "└─ ",
        };
        let line = |line: &Line<'_>| {
            let count = if line.nodes.len() > 1 { format!(" ×{}", line.nodes.len()) } else { String::new() };
            format!("{}{}{count}", line.wires.iter().map(piece).collect::<String>(), line.nodes[0].address)
        };
        lines(nodes, singly).iter().map(line).collect()
    }

    #[test]
    fn wires_lead_to_every_line() {
        let tree = [node("a", 0, vec![node("b", 1, vec![node("c", 2, vec![])]), node("d", 3, vec![])]), node("e", 4, vec![])];
        assert_eq!(drawn(&tree, false), ["├─ a", "│  ├─ b", "│  │  └─ c", "│  └─ d", "└─ e"]);
    }

    #[test]
    fn many_alike_are_one_line_and_those_of_one_slot_are_not() {
        let alike = |count: u32| (0..count).map(|at| node(&format!("f{at}"), at, vec![])).collect::<Vec<_>>();
        assert_eq!(drawn(&alike(8), false).len(), 8);
        assert_eq!(drawn(&alike(9), false), ["└─ f0 ×9"]);
        assert_eq!(drawn(&alike(9), true).len(), 9);
        let mut broken = alike(30);
        broken[12].driver = Some("vfio-pci".to_owned());
        broken[29].behind = vec![node("x", 40, vec![])];
        assert_eq!(drawn(&broken, false), ["├─ f0 ×12", "├─ f12", "├─ f13 ×16", "└─ f29", "   └─ x"]);
        let mut bound = alike(20);
        for (at, node) in bound.iter_mut().enumerate() {
            (node.group, node.group_size) = (Some(at as u32 / 10), 10);
        }
        assert_eq!(drawn(&bound, false), ["├─ f0 ×10", "└─ f10 ×10"]);
        assert_eq!(lines(&bound, false).iter().map(Line::group).collect::<Vec<_>>(), [Some(0), Some(1)]);
        assert_eq!(lines(&alike(9), false)[0].group(), None);
    }
}
