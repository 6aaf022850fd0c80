//! The result of a build.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    Resolution,
    build::Builder,
    graph::{Edge, Graph, Kind, NodeId},
    marks::Marks,
};
use crate::{
    error::{Error, shown},
    finding::{Code, Finding},
    known,
    lock::{Content, Lock},
    manifest::PackageJson,
    name,
    tree::{Package, Tree},
};

/// The most findings of a resolution.
const MAX_FINDINGS: usize = 1_000;

impl Graph {
    /// A rule of `overrides` must not change a dependency of the project itself.
    pub(super) fn check_own_overrides(&self) -> Result<(), Error> {
        for edge in self.edges_out(self.project) {
            if *self.effective_spec(edge) != *self[edge].spec {
                return Err(Error::OverrideConflict { package: self[edge].name.to_string(), wanted: shown(&self[edge].spec) });
            }
        }
        Ok(())
    }
}

impl Builder<'_> {
    /// Checks that all is there that the project needs, and describes the tree.
    pub(super) fn finish(mut self, package: &PackageJson, lock: Option<&Lock>) -> Result<Resolution, Error> {
        if self.has_lock_tree {
            let needed = self.graph.marks().needed;
            let nodes = self.graph.subtree(self.graph.project);
            nodes.into_iter().filter(|node| !needed.contains(node)).for_each(|node| self.graph.detach(node));
        }
        let marks = self.graph.marks();
        let nodes: Vec<_> = self.graph.subtree(self.graph.project).into_iter().skip(1).collect();
        for node in nodes.iter().filter(|node| marks.required.contains(node)) {
            if let Some(error) = self.failures.get(node) {
                return Err(error.clone());
            }
        }
        let skipped = self.skipped(&nodes, &marks)?;
        let mut findings: BTreeSet<Finding> = lock.iter().flat_map(|lock| lock.findings.iter().cloned()).collect();
        let lists = [&package.dependencies, &package.dev_dependencies, &package.optional_dependencies, &package.peer_dependencies];
        lists.into_iter().for_each(|list| findings.extend(self.unsupported("The project", list)));
        findings.extend(lock.iter().flat_map(|lock| self.lock_findings(lock)));
        findings.extend(self.conflict_findings());
        for node in &nodes {
            if findings.len() >= MAX_FINDINGS {
                break;
            }
            findings.extend(self.package_findings(*node, &marks, &skipped));
        }
        let tree = self.tree(&nodes, &marks, &skipped)?;
        let considered = tree.packages.values().map(|package| (package.name.clone(), package.version.clone())).collect();
        Ok(Resolution { tree, findings: findings.into_iter().take(MAX_FINDINGS).collect(), considered })
    }

    /// Optional packages that are not installed.
    fn skipped(&self, nodes: &[NodeId], marks: &Marks) -> Result<HashSet<NodeId>, Error> {
        let mut skipped = HashSet::new();
        let platform = &self.options.platform;
        for node in nodes.iter().filter(|node| !marks.required.contains(node)) {
            self.graph.step()?;
            let manifest = &self.graph[*node].manifest;
            let is_supported =
                manifest.supports(&platform.os, &platform.cpu, platform.libc.as_deref()) && manifest.runs_on(&self.options.node);
            if !skipped.contains(node) && (self.graph[*node].is_failed || !is_supported) {
                let group = self.graph.optional_group(*node, &skipped);
                skipped.extend(group);
            }
        }
        Ok(skipped)
    }

    fn tree(&self, nodes: &[NodeId], marks: &Marks, skipped: &HashSet<NodeId>) -> Result<Tree, Error> {
        let mut packages = BTreeMap::new();
        for node in nodes.iter().copied().filter(|node| !self.graph[*node].is_failed) {
            self.graph.step()?;
            let (of, manifest) = (&self.graph[node], &self.graph[node].manifest);
            let package = Package {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                integrity: of.integrity.clone(),
                dependencies: self.dependencies(node),
                bundled: manifest.bundled.clone(),
                is_dev: !marks.production.contains(&node),
                is_optional: !marks.required.contains(&node),
                is_skipped: skipped.contains(&node),
                link: of.link.map(|to| self.graph.path(to)),
            };
            packages.insert(self.graph.path(node), package);
        }
        Ok(Tree { packages, dependencies: self.dependencies(self.graph.project) })
    }

    fn dependencies(&self, node: NodeId) -> BTreeMap<String, String> {
        let edges = self.graph.edges_out(node).into_iter().map(|edge| &self.graph[edge]);
        let installed = edges.filter_map(|edge| Some((edge, edge.to.filter(|to| !self.graph[*to].is_failed)?)));
        let with_path = |(edge, to): (&Edge, NodeId)| {
            let path = self.graph.path(to);
            // Deep trees of long names have long paths.
            self.graph.count(path.len() / 4);
            (edge.name.to_string(), path)
        };
        installed.map(with_path).collect()
    }

    fn package_findings(&self, node: NodeId, marks: &Marks, skipped: &HashSet<NodeId>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let manifest = &self.graph[node].manifest;
        if let Some(error) = self.failures.get(&node) {
            findings.push(Finding::new(
                Code::OptionalSkipped,
                &self.graph[node].name,
                &format!("The optional package is left out: {error}."),
            ));
        }
        if skipped.contains(&node) || self.graph[node].is_failed || self.graph[node].link.is_some() {
            return findings;
        }
        let is_direct = self.graph[node].edges_in.iter().any(|edge| self.graph[*edge].from == self.graph.project);
        let platform = &self.options.platform;
        if marks.required.contains(&node) && !manifest.supports(&platform.os, &platform.cpu, platform.libc.as_deref()) {
            findings.push(Finding::new(
                Code::WrongPlatform,
                &manifest.name,
                "The package supports only other operating systems or processors.",
            ));
        }
        let label = self.graph.label(node);
        [&manifest.dependencies, &manifest.optional].into_iter().for_each(|list| findings.extend(self.unsupported(&label, list)));
        if is_direct && manifest.is_deprecated {
            findings.push(Finding::new(Code::Deprecated, &manifest.name, "The author has withdrawn this version."));
        }
        if marks.production.contains(&node) && is_direct && self.has_only_foreign_parts(node, skipped) {
            findings.push(known::native(&manifest.name));
        }
        // What other packages bring along may never be imported in a browser.
        if is_direct && marks.production.contains(&node) {
            findings.extend(known::finding(&manifest.name));
        }
        findings
    }

    /// Whether all of the package's parts for single platforms are for others.
    fn has_only_foreign_parts(&self, node: NodeId, skipped: &HashSet<NodeId>) -> bool {
        let optional = self.graph[node].edges_out.values().map(|edge| &self.graph[*edge]).filter(|edge| edge.kind == Kind::Optional);
        let is_part = |part: &NodeId| !self.graph[*part].manifest.cpu.is_empty() || !self.graph[*part].manifest.os.is_empty();
        let parts: Vec<_> = optional.filter_map(|edge| edge.to).filter(is_part).collect();
        !parts.is_empty() && parts.iter().all(|part| skipped.contains(part)) && known::finding(&self.graph[node].manifest.name).is_none()
    }

    fn conflict_findings(&self) -> Vec<Finding> {
        let graph = &self.graph;
        let edges = self.conflicts.iter().copied().filter(|edge| graph.root(graph[*edge].from) == graph.project && !graph.is_valid(*edge));
        edges
            .map(|edge| {
                let present = graph[edge].to.map_or_else(|| "nothing".to_owned(), |node| graph.label(node));
                let (by, wanted) = (graph.label(graph[edge].from), graph.effective_spec(edge));
                Finding::new(
                    Code::PeerConflict,
                    &graph[edge].name,
                    &format!("{by} wants {:?} as a peer and gets {present}.", shown(&wanted)),
                )
            })
            .collect()
    }

    /// Dependencies of the project that do not have the version of the lock file.
    fn lock_findings(&self, lock: &Lock) -> Vec<Finding> {
        let mut findings = Vec::new();
        for edge in self.graph.edges_out(self.graph.project) {
            let (edge, spec) = (&self.graph[edge], self.graph.effective_spec(edge));
            let locked = match &lock.content {
                Content::Versions(picks) => picks.get(None, &edge.name, &edge.spec).map(|locked| locked.version.clone()),
                Content::Places(places) => places.top(&edge.name).map(|entry| entry.version.clone()),
            };
            let actual = edge.to.filter(|node| !self.graph[*node].is_failed).map(|node| self.graph[node].manifest.version.clone());
            if locked == actual || edge.kind == Kind::OptionalPeer {
                continue;
            }
            let (locked, actual) = (locked.unwrap_or_else(|| "none".to_owned()), actual.unwrap_or_else(|| "none".to_owned()));
            let message =
                format!("{} has the version {locked}, which is not used for {:?}. The version is {actual}.", lock.file, shown(&spec));
            findings.push(Finding::new(Code::LockDiffers, &edge.name, &message));
        }
        findings
    }

    /// Dependencies that are not from the registry, or that no package can be.
    fn unsupported(&self, by: &str, list: &[(String, String)]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, spec) in list {
            if let Err(source) = &*self.graph.known_spec(spec) {
                let message = format!("{by} asks for {:?}, {}, which is never fetched. It is left out.", shown(spec), source.description());
                findings.push(Finding::new(Code::UnsupportedSource, name, &message).instead(source.instead()));
            } else if !name::is_valid(name) {
                findings.push(Finding::new(Code::InvalidName, name, &format!("{by} asks for a package with this name. It is left out.")));
            }
        }
        findings
    }
}
