//! The tree in the making: packages with their places, and the dependencies between them.
//!
//! Every package is a node. Its parent is the node in whose `node_modules` it is. A node without a parent is the root of a tree: the
//! project, a trial tree (see `virtual_root` in `build.rs`), or a package that was taken out of the tree.

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
    sync::Arc,
};

use indexmap::IndexMap;

use super::rules::{RuleId, Rules};
use crate::{
    error::Error,
    integrity::Integrity,
    manifest::Manifest,
    spec::{Source, Spec, spec_cost},
    steps::Steps,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EdgeId(usize);

/// The kind of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Production,
    Development,
    Optional,
    Peer,
    OptionalPeer,
}

/// The steps of a new edge, which takes about 300 bytes of memory.
const EDGE: usize = 50;

/// A package.
pub(super) struct Node {
    /// The name of its folder.
    pub(super) name: Arc<str>,
    pub(super) manifest: Arc<Manifest>,
    /// The hash that a lock file has, or that of the manifest.
    pub(super) integrity: Option<Integrity>,
    pub(super) parent: Option<NodeId>,
    /// By the name in lower case: a file system may not know the difference.
    pub(super) children: IndexMap<String, NodeId>,
    pub(super) edges_in: BTreeSet<EdgeId>,
    pub(super) edges_out: IndexMap<Arc<str>, EdgeId>,
    /// Of a trial tree: the node whose dependencies it has.
    pub(super) source: Option<NodeId>,
    pub(super) rule: Option<RuleId>,
    /// Whether it could not be loaded.
    pub(super) is_failed: bool,
    /// The node that stands in for this one.
    pub(super) link: Option<NodeId>,
}

/// A dependency of a package.
pub(super) struct Edge {
    pub(super) name: Arc<str>,
    pub(super) spec: Arc<str>,
    pub(super) kind: Kind,
    pub(super) from: NodeId,
    /// What the name resolves to from there.
    pub(super) to: Option<NodeId>,
    pub(super) rule: Option<RuleId>,
    /// Whether a peer dependency is known not to be met. It is then left so.
    pub(super) is_conflicted: bool,
}

impl Edge {
    pub(super) fn is_peer(&self) -> bool {
        matches!(self.kind, Kind::Peer | Kind::OptionalPeer)
    }

    pub(super) fn is_optional(&self) -> bool {
        matches!(self.kind, Kind::Optional | Kind::OptionalPeer)
    }
}

/// All nodes and edges. They are never removed, only taken out of the tree.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) rules: Rules,
    pub(super) project: NodeId,
    specs: HashMap<Arc<str>, Rc<Result<Spec, Source>>>,
    /// Comparisons so far, and the most that are allowed.
    pub(super) steps: Steps,
    /// Nodes whose rule of `overrides` has changed.
    pub(super) unsettled: Vec<NodeId>,
    pub(super) is_settling: bool,
}

impl std::ops::Index<NodeId> for Graph {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

impl std::ops::IndexMut<NodeId> for Graph {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }
}

impl std::ops::Index<EdgeId> for Graph {
    type Output = Edge;

    fn index(&self, id: EdgeId) -> &Edge {
        &self.edges[id.0]
    }
}

impl std::ops::IndexMut<EdgeId> for Graph {
    fn index_mut(&mut self, id: EdgeId) -> &mut Edge {
        &mut self.edges[id.0]
    }
}

impl Graph {
    /// A tree with the project alone.
    pub(super) fn new(project: Arc<Manifest>, rules: Rules, steps: Steps) -> Self {
        let root = rules.root();
        let mut graph = Self {
            nodes: Vec::new(),
            edges: Vec::new(),
            rules,
            project: NodeId(0),
            specs: HashMap::new(),
            steps,
            unsettled: Vec::new(),
            is_settling: false,
        };
        let name = project.name.as_str().into();
        graph.project = graph.add_node(name, project, root);
        graph.load_edges(graph.project, true);
        graph
    }

    /// A node without a parent and without edges.
    pub(super) fn add_node(&mut self, name: Arc<str>, manifest: Arc<Manifest>, rule: Option<RuleId>) -> NodeId {
        let integrity = manifest.integrity.clone();
        self.nodes.push(Node {
            name,
            manifest,
            integrity,
            parent: None,
            children: IndexMap::new(),
            edges_in: BTreeSet::new(),
            edges_out: IndexMap::new(),
            source: None,
            rule,
            is_failed: false,
            link: None,
        });
        NodeId(self.nodes.len() - 1)
    }

    /// Counts work, so that a hostile project ends.
    pub(super) fn count(&self, steps: usize) {
        self.steps.count(steps);
    }

    /// Counts a step. An error if there were too many.
    pub(super) fn step(&self) -> Result<(), Error> {
        self.count(1);
        self.steps.check()
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.is_exhausted()
    }

    pub(super) fn spec(&mut self, text: &Arc<str>) -> Rc<Result<Spec, Source>> {
        if let Some(spec) = self.specs.get(text) {
            return spec.clone();
        }
        self.count(spec_cost(text));
        let spec = Rc::new(Spec::parse(text));
        self.specs.insert(text.clone(), spec.clone());
        spec
    }

    /// A specifier that an edge has: it was read when the edge was made.
    pub(super) fn known_spec(&self, text: &str) -> Rc<Result<Spec, Source>> {
        self.specs.get(text).cloned().unwrap_or_else(|| Rc::new(Spec::parse(text)))
    }

    pub(super) fn is_top(&self, node: NodeId) -> bool {
        self[node].parent.is_none()
    }

    pub(super) fn root(&self, node: NodeId) -> NodeId {
        let mut root = node;
        for ancestor in self.ancestry(node) {
            self.count(1);
            root = ancestor;
        }
        root
    }

    /// The node and all nodes above it.
    pub(super) fn ancestry(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(Some(node), |node| self[*node].parent)
    }

    pub(super) fn is_below(&self, node: NodeId, above: NodeId) -> bool {
        self.ancestry(node).any(|ancestor| {
            self.count(1);
            ancestor == above
        })
    }

    pub(super) fn depth(&self, node: NodeId) -> usize {
        self.ancestry(node).count() - 1
    }

    pub(super) fn child(&self, node: NodeId, name: &str) -> Option<NodeId> {
        let children = &self[node].children;
        children.get(name).or_else(|| children.get(&name.to_ascii_lowercase())).copied()
    }

    /// What Node.js finds for the name from the package.
    pub(super) fn resolve(&self, node: NodeId, name: &str) -> Option<NodeId> {
        self.ancestry(node).find_map(|ancestor| {
            self.count(4);
            self.child(ancestor, name)
        })
    }

    /// The node and all nodes below it.
    pub(super) fn subtree(&self, node: NodeId) -> Vec<NodeId> {
        let mut nodes = vec![node];
        let mut at = 0;
        while let Some(next) = nodes.get(at) {
            nodes.extend(self[*next].children.values());
            at += 1;
        }
        self.count(at);
        nodes
    }

    pub(super) fn path(&self, node: NodeId) -> String {
        let mut names: Vec<_> = self.ancestry(node).filter(|node| !self.is_top(*node)).map(|node| self[node].name.clone()).collect();
        names.reverse();
        names.iter().map(|name| format!("node_modules/{name}")).collect::<Vec<_>>().join("/")
    }

    /// `name@version`, for messages.
    pub(super) fn label(&self, node: NodeId) -> String {
        if node == self.project || self[node].source == Some(self.project) {
            return "the project".to_owned();
        }
        format!("{}@{}", self[node].manifest.name, self[node].manifest.version)
    }

    pub(super) fn edges_out(&self, node: NodeId) -> Vec<EdgeId> {
        self.count(self[node].edges_out.len());
        self[node].edges_out.values().copied().collect()
    }

    pub(super) fn edges_in(&self, node: NodeId) -> Vec<EdgeId> {
        self.count(self[node].edges_in.len());
        self[node].edges_in.iter().copied().collect()
    }

    pub(super) fn edge_out(&self, node: NodeId, name: &str) -> Option<EdgeId> {
        self[node].edges_out.get(name).copied()
    }

    /// Adds the edges of a package in the order of npm: a later list replaces an earlier one.
    pub(super) fn load_edges(&mut self, node: NodeId, with_development: bool) {
        let manifest = self[node].manifest.clone();
        for peer in manifest.peers.iter().filter(|peer| !peer.is_optional) {
            self.add_edge(node, (&peer.name, &peer.spec), Kind::Peer);
        }
        for peer in manifest.peers.iter().filter(|peer| peer.is_optional) {
            self.add_edge(node, (&peer.name, &peer.spec), Kind::OptionalPeer);
        }
        for (name, spec) in &manifest.dependencies {
            self.add_edge(node, (name, spec), Kind::Production);
        }
        for (name, spec) in &manifest.optional {
            self.add_edge(node, (name, spec), Kind::Optional);
        }
        for (name, spec) in manifest.dev.iter().filter(|_| with_development) {
            self.add_edge(node, (name, spec), Kind::Development);
        }
    }

    fn add_edge(&mut self, from: NodeId, (name, spec): (&str, &str), kind: Kind) {
        self.count(EDGE);
        let (name, spec): (Arc<str>, Arc<str>) = (name.into(), spec.into());
        if self.spec(&spec).is_err() || !crate::name::is_valid(&name) {
            return;
        }
        if let Some(old) = self[from].edges_out.shift_remove(&name) {
            self.unlink(old);
        }
        self.edges.push(Edge { name: name.clone(), spec, kind, from, to: None, rule: None, is_conflicted: false });
        let edge = EdgeId(self.edges.len() - 1);
        self[edge].rule = self[from].rule.map(|rule| self.rule_of(rule, edge));
        self[from].edges_out.insert(name, edge);
        self.reload(edge, true);
    }
}
