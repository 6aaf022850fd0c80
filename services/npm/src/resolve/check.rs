//! Whether a package can be put into a place. Nothing changes here.

use std::collections::HashSet;

use super::graph::{EdgeId, Graph, NodeId};
use crate::error::Error;

/// What happens in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The place is free.
    Free,
    /// What is there fits, and stays.
    Keep,
    /// What is there can be replaced.
    Replace,
    Conflict,
}

/// A dependency that is placed, after the one that brought it along as a peer.
#[derive(Clone, Copy)]
pub(super) struct Chain<'c> {
    pub(super) edge: EdgeId,
    pub(super) before: Option<&'c Chain<'c>>,
}

impl Chain<'_> {
    /// The edge that began it.
    pub(super) fn first(&self) -> EdgeId {
        self.before.map_or(self.edge, Chain::first)
    }

    fn length(&self) -> usize {
        self.before.map_or(0, |before| before.length() + 1)
    }

    /// The deepest place for the dependency: a peer is never below the package that brings it.
    pub(super) fn deepest(&self, graph: &Graph) -> NodeId {
        let start = self.before.map_or_else(|| graph[self.edge].from, |before| before.deepest(graph));
        graph.deepest_place(start, &graph[self.edge].name)
    }
}

/// The most peers of peers. Real packages have less than ten.
const MAX_PEERS: usize = 64;

/// Each peer of a peer is a level of recursion.
pub(super) fn check_peers(levels: usize) -> Result<(), Error> {
    if levels > MAX_PEERS { Err(Error::too_large("the resolution", MAX_PEERS as u64, "peers of peers")) } else { Ok(()) }
}

/// A package, the place, and the peers on the way to it.
struct Candidate<'c> {
    chain: &'c Chain<'c>,
    dep: NodeId,
    target: NodeId,
    path: &'c [NodeId],
}

/// The answer for a package with its peers, and for the package alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) with_peers: Fit,
    pub(super) alone: Fit,
}

impl Verdict {
    fn alike(fit: Fit) -> Self {
        Self { with_peers: fit, alone: fit }
    }
}

impl Graph {
    /// Whether the package can be put into the `node_modules` of `target`, with its peers there or above.
    pub(super) fn check(&mut self, chain: &Chain<'_>, dep: NodeId, target: NodeId) -> Result<Verdict, Error> {
        self.check_candidate(&Candidate { chain, dep, target, path: &[] })
    }

    fn check_candidate(&mut self, candidate: &Candidate<'_>) -> Result<Verdict, Error> {
        self.step()?;
        let Candidate { chain, dep, target, path } = *candidate;
        check_peers(path.len() + chain.length())?;
        let name = self[chain.edge].name.clone();
        let current = self.child(target, &name);
        if self[dep].is_failed {
            return Ok(Verdict::alike(if current.is_some() { Fit::Replace } else { Fit::Free }));
        }
        if let Some(wanted) = self.edge_out(target, &name) {
            let is_inside_dependent = self[wanted].is_peer() && !self.is_top(target);
            let contradicts = current.is_none() && wanted != chain.edge && !self.satisfies(dep, wanted);
            if is_inside_dependent || contradicts {
                return Ok(Verdict::alike(Fit::Conflict));
            }
        }
        match current {
            Some(current) => self.check_occupied(candidate, current),
            None => self.check_free(candidate),
        }
    }

    fn check_free(&mut self, candidate: &Candidate<'_>) -> Result<Verdict, Error> {
        let Candidate { chain, dep, target, .. } = *candidate;
        // What the name resolves to here now would be hidden from those that depend on it.
        let hidden = if target == self[chain.first()].from { None } else { self.resolve(target, &self[chain.edge].name) };
        if let Some(hidden) = hidden {
            let mut edges = self[hidden].edges_in.iter().copied();
            if edges.any(|edge| self.is_below(self[edge].from, target) && self.is_valid(edge) && !self.satisfies(dep, edge)) {
                return Ok(Verdict::alike(Fit::Conflict));
            }
        }
        self.with_peers(candidate, Fit::Free)
    }

    fn check_occupied(&mut self, candidate: &Candidate<'_>, current: NodeId) -> Result<Verdict, Error> {
        let Candidate { chain, dep, target, path, .. } = *candidate;
        let edge = chain.edge;
        if self.matches(dep, current) && (self.satisfies(current, edge) || !self.satisfies(dep, edge)) {
            return Ok(Verdict::alike(Fit::Keep));
        }
        let (new, old) = (&self[dep].manifest.parsed, &self[current].manifest.parsed);
        let is_newer = new.is_some() && old.is_some() && new >= old;
        let prefers_sharing = self[edge].is_peer() || !path.is_empty();
        let none = HashSet::new();
        let mut refused = None;
        if is_newer && self.can_replace(dep, current, &none) {
            let verdict = self.with_peers(candidate, Fit::Replace)?;
            if verdict.with_peers != Fit::Conflict {
                return Ok(verdict);
            }
            refused = Some(verdict);
        }
        if self.satisfies(current, edge) {
            return Ok(Verdict { with_peers: Fit::Keep, alone: refused.map_or(Fit::Keep, |verdict| verdict.alone) });
        }
        if refused.is_some() {
            return Ok(Verdict { with_peers: Fit::Conflict, alone: Fit::Replace });
        }
        if prefers_sharing && !is_newer && self.can_replace(dep, current, &none) {
            return self.with_peers(candidate, Fit::Replace);
        }
        if target != chain.deepest(self) {
            return Ok(Verdict::alike(Fit::Conflict));
        }
        let must_be_here = !self[edge].is_peer() && target == self[edge].from;
        if must_be_here || (chain.before.is_some() || self[edge].is_peer()) && self.can_move_groups(candidate, current) {
            return self.with_peers(candidate, Fit::Replace);
        }
        Ok(Verdict::alike(Fit::Conflict))
    }

    /// Whether every group of peers of the present package can be replaced by the new group, or be put deeper.
    fn can_move_groups(&self, candidate: &Candidate<'_>, current: NodeId) -> bool {
        let Candidate { chain, dep, target, .. } = *candidate;
        let groups = self.peer_groups(current);
        groups.iter().filter(|(entry, _)| **entry != chain.edge && **entry != chain.first()).all(|(entry, peers)| {
            let entry_node = self[*entry].to.unwrap_or(current);
            if self.is_group_replaced(dep, entry_node) {
                return true;
            }
            peers.iter().all(|peer| {
                let deepest = self.deepest_place(self[*entry].from, &self[*peer].name);
                deepest != target && !self.is_below(target, deepest)
            })
        })
    }

    /// Whether the peers beside `dep` fit in the place of the group of `entry`.
    fn is_group_replaced(&self, dep: NodeId, entry: NodeId) -> bool {
        let Some(trial) = self[dep].parent else { return true };
        if let Some(replacement) = self.child(trial, &self[entry].name) {
            let names: HashSet<String> = self[trial].children.keys().cloned().collect();
            return self.can_replace(replacement, entry, &names);
        }
        let mut walk = vec![entry];
        let mut at = 0;
        while let Some(peer) = walk.get(at).copied() {
            self.count(self[peer].edges_out.len());
            for edge in self[peer].edges_out.values().filter(|edge| self[**edge].is_peer() && self.is_valid(**edge)) {
                match (self.child(trial, &self[*edge].name), self[*edge].to) {
                    (Some(replacement), _) if !self.satisfies(replacement, *edge) => return false,
                    (None, Some(to)) if !walk.contains(&to) => walk.push(to),
                    _ => {}
                }
            }
            at += 1;
        }
        true
    }

    /// The verdict for a package that could be placed alone: its peers must have a place at the target or above.
    fn with_peers(&mut self, candidate: &Candidate<'_>, fit: Fit) -> Result<Verdict, Error> {
        let mut path = candidate.path.to_vec();
        path.push(candidate.dep);
        let mut has_conflict = false;
        for edge in self.edges_out(candidate.dep) {
            let Some(peer) = self[edge].to.filter(|peer| self[edge].is_peer() && !path.contains(peer)) else { continue };
            let target = self.deepest_place(candidate.target, &self[peer].name);
            let chain = Chain { edge, before: Some(candidate.chain) };
            let verdict = self.check_candidate(&Candidate { chain: &chain, dep: peer, target, path: &path })?;
            has_conflict |= verdict.with_peers == Fit::Conflict;
        }
        Ok(Verdict { with_peers: if has_conflict { Fit::Conflict } else { fit }, alone: fit })
    }
}
