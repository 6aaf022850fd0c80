//! What is needed, what only for development, and what can be missing.

use std::collections::HashSet;

use super::graph::{Edge, Graph, Kind, NodeId};

/// Sets of nodes.
pub(super) struct Marks {
    /// What the project needs in any way. An optional peer alone is no need.
    pub(super) needed: HashSet<NodeId>,
    /// What it needs without its development dependencies.
    pub(super) production: HashSet<NodeId>,
    /// What it cannot work without.
    pub(super) required: HashSet<NodeId>,
}

impl Graph {
    pub(super) fn marks(&self) -> Marks {
        let mut needed = self.reached(|edge| edge.kind != Kind::OptionalPeer);
        // What is inside of a package that is needed stays with it.
        let above: Vec<_> = needed.iter().flat_map(|node| self.ancestry(*node).collect::<Vec<_>>()).collect();
        needed.extend(above);
        Marks {
            needed,
            production: self.reached(|edge| edge.kind != Kind::Development),
            required: self.reached(|edge| !edge.is_optional()),
        }
    }

    fn reached(&self, counts: impl Fn(&Edge) -> bool) -> HashSet<NodeId> {
        let (mut nodes, mut reached) = (vec![self.project], HashSet::new());
        while let Some(node) = nodes.pop() {
            if reached.insert(node) {
                let edges = self[node].edges_out.values().map(|edge| &self[*edge]).filter(|edge| counts(edge));
                nodes.extend(edges.filter_map(|edge| edge.to).chain(self[node].link));
            }
        }
        reached
    }

    /// An optional package that cannot be installed, with all that cannot work without it and all that only these need.
    pub(super) fn optional_group(&self, node: NodeId, skipped: &HashSet<NodeId>) -> HashSet<NodeId> {
        let (mut group, mut at) = (indexmap::IndexSet::from([node]), 0);
        while let Some(next) = group.get_index(at).copied() {
            let dependents = self[next].edges_in.iter().map(|edge| &self[*edge]).filter(|edge| !edge.is_optional());
            let found: Vec<_> = dependents.map(|edge| edge.from).filter(|from| *from != self.project).collect();
            group.extend(found);
            at += 1;
        }
        let counts = |edge| {
            let edge: &Edge = &self[edge];
            !edge.to.is_some_and(|to| group.contains(&to)) && !skipped.contains(&edge.from)
        };
        self.gather(group.iter().copied(), counts).into_iter().collect()
    }
}
