//! The packages whose dependencies are still to be looked at: the shallowest first, then by path.

use std::collections::HashSet;

use super::{
    collate,
    graph::{Graph, NodeId},
};

/// The steps of a package that is sorted, without those of its path.
const SORTED: usize = 8;

#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<NodeId>,
    present: HashSet<NodeId>,
    is_sorted: bool,
    /// Packages that were looked at.
    pub(super) seen: HashSet<NodeId>,
}

impl Queue {
    pub(super) fn push(&mut self, node: NodeId) {
        if self.present.insert(node) {
            self.waiting.push(node);
            self.is_sorted = false;
        }
    }

    /// Looks at a package once more.
    pub(super) fn push_again(&mut self, node: NodeId) {
        self.seen.remove(&node);
        self.push(node);
    }

    /// The next package that was not looked at and is in the tree.
    pub(super) fn next(&mut self, graph: &Graph) -> Option<NodeId> {
        loop {
            if !self.is_sorted {
                // The first one is last.
                self.waiting.sort_by_cached_key(|node| {
                    let key = Key { depth: graph.depth(*node), path: graph.path(*node) };
                    graph.count(SORTED + key.path.len() / 4);
                    key
                });
                self.waiting.reverse();
                self.is_sorted = true;
            }
            let node = self.waiting.pop()?;
            self.present.remove(&node);
            if graph.root(node) == graph.project && self.seen.insert(node) {
                return Some(node);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
struct Key {
    depth: usize,
    path: String,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.depth.cmp(&other.depth).then_with(|| collate::compare(&self.path, &other.path))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
