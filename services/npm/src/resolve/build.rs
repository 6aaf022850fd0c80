//! Builds the tree: finds dependencies that are not met, chooses versions for them, and places these.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    Options,
    check::{Chain, Fit, check_peers},
    collate,
    graph::{EdgeId, Graph, Kind, NodeId},
    place::{Placements, Policy},
    queue::Queue,
};
use crate::{
    error::{Error, shown},
    fetch::{Answer, Packuments, Request},
    integrity::Integrity,
    lock::Picks,
    manifest::Manifest,
};

/// What a build works with.
pub(super) struct Builder<'a> {
    pub(super) graph: Graph,
    pub(super) queue: Queue,
    /// Packages that could not be loaded, and why.
    pub(super) failures: BTreeMap<NodeId, Error>,
    pub(super) conflicts: Vec<EdgeId>,
    pub(super) options: &'a Options,
    /// Versions that a lock file of another tool has chosen.
    pub(super) picks: Option<&'a Picks>,
    pub(super) packuments: &'a mut Packuments,
    /// Requests whose packuments are missing. The tree is complete only without any.
    pub(super) needs: BTreeSet<Request>,
    /// Whether the tree began with that of a lock file.
    pub(super) has_lock_tree: bool,
    /// Levels of peers that are being loaded.
    levels: usize,
    /// The trial tree of a package: its dependencies alone, in which its peers are found.
    trials: HashMap<NodeId, NodeId>,
    /// What asked for the group of peers that a package came with.
    sources: HashMap<NodeId, NodeId>,
}

/// The packages of a group of peers that cannot be left out.
type Required = HashSet<NodeId>;

impl<'a> Builder<'a> {
    pub(super) fn new(graph: Graph, options: &'a Options, picks: Option<&'a Picks>, packuments: &'a mut Packuments) -> Self {
        Self {
            graph,
            queue: Queue::default(),
            failures: BTreeMap::new(),
            conflicts: Vec::new(),
            options,
            picks,
            packuments,
            needs: BTreeSet::new(),
            has_lock_tree: false,
            levels: 0,
            trials: HashMap::new(),
            sources: HashMap::new(),
        }
    }

    /// Meets all dependencies, beginning with those of the project.
    pub(super) fn build(&mut self) -> Result<(), Error> {
        self.queue.push(self.graph.project);
        while let Some(node) = self.queue.next(&self.graph) {
            self.meet_dependencies(node)?;
            let limit = self.options.limits.packages;
            self.graph.step()?;
            // Trial trees and replaced packages count, too.
            if self.graph.nodes.len() > limit.saturating_mul(30) || self.graph.subtree(self.graph.project).len() > limit + 1 {
                return Err(Error::too_large("the project", limit as u64, "packages"));
            }
        }
        Ok(())
    }

    fn meet_dependencies(&mut self, node: NodeId) -> Result<(), Error> {
        let peer_source = self.sources.get(&node).copied().unwrap_or(node);
        let mut tasks = Vec::new();
        for edge in self.problems(node) {
            self.graph.step()?;
            if !self.graph[edge].is_conflicted {
                let dep = self.find_dependency(edge, if self.graph[edge].is_peer() { peer_source } else { node })?;
                tasks.push((edge, dep));
            }
        }
        tasks.sort_by(|(a, _), (b, _)| collate::compare(&self.graph[*a].name, &self.graph[*b].name));
        for (edge, dep) in tasks {
            let policy = Policy { accepts_conflicts: self.options.accepts_peer_conflicts, max_depth: self.options.limits.depth };
            let mut placements = Placements::default();
            self.graph.place(&Chain { edge, before: None }, dep, policy, &mut placements)?;
            self.note(placements);
        }
        Ok(())
    }

    /// Dependencies that are missing or do not fit.
    fn problems(&self, node: NodeId) -> Vec<EdgeId> {
        let of_package = self.graph[node].manifest.bundled.iter().filter(|_| node != self.graph.project);
        let bundled: HashSet<&str> = of_package.map(String::as_str).collect();
        let is_problem = |id: &EdgeId| {
            let edge = &self.graph[*id];
            !bundled.contains(&*edge.name)
                && match edge.to {
                    None => edge.kind != Kind::OptionalPeer,
                    Some(to) => !self.failures.contains_key(&to) && !self.graph.is_valid(*id),
                }
        };
        self.graph.edges_out(node).into_iter().filter(is_problem).collect()
    }

    fn find_dependency(&mut self, edge: EdgeId, source: NodeId) -> Result<NodeId, Error> {
        let trial = match self.trials.get(&source) {
            Some(trial) => *trial,
            None => self.trial_tree(source),
        };
        let known = self.graph.edge_out(trial, &self.graph[edge].name).filter(|of_trial| self.graph.is_valid(*of_trial));
        let known = known.and_then(|of_trial| self.graph[of_trial].to).filter(|dep| self.graph.satisfies(*dep, edge));
        if let Some(known) = known.or_else(|| self.present_optional_peer(edge)) {
            return Ok(known);
        }
        let mut required = HashSet::from([self.graph[edge].from]);
        let parent = self.graph[edge].is_peer().then_some(trial);
        self.load(edge, parent, None, &mut required)
    }

    /// A package that is already in the tree, for an optional peer that is not met.
    fn present_optional_peer(&self, edge: EdgeId) -> Option<NodeId> {
        if self.graph[edge].kind != Kind::OptionalPeer {
            return None;
        }
        let from = self.graph[edge].from;
        let nodes = self.graph.subtree(self.graph[from].parent.unwrap_or(from));
        nodes.into_iter().skip(1).find(|node| self.graph.satisfies(*node, edge))
    }

    /// Queues what a placement has changed.
    fn note(&mut self, placements: Placements) {
        self.conflicts.extend(placements.conflicts);
        for placed in placements.placed {
            let failure = self.failures.get(&placed.original).cloned();
            self.failures.extend(failure.map(|error| (placed.node, error)));
            for edge in self.graph.edges_in(placed.node) {
                let is_broken = edge != placed.edge && !self.graph[edge].is_conflicted && !self.graph.is_valid(edge);
                if is_broken && matches!(placed.fit, Fit::Free | Fit::Replace) {
                    self.queue.push_again(self.graph[edge].from);
                }
            }
            self.queue.push(placed.node);
            placed.unsettled.into_iter().for_each(|node| self.queue.push_again(node));
        }
    }

    /// A tree of its own with the dependencies of a package, in which the peers of these are found.
    fn trial_tree(&mut self, source: NodeId) -> NodeId {
        let (name, manifest, rule) = {
            let node = &self.graph[source];
            (node.name.clone(), node.manifest.clone(), node.rule)
        };
        let trial = self.graph.add_node(name, manifest, rule);
        self.graph[trial].source = Some(source);
        self.graph.load_edges(trial, source == self.graph.project);
        self.trials.insert(source, trial);
        trial
    }

    /// Chooses a version for a dependency and puts it, with its peers and theirs, into a trial tree. If `second` asks for the same package,
    /// a version that fits both is preferred.
    fn load(&mut self, edge: EdgeId, parent: Option<NodeId>, second: Option<EdgeId>, required: &mut Required) -> Result<NodeId, Error> {
        let parent = parent.unwrap_or_else(|| self.trial_tree(self.graph[edge].from));
        let first = self.choose(edge, parent)?;
        let other = match second.filter(|second| !self.graph.is_valid(*second)) {
            Some(second) => Some(self.choose(second, parent)?),
            None => None,
        };
        let node = other.filter(|_| self.graph.is_valid(edge)).unwrap_or(first);
        self.graph.attach(node, parent);
        let is_required = |edge: EdgeId| required.contains(&self.graph[edge].from) && self.graph[edge].kind != Kind::OptionalPeer;
        if is_required(edge) || second.is_some_and(is_required) {
            required.insert(node);
        }
        if let Some(source) = self.graph[parent].source {
            self.sources.insert(node, source);
        }
        check_peers(self.levels)?;
        self.levels += 1;
        self.load_peers(node, required)?;
        self.levels -= 1;
        Ok(node)
    }

    /// A node for the version that fits a dependency. If none does, the node is a failure.
    fn choose(&mut self, edge: EdgeId, parent: NodeId) -> Result<NodeId, Error> {
        self.graph.step()?;
        let (manifest, integrity, failure) = match self.choice(edge) {
            Ok((manifest, integrity)) => (manifest, integrity, None),
            Err(error) => (Arc::new(Manifest::default()), None, Some(error)),
        };
        let node = self.graph.add_node(self.graph[edge].name.clone(), manifest, None);
        if integrity.is_some() {
            self.graph[node].integrity = integrity;
        }
        self.graph[node].is_failed = failure.is_some();
        self.failures.extend(failure.map(|error| (node, error)));
        self.graph.attach(node, parent);
        self.graph.load_edges(node, false);
        Ok(node)
    }

    /// The version, and the hash of a lock file. An error if there is none. If its packument is missing, that is noted.
    fn choice(&mut self, edge: EdgeId) -> Result<(Arc<Manifest>, Option<Integrity>), Error> {
        let (name, text) = (self.graph[edge].name.clone(), self.graph.effective_spec(edge));
        let by = self.graph.label(self.graph[edge].from);
        let spec = match &*self.graph.spec(&text) {
            Ok(spec) => spec.clone(),
            Err(source) => return Err(Error::field(&by, &name, &text, source.description())),
        };
        if let Some(locked) = self.locked(edge, spec.package(&name)).filter(|(locked, _)| spec.wanted.accepts(locked.parsed.as_ref())) {
            return Ok(locked);
        }
        let request = (name, text);
        match self.packuments.answer(&request, &spec, &by, &self.graph.steps) {
            Answer::Chosen(manifest) => Ok((manifest, None)),
            Answer::None(error) => Err(error),
            Answer::Unknown => {
                let error = Error::NoPackage { package: shown(&request.0), by };
                self.needs.insert(request);
                Err(error)
            }
        }
    }

    /// The version that a lock file of another tool has for a dependency, and the hash that it has there.
    fn locked(&mut self, edge: EdgeId, package: &str) -> Option<(Arc<Manifest>, Option<Integrity>)> {
        let from = self.graph[self.graph[edge].from].source.unwrap_or(self.graph[edge].from);
        let (from, is_project) = (&self.graph[from].manifest, from == self.graph.project);
        let by = (!is_project).then_some((from.name.as_str(), from.version.as_str()));
        let locked = self.picks?.get(by, &self.graph[edge].name, &self.graph[edge].spec)?;
        let manifest = self.packuments.exact(package, &locked.version, &self.graph.steps)?;
        Some((manifest, locked.integrity.clone()))
    }

    /// Adds the peers of a package, and their peers, to its trial tree.
    fn load_peers(&mut self, node: NodeId, required: &mut Required) -> Result<(), Error> {
        let is_open = |edge: &EdgeId| self.graph[*edge].is_peer() && !(self.graph[*edge].to.is_some() && self.graph.is_valid(*edge));
        let mut edges: Vec<_> = self.graph.edges_out(node).into_iter().filter(is_open).collect();
        edges.sort_by(|a, b| collate::compare(&self.graph[*a].name, &self.graph[*b].name));
        for edge in edges {
            // A better version may have taken the place of the node meanwhile.
            let Some(trial) = self.graph[node].parent else { break };
            if self.graph[edge].to.is_none() || !self.graph.is_valid(edge) {
                self.load_peer(edge, trial, required)?;
            }
        }
        Ok(())
    }

    fn load_peer(&mut self, edge: EdgeId, trial: NodeId, required: &mut Required) -> Result<(), Error> {
        let of_parent = self.graph.edge_out(trial, &self.graph[edge].name);
        let is_of_project = self.graph[trial].source.is_some_and(|source| self.graph.is_top(source));
        let may_conflict = self.options.accepts_peer_conflicts || !is_of_project;
        let Some(current) = self.graph[edge].to else {
            let Some(of_parent) = of_parent else {
                if self.is_idle_peer(edge, trial) {
                    return Ok(());
                }
                return self.load(edge, Some(trial), None, required).map(drop);
            };
            // What the dependent itself asks for counts, and within that the version that the peer wants.
            let dep = self.load(of_parent, Some(trial), Some(edge), required)?;
            if self.graph.is_valid(edge) {
                return Ok(());
            }
            if may_conflict || !required.contains(&dep) || self.failures.contains_key(&dep) {
                self.graph[edge].is_conflicted = true;
                return Ok(());
            }
            if self.graph[self.graph[edge].from].parent.is_none() {
                return Ok(());
            }
            return Err(self.peer_conflict(edge));
        };
        // Something is there already: it is replaced if the new version fits all that ask for it.
        let dep = self.load(edge, None, None, required)?;
        if self.graph.can_replace(dep, current, &HashSet::new()) {
            return self.load(edge, Some(trial), None, required).map(drop);
        }
        if may_conflict || !required.contains(&self.graph[edge].from) || self.failures.contains_key(&current) {
            return Ok(());
        }
        Err(self.peer_conflict(edge))
    }

    /// Whether a peer is optional, and what would be found in the tree is nothing, or fits. One that does not fit must be looked at, so that
    /// it gets a place of its own.
    fn is_idle_peer(&self, edge: EdgeId, trial: NodeId) -> bool {
        let found = || self.graph[trial].source.and_then(|source| self.graph.resolve(source, &self.graph[edge].name));
        self.graph[edge].kind == Kind::OptionalPeer && found().is_none_or(|found| self.graph.satisfies(found, edge))
    }

    fn peer_conflict(&self, edge: EdgeId) -> Error {
        let from = self.graph[edge].from;
        let present = self.graph.resolve(from, &self.graph[edge].name).map_or_else(|| "none".to_owned(), |node| self.graph.label(node));
        Error::PeerConflict {
            package: self.graph[edge].name.to_string(),
            wanted: shown(&self.graph.effective_spec(edge)),
            by: self.graph.label(from),
            present,
        }
    }
}
