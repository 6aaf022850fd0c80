//! Whether packages fit dependencies and each other.

use std::collections::HashSet;

use indexmap::{IndexMap, IndexSet};

use super::graph::{EdgeId, Graph, NodeId};
use crate::spec::{Spec, Wanted};

impl Graph {
    /// Whether a dependency is met. One that is optional may be missing.
    pub(super) fn is_valid(&self, id: EdgeId) -> bool {
        let edge = &self[id];
        let Some(to) = edge.to else { return edge.is_optional() };
        // A peer must not be inside of the package that wants it.
        let is_local_peer = edge.is_peer() && self[to].parent == Some(edge.from) && !self.is_top(edge.from);
        let has_contradiction = || match (edge.rule, self[to].rule) {
            (Some(mine), Some(theirs)) => {
                mine != theirs && !self[to].edges_out.is_empty() && self.rules.contradict(mine, theirs, &self.steps)
            }
            _ => false,
        };
        self.count(2);
        !is_local_peer && self.satisfies(to, id) && !has_contradiction()
    }

    /// Whether the package has the name and a version that the dependency asks for.
    pub(super) fn satisfies(&self, node: NodeId, id: EdgeId) -> bool {
        let edge = &self[id];
        if self[node].name != edge.name {
            return false;
        }
        let Some(range) = self.rule_range(id) else { return self.fits(node, &edge.spec) };
        // What a rule replaces must not stay: the version fits the rule's specifier, or the rule is not about it.
        self.fits(node, &self.effective_spec(id)) || self.fits(node, &edge.spec) && !self.fits(node, range)
    }

    fn fits(&self, node: NodeId, spec: &str) -> bool {
        self.count(2 + spec.len() / 32);
        match &*self.known_spec(spec) {
            Ok(Spec { wanted: Wanted::Tag(_), .. }) => !self[node].is_failed,
            Ok(spec) => {
                self.count(spec.wanted.size());
                spec.wanted.accepts(self[node].manifest.parsed.as_ref())
            }
            Err(_) => false,
        }
    }

    /// Whether both are the same package.
    pub(super) fn matches(&self, a: NodeId, b: NodeId) -> bool {
        if a == b {
            return true;
        }
        let (first, second) = (&self[a], &self[b]);
        if first.name != second.name {
            return false;
        }
        match (first.link, second.link) {
            (Some(a), Some(b)) => return self.matches(a, b),
            (Some(_), None) => return false,
            _ => {}
        }
        match (&first.integrity, &second.integrity) {
            (Some(first), Some(second)) => first == second,
            _ => {
                !first.is_failed
                    && !second.is_failed
                    && (&first.manifest.name, &first.manifest.version) == (&second.manifest.name, &second.manifest.version)
            }
        }
    }

    /// Whether `new` can stand in the place of `old` for all that depend on it. Edges from the peers in `ignored` do not count.
    pub(super) fn can_replace(&self, new: NodeId, old: NodeId, ignored: &HashSet<String>) -> bool {
        let (replacement, current) = (&self[new], &self[old]);
        if replacement.name != current.name || (!replacement.is_failed && replacement.manifest.name != current.manifest.name) {
            return false;
        }
        if !current.edges_out.is_empty() && replacement.rule != current.rule {
            return false;
        }
        let own = self.gather([old], |edge| self[edge].to != Some(old) && self.is_valid(edge));
        current.edges_in.iter().all(|edge| {
            let from = self[*edge].from;
            let is_ignored = !self.is_top(old)
                && self[from].parent == current.parent
                && self[*edge].is_peer()
                && ignored.contains(&*self[from].name.to_ascii_lowercase());
            is_ignored || own.contains(&from) || self.satisfies(new, *edge)
        })
    }

    /// Whether a package can be removed, because what its dependents would find instead is as good.
    pub(super) fn can_dedupe(&self, node: NodeId) -> bool {
        let Some(above) = self[node].parent.and_then(|parent| self[parent].parent) else { return false };
        if self[node].edges_in.is_empty() {
            return true;
        }
        let Some(other) = self.resolve(above, &self[node].name) else { return false };
        if self.matches(other, node) {
            return true;
        }
        if !self.can_replace(other, node, &HashSet::new()) {
            return false;
        }
        let (there, here) = (&self[other].manifest.parsed, &self[node].manifest.parsed);
        there == here || (!self.is_overridden(node) && there > here)
    }

    /// The nodes, and what they depend on over edges that `counts` accepts, without what others depend on over such edges, too.
    pub(super) fn gather(&self, nodes: impl IntoIterator<Item = NodeId>, counts: impl Fn(EdgeId) -> bool) -> IndexSet<NodeId> {
        let mut set: IndexSet<NodeId> = nodes.into_iter().collect();
        let mut at = 0;
        while let Some(node) = set.get_index(at).copied() {
            self.count(self[node].edges_out.len());
            let reached = self[node].edges_out.values().filter_map(|edge| self[*edge].to.filter(|_| counts(*edge)));
            set.extend(reached.collect::<Vec<_>>());
            at += 1;
        }
        loop {
            self.count(set.len());
            let is_needed = |node: &NodeId| {
                self[*node].edges_in.iter().any(|edge| {
                    self.count(2);
                    !set.contains(&self[*edge].from) && counts(*edge)
                })
            };
            let needed: HashSet<_> = set.iter().copied().filter(is_needed).collect();
            if needed.is_empty() {
                return set;
            }
            set.retain(|node| !needed.contains(node));
        }
    }

    /// The groups of peers that a package belongs to, by the edge that brings each group into the tree.
    pub(super) fn peer_groups(&self, node: NodeId) -> IndexMap<EdgeId, IndexSet<NodeId>> {
        let mut related = IndexSet::from([node]);
        let mut at = 0;
        while let Some(next) = related.get_index(at).copied() {
            self.count(self[next].edges_out.len() + self[next].edges_in.len());
            let is_peer = |edge: &EdgeId| self[*edge].is_peer() && self.is_valid(*edge);
            let out = self[next].edges_out.values().copied().filter(is_peer).filter_map(|edge| self[edge].to);
            let into = self[next].edges_in.iter().copied().filter(is_peer).map(|edge| self[edge].from);
            let found: Vec<_> = out.chain(into).collect();
            related.extend(found);
            at += 1;
        }
        self.count(at);
        let mut groups = IndexMap::new();
        for peer in related {
            for edge in self.edges_in(peer) {
                let is_entry = !self[edge].is_peer() || self.is_top(self[edge].from);
                if is_entry && self.is_valid(edge) {
                    let group = self.peers_of(peer);
                    if group.contains(&node) {
                        groups.insert(edge, group);
                    }
                }
            }
        }
        groups
    }

    /// A package with its peers and theirs.
    fn peers_of(&self, node: NodeId) -> IndexSet<NodeId> {
        let mut group = IndexSet::from([node]);
        let mut at = 0;
        while let Some(next) = group.get_index(at).copied() {
            self.count(self[next].edges_out.len());
            let edges = self[next].edges_out.values().filter(|edge| self[**edge].is_peer() && self.is_valid(**edge));
            let found: Vec<_> = edges.filter_map(|edge| self[*edge].to).collect();
            group.extend(found);
            at += 1;
        }
        self.count(at);
        group
    }

    /// The deepest place for a dependency of this name: where it is no peer.
    pub(super) fn deepest_place(&self, start: NodeId, name: &str) -> NodeId {
        self.count(4);
        let fits = |node: &NodeId| self.is_top(*node) || self.edge_out(*node, name).is_none_or(|edge| !self[edge].is_peer());
        self.ancestry(start).find(fits).unwrap_or(self.project)
    }
}
