//! The tree of a `package-lock.json`, from which a build begins.

use std::{collections::HashSet, sync::Arc};

use super::{build::Builder, graph::NodeId};
use crate::{
    error::Error,
    lock::{Entry, NpmLock},
    manifest::Manifest,
};

impl Builder<'_> {
    /// Puts the packages of the file into their places, and queues those whose dependencies are not met by that.
    pub(super) fn load_lock(&mut self, lock: &NpmLock) -> Result<(), Error> {
        self.has_lock_tree = true;
        for entry in &lock.entries {
            if entry.path.len() > self.options.limits.depth {
                return Err(Error::too_large("the lock file", self.options.limits.depth as u64, "levels of node_modules"));
            }
            self.graph.step()?;
            self.load_entry(entry);
            if self.graph.nodes.len() > self.options.limits.packages + 1 {
                return Err(Error::too_large("the lock file", self.options.limits.packages as u64, "packages"));
            }
        }
        self.queue_unmet();
        Ok(())
    }

    /// An entry whose place is not there, or that the registry lacks, is left out: what needs it is resolved anew.
    fn load_entry(&mut self, entry: &Entry) {
        let Some((folder, above)) = entry.path.split_last() else { return };
        let mut parent = self.graph.project;
        for name in above {
            match self.graph.child(parent, name) {
                Some(child) => parent = child,
                None => return,
            }
        }
        let Some(manifest) = self.manifest_of(entry) else { return };
        let node = self.graph.add_node(folder.as_str().into(), manifest, None);
        if entry.integrity.is_some() {
            self.graph[node].integrity.clone_from(&entry.integrity);
        }
        self.graph.attach(node, parent);
        self.graph.load_edges(node, false);
    }

    fn manifest_of(&mut self, entry: &Entry) -> Option<Arc<Manifest>> {
        match &entry.manifest {
            Some(manifest) => Some(manifest.clone()),
            None => self.packuments.exact(&entry.package, &entry.version, &self.graph.steps),
        }
    }

    fn queue_unmet(&mut self) {
        let (mut nodes, mut seen) = (vec![self.graph.project], HashSet::<NodeId>::new());
        while let Some(node) = nodes.pop() {
            if !seen.insert(node) {
                continue;
            }
            for edge in self.graph.edges_out(node) {
                match self.graph[edge].to {
                    Some(to) if self.graph.is_valid(edge) => nodes.push(to),
                    to => {
                        nodes.extend(to);
                        self.queue.push(node);
                    }
                }
            }
        }
    }
}
