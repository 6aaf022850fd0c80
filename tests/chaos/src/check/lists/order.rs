//! The order of the operations on lists, as a graph whose edges say which of two operations was first. A cycle says that no order explains
//! what the operations saw. The names of the cycles are those of Adya, Liskov and O'Neil.

use std::collections::BTreeMap;

use petgraph::{
    algo::{astar, toposort},
    graph::{DiGraph, NodeIndex},
    visit::{EdgeFiltered, EdgeRef as _},
};

use super::{Indexed, Violation};

/// Why an operation was before another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// Its elements are before those of the other one.
    Write,
    /// The other one has seen its elements.
    Read,
    /// It has not seen the elements of the other one.
    Unseen,
    /// Its revision is older.
    Number,
    /// It ended before the other one began.
    Time,
}

/// A cycle of a graph: the operations with the reason why each was before the next one. A moment is not an operation.
type Cycle = Vec<(Option<usize>, Reason)>;

/// Looks for a cycle, first with few kinds of edges and then with more of them, so that a cycle has the name of the gravest anomaly.
pub(super) fn check(history: &Indexed<'_>) -> Option<Violation> {
    let graph = Graph::of(history);
    let reasons = [Reason::Write, Reason::Read, Reason::Unseen, Reason::Number, Reason::Time];
    let (reason, cycle) = reasons.into_iter().find_map(|reason| Some((reason, graph.cycle(reason)?)))?;
    let rule = match reason {
        Reason::Write => "saves have one order over all lists (G0)",
        Reason::Read => "saves do not see each other in a circle (G1c)",
        Reason::Unseen if cycle.iter().filter(|(_, reason)| *reason == Reason::Unseen).count() == 1 => {
            "what one operation has seen is of one moment (G-single)"
        }
        Reason::Unseen => "saves that miss each other are not both made (G2)",
        Reason::Number => "revisions are numbered in the order of what they have",
        Reason::Time => "an operation sees what was acknowledged before it began",
    };
    let steps = cycle.iter().map(|(operation, reason)| match operation {
        Some(operation) => format!("{:?} is by {reason:?} before", history.operations[*operation]),
        None => String::new(),
    });
    let steps: Vec<_> = steps.filter(|step| !step.is_empty()).collect();
    Some(Violation { rule, turn: None, text: format!("in project {}, {} the first of these", history.project, steps.join(" ")) })
}

/// The nodes with a number are operations. The others are the moments at which operations ended: with them the order of n operations in
/// time has some n edges and not n * n.
#[derive(Default)]
struct Graph {
    edges: DiGraph<Option<usize>, Reason>,
    /// The nodes of the operations.
    nodes: BTreeMap<usize, NodeIndex>,
}

impl Graph {
    fn of(history: &Indexed<'_>) -> Self {
        let mut graph = Self::default();
        for (number, operation) in history.operations.iter().enumerate() {
            let is_read = operation.appended.is_empty();
            if history.is_effective(operation) && (!is_read || operation.outcome.number().is_some()) {
                let node = graph.edges.add_node(Some(number));
                graph.nodes.insert(number, node);
            }
        }
        graph.add_contents(history);
        graph.add_numbers(history);
        graph.add_times(history);
        graph
    }

    /// Adds that one operation was before another one.
    fn add(&mut self, first: usize, second: usize, reason: Reason) {
        if let (true, Some(from), Some(to)) = (first != second, self.nodes.get(&first), self.nodes.get(&second)) {
            self.edges.add_edge(*from, *to, reason);
        }
    }

    fn add_contents(&mut self, history: &Indexed<'_>) {
        for list in history.last.values() {
            for pair in list.windows(2) {
                self.add(history.writers[&pair[0]], history.writers[&pair[1]], Reason::Write);
            }
        }
        for (number, operation) in history.operations.iter().enumerate() {
            for (key, seen) in &operation.seen {
                if let Some(newest) = seen.last() {
                    self.add(history.writers[newest], number, Reason::Read);
                }
                if let Some(next) = history.last_list(key).get(seen.len()) {
                    self.add(number, history.writers[next], Reason::Unseen);
                }
            }
        }
    }

    /// A read of a revision is after the save that made it and before the next one.
    fn add_numbers(&mut self, history: &Indexed<'_>) {
        let (mut saves, mut reads) = (BTreeMap::new(), Vec::new());
        for (n, operation) in history.operations.iter().enumerate() {
            match operation.outcome.number() {
                Some(number) if operation.appended.is_empty() => reads.push((number, n)),
                Some(number) => drop(saves.insert(number, n)),
                None => {}
            }
        }
        for (first, second) in saves.values().zip(saves.values().skip(1)) {
            self.add(*first, *second, Reason::Number);
        }
        for (number, read) in reads {
            if let Some((_, save)) = saves.range(..=number).next_back() {
                self.add(*save, read, Reason::Number);
            }
            if let Some((_, save)) = saves.range(number + 1..).next() {
                self.add(read, *save, Reason::Number);
            }
        }
    }

    fn add_times(&mut self, history: &Indexed<'_>) {
        let nodes: Vec<_> = self.nodes.iter().map(|(number, node)| (&history.operations[*number], *node)).collect();
        let mut moments = BTreeMap::new();
        for (operation, node) in &nodes {
            if let Some(ended) = operation.ended {
                let moment = *moments.entry(ended).or_insert_with(|| self.edges.add_node(None));
                self.edges.add_edge(*node, moment, Reason::Time);
            }
        }
        for (first, second) in moments.values().zip(moments.values().skip(1)) {
            self.edges.add_edge(*first, *second, Reason::Time);
        }
        for (operation, node) in nodes {
            if let Some((_, moment)) = moments.range(..operation.began).next_back() {
                self.edges.add_edge(*moment, node, Reason::Time);
            }
        }
    }

    /// A short cycle with edges up to a reason.
    fn cycle(&self, most: Reason) -> Option<Cycle> {
        let graph = EdgeFiltered::from_fn(&self.edges, |edge| *edge.weight() <= most);
        let start = toposort(&graph, None).err()?.node_id();
        let edges = self.edges.edges(start).filter(|edge| *edge.weight() <= most);
        let back = edges.filter_map(|edge| astar(&graph, edge.target(), |node| node == start, |_| 1, |_| 0));
        let (_, path) = back.min_by_key(|(length, _)| *length)?;
        let pairs = std::iter::once(start).chain(path.iter().copied()).zip(&path);
        let reason = |from, to| self.edges.edges_connecting(from, to).map(|edge| *edge.weight()).min();
        pairs.map(|(from, to)| Some((self.edges[from], reason(from, *to)?))).collect()
    }
}
