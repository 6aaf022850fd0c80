//! What is kept, and when its use is recorded: at most every ten minutes, so that reads seldom write.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use chassis::{clock, fault_time};
use compiler_client::message::{Module, Resource, tools::PROGRAM_END};
use prost::Message as _;
use time::OffsetDateTime;

use crate::{
    error::Error,
    known::{KnownFacts, KnownFiles},
    store::{self, Pool, contents, modules, modules::FactRows, pages},
    tree::Tree,
};

/// Less than the margin of the sweep.
pub(crate) const TOUCH: Duration = Duration::from_secs(600);

pub(crate) struct Cache {
    pool: Pool,
    known: KnownFiles,
}

/// What a build made and used.
pub(crate) struct BuildOutput {
    /// The compiler of the modules.
    pub(crate) release: Arc<[u8]>,
    pub(crate) compiled: Vec<Module>,
    /// Facts that earlier builds made.
    pub(crate) reused: Vec<KnownFacts>,
    pub(crate) resources: Vec<Resource>,
    /// The outputs that the answer names.
    pub(crate) named: Vec<String>,
}

impl BuildOutput {
    /// Nothing, by this compiler.
    pub(crate) fn of(release: &Arc<[u8]>) -> Self {
        let release = Arc::clone(release);
        Self { release, compiled: Vec::new(), reused: Vec::new(), resources: Vec::new(), named: Vec::new() }
    }

    /// The addresses of the modules.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        let compiled = self.compiled.iter().filter_map(|module| module.facts.as_ref()).map(|facts| facts.url.as_str());
        self.reused.iter().map(|facts| facts.url.as_str()).chain(compiled)
    }
}

impl Cache {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, known: KnownFiles::new() }
    }

    /// A kept answer.
    pub(crate) async fn answer(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(row) = pages::get(&self.pool, key).await? else { return Ok(None) };
        let now = clock::now();
        let old = now - fault_time::shortened("page-touch-interval", TOUCH);
        if row.used_at < old {
            // Outputs first: they must outlive the page.
            modules::touch_outputs(&self.pool, &row.outputs, now, old).await?;
            pages::touch(&self.pool, key, now).await?;
        }
        Ok(Some(row.body))
    }

    /// The facts of the files of a tree that this release of the compiler made.
    pub(crate) async fn facts(&self, release: &Arc<[u8]>, tree: &Tree) -> Result<Vec<KnownFacts>, Error> {
        Ok(self.known.of_tree(&self.pool, release, tree).await?)
    }

    /// Those of one file with a content.
    pub(crate) async fn facts_of(&self, release: &Arc<[u8]>, path: &str, id: &str) -> Result<Vec<KnownFacts>, Error> {
        Ok(self.known.of_file(&self.pool, release, path, id).await?)
    }

    /// Those of the contents that are kept.
    pub(crate) async fn contents(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let ids: Vec<_> = ids.iter().cloned().collect();
        Ok(contents::get(&self.pool, &ids).await?.into_iter().collect())
    }

    pub(crate) async fn put_contents(&self, ids: &BTreeSet<String>, bodies: &[Vec<u8>]) -> Result<(), Error> {
        let ids: Vec<_> = ids.iter().cloned().collect();
        Ok(contents::put(&self.pool, &ids, bodies, clock::now()).await?)
    }

    /// Code, a source map or a style sheet. Bytecode of tools is for workers only.
    pub(crate) async fn output(&self, name: &str) -> Result<Vec<u8>, Error> {
        if name.ends_with(PROGRAM_END) {
            return Err(Error::ModuleNotFound);
        }
        modules::output(&self.pool, name).await?.ok_or(Error::ModuleNotFound)
    }

    /// Keeps what a build made, and its answer with all that it names, if it has one. Returns `false`, and keeps no answer, if an output was
    /// deleted meanwhile.
    pub(crate) async fn put(&self, answer: Option<(&[u8], &[u8])>, made: BuildOutput, tree: &Tree) -> Result<bool, Error> {
        let now = clock::now();
        let old: OffsetDateTime = now - TOUCH;
        let (facts, outputs) = rows(&made, tree);
        let touched: Vec<_> = made.reused.iter().filter(|facts| facts.used_at < old).collect();
        let keys: Vec<_> = touched.iter().map(|facts| facts.key.clone()).collect();
        let (names, bodies): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
        let mut tx = store::begin(&self.pool).await?;
        contents::touch(&mut *tx, &tree.held(), now, old).await?;
        modules::touch_facts(&mut *tx, &keys, now, old).await?;
        modules::put_facts(&mut *tx, &facts, now).await?;
        modules::put_outputs(&mut *tx, &names, &bodies, now).await?;
        modules::touch_outputs(&mut *tx, &made.named, now, old).await?;
        let is_whole = modules::lock_outputs(&mut *tx, &made.named).await? == made.named.len();
        if let Some((key, body)) = answer.filter(|_| is_whole) {
            pages::put(&mut *tx, key, body, &made.named, now).await?;
        }
        store::commit(tx).await?;
        if is_whole {
            let touched = touched.iter().map(|facts| facts.path.as_str());
            let changed: HashSet<&str> = touched.chain(facts.paths.iter().map(String::as_str)).collect();
            self.known.forget(&made.release, tree.pairs().filter(|(path, _)| changed.contains(path)));
        } else {
            // A sweep deleted facts that are in memory.
            self.known.forget(&made.release, tree.pairs());
        }
        Ok(is_whole)
    }
}

/// The rows of facts, and the outputs by name.
fn rows(made: &BuildOutput, tree: &Tree) -> (FactRows, BTreeMap<String, Vec<u8>>) {
    let (mut rows, mut outputs) = (FactRows { release: made.release.to_vec(), ..FactRows::default() }, BTreeMap::new());
    for module in &made.compiled {
        let Some(facts) = &module.facts else { continue };
        let Some((path, id)) = tree.owner(facts) else { continue };
        // A module that depends on the whole page has no key, and is not used again.
        if !facts.key.is_empty() {
            rows.keys.push(facts.key.clone());
            rows.paths.push(path.to_owned());
            rows.blob_ids.push(id.to_owned());
            rows.outputs.push(facts.url.clone());
            rows.bodies.push(facts.encode_to_vec());
        }
        if !facts.url.is_empty() {
            outputs.insert(facts.url.clone(), module.code.clone().into_bytes());
            if !module.map.is_empty() {
                outputs.insert(format!("{}.map", facts.url), module.map.clone().into_bytes());
            }
        }
    }
    for resource in made.resources.iter().filter(|resource| resource.path.is_empty()) {
        outputs.insert(resource.url.clone(), resource.text.clone().into_bytes());
    }
    (rows, outputs)
}
