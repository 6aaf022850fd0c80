//! Moves nodes, and keeps what every dependency resolves to.

use super::graph::{EdgeId, Graph, NodeId};

impl Graph {
    /// Puts a node into the `node_modules` of another one. A node of the same name that is there is taken out of the tree.
    pub(super) fn attach(&mut self, node: NodeId, parent: NodeId) {
        if self[node].parent == Some(parent) || node == parent {
            return;
        }
        self.leave_parent(node);
        let name = self[node].name.clone();
        if let Some(current) = self.child(parent, &name) {
            self.detach(current);
        }
        self[node].parent = Some(parent);
        self[parent].children.insert(name.to_ascii_lowercase(), node);
        self.reload_named(parent, &name);
        self.reload_subtree(node);
    }

    /// Takes a node and all below it out of the tree.
    pub(super) fn detach(&mut self, node: NodeId) {
        if self.leave_parent(node) {
            self.reload_subtree(node);
        }
    }

    /// Puts a new node in the place of an old one, whose children stay.
    pub(super) fn replace(&mut self, old: NodeId, new: NodeId) {
        let Some(parent) = self[old].parent else { return };
        let children: Vec<_> = self[old].children.values().copied().collect();
        if self[new].link.is_none() {
            children.into_iter().for_each(|child| self.attach(child, new));
        }
        self.detach(old);
        self.attach(new, parent);
    }

    fn leave_parent(&mut self, node: NodeId) -> bool {
        let Some(parent) = self[node].parent.take() else { return false };
        let name = self[node].name.to_ascii_lowercase();
        self[parent].children.shift_remove(&name);
        true
    }

    /// Reloads the edges by this name of a node and all below it.
    fn reload_named(&mut self, node: NodeId, name: &str) {
        for node in self.subtree(node) {
            if let Some(edge) = self.edge_out(node, name) {
                self.reload(edge, true);
            }
        }
    }

    /// Reloads the edges that would lead from one tree to another after a move.
    fn reload_subtree(&mut self, node: NodeId) {
        let root = self.root(node);
        for node in self.subtree(node) {
            for edge in self.edges_in(node) {
                if self.root(self[edge].from) != root {
                    self.reload(edge, false);
                }
            }
            for edge in self.edges_out(node) {
                if self[edge].to.is_none_or(|to| self.root(to) != root) {
                    self.reload(edge, false);
                }
            }
        }
    }

    /// Finds out anew what a dependency resolves to, and which rule of `overrides` holds for it.
    pub(super) fn reload(&mut self, edge: EdgeId, hard: bool) {
        self.count(4);
        let from = self[edge].from;
        let mut changed = None;
        match self[from].rule {
            None => self[edge].rule = None,
            Some(rule) => {
                let new = self.rule_of(rule, edge);
                if self[edge].rule != Some(new) {
                    changed = Some((self[edge].rule, new));
                    self[edge].rule = Some(new);
                }
            }
        }
        let to = self.resolve(from, &self[edge].name);
        if to != self[edge].to {
            self.unlink(edge);
            self[edge].to = to;
            if let Some(to) = to {
                let rule = self[edge].rule;
                if self[to].rule.is_none() || self[to].rule != rule {
                    self.rule_added(to, rule);
                }
                self[to].edges_in.insert(edge);
            }
        } else if let (false, Some((old, new)), Some(to)) = (hard, changed, to) {
            self.rule_removed(to, old);
            self.rule_added(to, Some(new));
        }
    }

    /// Removes an edge from its target.
    pub(super) fn unlink(&mut self, edge: EdgeId) {
        if let Some(to) = self[edge].to.take() {
            self[to].edges_in.remove(&edge);
            let rule = self[edge].rule;
            if rule.is_some() {
                self.rule_removed(to, rule);
            }
        }
    }
}
