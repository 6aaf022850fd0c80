//! Puts a package with its peers into the tree.

use indexmap::IndexSet;

use super::{
    check::{Chain, Fit, Verdict},
    collate,
    graph::{EdgeId, Graph, NodeId},
};
use crate::error::{Error, shown};

/// How packages are placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Whether peers that do not fit are taken. Otherwise conflicts of the project's own dependencies are errors.
    pub(super) accepts_conflicts: bool,
    pub(super) max_depth: usize,
}

/// A package that was put into the tree.
pub(super) struct Placed {
    pub(super) node: NodeId,
    /// The node of the trial tree that it is a copy of.
    pub(super) original: NodeId,
    /// The dependency that it is for.
    pub(super) edge: EdgeId,
    pub(super) fit: Fit,
    /// What lost a dependency by that.
    pub(super) unsettled: IndexSet<NodeId>,
}

/// What was placed, and peers that do not fit.
#[derive(Default)]
pub(super) struct Placements {
    pub(super) placed: Vec<Placed>,
    pub(super) conflicts: Vec<EdgeId>,
}

impl Graph {
    /// Puts `dep` where npm would: as high as it fits. Its peers come along.
    pub(super) fn place(&mut self, chain: &Chain<'_>, dep: NodeId, policy: Policy, done: &mut Placements) -> Result<(), Error> {
        let edge = chain.edge;
        if self[edge].to.is_some() && self.is_valid(edge) {
            return Ok(());
        }
        let Some((target, verdict)) = self.choose_place(chain, dep, policy)? else {
            self.note_conflict(edge, done);
            return Ok(());
        };
        let fit = if verdict.with_peers == Fit::Conflict { verdict.alone } else { verdict.with_peers };
        if fit == Fit::Keep {
            if self[edge].is_peer() && !self.is_valid(edge) {
                self.note_conflict(edge, done);
            }
            self.prune(target, true);
            return Ok(());
        }
        if self.depth(target) >= policy.max_depth {
            return Err(Error::too_large(&self.path(target), policy.max_depth as u64, "levels of node_modules"));
        }
        let trial = self[dep].parent;
        let at = done.placed.len();
        let looped = self.ancestry(target).find(|node| !self.is_top(*node) && self.matches(*node, dep));
        if let Some(looped) = looped {
            let node = self.add_link(looped);
            self.attach(node, target);
            done.placed.push(Placed { node, original: dep, edge, fit: verdict.alone, unsettled: IndexSet::new() });
            return Ok(());
        }
        let node = self.copy(dep);
        done.placed.push(Placed { node, original: dep, edge, fit: verdict.alone, unsettled: IndexSet::new() });
        match self.child(target, &self[edge].name) {
            Some(old) => done.placed[at].unsettled = self.replace_present(old, node, done),
            None => self.attach(node, target),
        }
        if self[edge].is_peer() && !self.satisfies(node, edge) {
            self.note_conflict(edge, done);
        }
        self.prune_duplicates(edge, node, target);
        match trial {
            Some(trial) => self.place_peers(chain, (node, trial), policy, done),
            None => Ok(()),
        }
    }

    fn note_conflict(&mut self, edge: EdgeId, done: &mut Placements) {
        self[edge].is_conflicted = true;
        done.conflicts.push(edge);
    }

    /// The highest place on the way up to the first conflict. `None` if the dependency is left unmet.
    fn choose_place(&mut self, chain: &Chain<'_>, dep: NodeId, policy: Policy) -> Result<Option<(NodeId, Verdict)>, Error> {
        let name = self[chain.edge].name.clone();
        let places: Vec<_> = self.ancestry(chain.deepest(self)).collect();
        let (mut chosen, mut alone) = (None, None);
        for target in places {
            let wanted = self.edge_out(target, &name);
            if !self.is_top(target) && wanted.is_some_and(|edge| self[edge].is_peer()) {
                continue;
            }
            let verdict = self.check(chain, dep, target)?;
            if verdict.alone != Fit::Conflict {
                alone = Some((target, verdict));
            }
            if verdict.with_peers == Fit::Conflict {
                break;
            }
            chosen = Some((target, verdict));
            if self[dep].is_failed {
                break;
            }
        }
        if chosen.is_none() && !policy.accepts_conflicts && self.is_of_project(chain.first()) {
            return Err(self.conflict(chain.edge, dep));
        }
        Ok(chosen.or(alone))
    }

    /// The error of a package that fits nowhere: the peer of it that does not fit, or itself.
    pub(super) fn conflict(&self, edge: EdgeId, dep: NodeId) -> Error {
        let of_peers = self.edges_out(dep).into_iter().filter(|edge| self[*edge].is_peer());
        let unmet = of_peers.filter_map(|peer| {
            let present = self.resolve(self.project, &self[peer].name)?;
            (!self.satisfies(present, peer)).then_some((peer, self.label(dep), present))
        });
        let own = || {
            let present = self.resolve(self[edge].from, &self[edge].name).unwrap_or(dep);
            (edge, self.label(self[edge].from), present)
        };
        let (edge, by, present) = unmet.into_iter().next().unwrap_or_else(own);
        Error::PeerConflict {
            package: self[edge].name.to_string(),
            wanted: shown(&self.effective_spec(edge)),
            by,
            present: self.label(present),
        }
    }

    /// Whether the project itself, over peers at most, asks for what the edge leads to.
    fn is_of_project(&self, edge: EdgeId) -> bool {
        let from = self[edge].from;
        if self.is_top(from) {
            return true;
        }
        if !self[edge].is_peer() {
            return false;
        }
        let edges = self.edges_in(from);
        let is_top = |edge: &EdgeId| self.is_top(self[*edge].from);
        if edges.iter().any(|edge| !self[*edge].is_peer() && is_top(edge)) {
            return true;
        }
        edges.iter().any(|edge| self[*edge].is_peer()) && self.peer_groups(from).keys().any(is_top)
    }

    fn place_peers(
        &mut self,
        chain: &Chain<'_>,
        (node, trial): (NodeId, NodeId),
        policy: Policy,
        done: &mut Placements,
    ) -> Result<(), Error> {
        for edge in self.edges_out(node) {
            if !self[edge].is_peer() || self[edge].is_conflicted || self.is_valid(edge) {
                continue;
            }
            // Without one the peer is optional, and a peer that does not fit was given up already.
            let Some(peer) = self.child(trial, &self[edge].name) else { continue };
            if self.satisfies(peer, edge) {
                self.place(&Chain { edge, before: Some(chain) }, peer, policy, done)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, dep: NodeId) -> NodeId {
        let (name, manifest, rule) = (self[dep].name.clone(), self[dep].manifest.clone(), self[dep].rule);
        let node = self.add_node(name, manifest, rule);
        (self[node].is_failed, self[node].integrity) = (self[dep].is_failed, self[dep].integrity.clone());
        self.load_edges(node, false);
        node
    }

    fn add_link(&mut self, to: NodeId) -> NodeId {
        let (name, manifest) = (self[to].name.clone(), self[to].manifest.clone());
        let node = self.add_node(name, manifest, None);
        self[node].link = Some(to);
        node
    }

    /// Puts a node into the place of another one. Returns what lost a dependency by that.
    fn replace_present(&mut self, old: NodeId, new: NodeId, done: &mut Placements) -> IndexSet<NodeId> {
        let target = self[old].parent;
        let mut freed = Vec::new();
        for edge in self.edges_out(old) {
            if let Some(to) = self[edge].to.filter(|_| self.edge_out(new, &self[edge].name).is_none()) {
                freed.extend(self.gather([to], |edge| self[edge].to != Some(to)));
            }
        }
        let mut pruned = Vec::new();
        for edge in self.edges_in(old) {
            let from = self[edge].from;
            if !self[edge].is_peer() || self[edge].is_conflicted || self[from].parent != target || self.satisfies(new, edge) {
                continue;
            }
            for entry in self.peer_groups(from).into_keys() {
                let Some(node) = self[entry].to else { continue };
                if Some(self.deepest_place(node, &self[node].name)) != target && !self.is_top(self[entry].from) {
                    pruned.extend(self.gather([node], |edge| self[edge].to != Some(node) && !self[edge].is_conflicted));
                } else {
                    self.note_conflict(edge, done);
                }
            }
        }
        self.replace(old, new);
        self.prune_freed(new, &freed);
        let mut unsettled = IndexSet::new();
        for node in pruned {
            unsettled.extend(self.edges_in(node).into_iter().map(|edge| self[edge].from));
            self.detach(node);
        }
        unsettled
    }

    /// Removes what only a replaced node needed.
    fn prune_freed(&mut self, node: NodeId, freed: &[NodeId]) {
        let broken = self.edges_out(node).into_iter().filter(|edge| !self.is_valid(*edge)).filter_map(|edge| self[edge].to);
        let mut candidates: IndexSet<NodeId> = broken.collect();
        for dep in freed {
            candidates.extend(self.gather([*dep], |edge| self[edge].to != Some(*dep) && self.is_valid(edge)));
        }
        let counts = |edge: EdgeId| self[edge].from != node && self[edge].to != Some(node) && self.is_valid(edge);
        for junk in self.gather(candidates, counts) {
            self.detach(junk);
        }
    }

    /// Removes nodes that the new one makes superfluous.
    fn prune_duplicates(&mut self, edge: EdgeId, node: NodeId, target: NodeId) {
        if let Some(to) = self[edge].to.filter(|to| *to != node && self.is_valid(edge)) {
            self.prune(to, false);
        }
        let name = self[edge].name.clone();
        let root = self.root(target);
        let same: Vec<_> = self.subtree(target).into_iter().filter(|node| self[*node].name == name && !self.is_top(*node)).collect();
        for node in same {
            if self.is_exhausted() {
                return;
            }
            if self.root(node) != root {
                continue;
            }
            self.prune(node, false);
            if self.root(node) == root {
                self[node].children.values().copied().collect::<Vec<_>>().into_iter().for_each(|child| self.prune(child, false));
            }
        }
    }

    /// Removes a node, or nodes below it, if what would be found instead is as good.
    fn prune(&mut self, node: NodeId, descends: bool) {
        self.count(1);
        if self.is_exhausted() {
            return;
        }
        if self.can_dedupe(node) {
            for junk in self.gather([node], |edge| self[edge].to != Some(node) && self.is_valid(edge)) {
                self.detach(junk);
            }
        } else if descends {
            let mut children: Vec<_> = self[node].children.values().copied().collect();
            children.sort_by(|a, b| collate::compare(&self[*a].name, &self[*b].name));
            children.into_iter().for_each(|child| self.prune(child, true));
        }
    }
}
