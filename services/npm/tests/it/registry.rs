//! Registries of the tests.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use npm::{Registry, RegistryError};
use serde_json::{Value, json};

/// Packuments in a folder, one file each.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Registry for Folder {
    async fn packument(&self, name: &str) -> Result<Bytes, RegistryError> {
        read(&self.0.join(format!("{}.json", name.replace('/', "%2f"))))
    }

    async fn tarball(&self, _: &str, _: &str) -> Result<Bytes, RegistryError> {
        Err(RegistryError::NotFound)
    }
}

fn read(path: &Path) -> Result<Bytes, RegistryError> {
    std::fs::read(path).map(Bytes::from).map_err(|_| RegistryError::NotFound)
}

/// Packuments that a test writes.
#[derive(Default)]
pub(crate) struct Written {
    packuments: BTreeMap<String, Value>,
    /// By `name@version`.
    pub(crate) tarballs: BTreeMap<String, Bytes>,
    /// The number of packuments that were asked for.
    pub(crate) reads: AtomicUsize,
    /// Requests without an answer, and the most that there were.
    open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
}

impl Written {
    /// Versions as `name@version` with their fields.
    pub(crate) fn of(versions: &[(&str, Value)]) -> Self {
        let mut written = Self::default();
        for (id, fields) in versions {
            written.add(id, fields);
        }
        written
    }

    fn add(&mut self, id: &str, fields: &Value) {
        let (name, version) = id.rsplit_once('@').expect("name@version");
        let packument = self.packuments.entry(name.to_owned()).or_insert_with(|| json!({"name": name, "dist-tags": {}, "versions": {}}));
        packument["versions"][version] = fields.clone();
        packument["versions"][version]["dist"] = json!({"integrity": integrity(id)});
        packument["dist-tags"]["latest"] = json!(version);
    }

    pub(crate) fn tag(mut self, name: &str, tag: &str, version: &str) -> Self {
        self.packuments.get_mut(name).expect("a package")["dist-tags"][tag] = json!(version);
        self
    }
}

/// A hash that differs for each version.
pub(crate) fn integrity(id: &str) -> String {
    let mut hash = [0; 20];
    for (at, byte) in id.bytes().enumerate() {
        hash[at % 20] ^= byte.rotate_left((at / 20) as u32);
    }
    format!("sha1-{}", data_encoding::BASE64.encode(&hash))
}

impl Registry for Written {
    async fn packument(&self, name: &str) -> Result<Bytes, RegistryError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.packuments.get(name).map(|packument| Bytes::from(packument.to_string())).ok_or(RegistryError::NotFound)
    }

    async fn tarball(&self, name: &str, version: &str) -> Result<Bytes, RegistryError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.tarballs.get(&format!("{name}@{version}")).cloned().ok_or(RegistryError::NotFound)
    }
}
