//! Outlines of the files of a tree: from memory, from the database, or by a worker that gets the files without one.

use std::collections::{BTreeMap, BTreeSet};

use chassis::share::{Holder, Share};
use compiler_client::{
    message::{
        File, OutlineRequest,
        outline::{self, MAX_BYTES},
    },
    worker,
};
use prost::Message as _;
use proto::compile::{FileOutline, OutlineImport, Symbol};

use crate::{
    app::App,
    build::{check, limited, memory, slot},
    dialogue::{Dialogue, hold},
    error::{self, Error},
    hash,
    outline_cache::{Body, Key},
    tree::Tree,
};

/// Files that a worker outlines at once, and their bytes.
const BATCH_FILES: usize = 500;
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// Files of a batch on which workers may fail.
const MAX_FAILURES: usize = 8;

/// What was made for a call.
pub(crate) struct Made {
    /// Sorted by blob id.
    pub(crate) outlines: Vec<FileOutline>,
    /// Counts their bytes while they are sent.
    pub(crate) memory: Share,
}

/// A content with a language.
struct Source {
    key: Key,
    path: String,
    size: u64,
}

/// Outlines the files of a tree.
///
/// # Errors
/// The messages of the caller are invalid, a limit is reached, or no worker answers.
pub(crate) async fn run(app: &App, dialogue: Dialogue) -> Result<Made, Error> {
    limited(app, unlimited(app, dialogue)).await
}

async fn unlimited(app: &App, mut dialogue: Dialogue) -> Result<Made, Error> {
    let holder = Holder { person: check(&dialogue.start().await?)?, ..Holder::default() };
    let _slot = slot(app, &holder)?;
    let release = app.workers.release.hash().await?;
    let mut listed = memory(app, &holder)?;
    let tree = dialogue.tree(&app.limits, &mut listed).await?;
    let sources = sources(&tree, &release);
    let mut known = app.outlines.get(sources.values().map(|source| &source.key)).await?;
    let absent: Vec<_> = sources.iter().filter(|(_, source)| !known.contains_key(&source.key)).collect();
    for batch in batches(absent) {
        let mut work = Work { app, holder, tree: &tree, dialogue: &mut dialogue };
        known.extend(work.outline(&batch).await?);
    }
    let mut memory = memory(app, &holder)?;
    let mut made = Vec::new();
    for (id, source) in &sources {
        let Some(body) = known.get(&source.key).filter(|body| !body.is_empty()) else { continue };
        hold(&mut memory, body.len())?;
        made.push(FileOutline { blob_id: id.clone(), ..FileOutline::decode(&**body)? });
    }
    Ok(Made { outlines: made, memory })
}

/// The contents that can have an outline, by id. The first path with a language decides.
fn sources(tree: &Tree, release: &[u8]) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    for (path, id, size) in tree.entries().filter(|(path, _, size)| *size <= MAX_BYTES && outline::language(path).is_some()) {
        let key = || hash::of_parts(&[b"outline", release, outline::extension(path).as_bytes(), id.as_bytes()]);
        sources.entry(id.to_owned()).or_insert_with(|| Source { key: key(), path: path.to_owned(), size });
    }
    sources
}

type Batch<'s> = BTreeMap<&'s String, &'s Source>;

/// Contents that one worker gets. A caller that says a wrong size only gets other batches.
fn batches<'s>(sources: Vec<(&'s String, &'s Source)>) -> Vec<Batch<'s>> {
    let (mut batches, mut bytes) = (Vec::<Batch>::new(), 0);
    for (id, source) in sources {
        bytes += source.size;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_FILES && bytes <= BATCH_BYTES => drop(batch.insert(id, source)),
            _ => {
                bytes = source.size;
                batches.push(Batch::from([(id, source)]));
            }
        }
    }
    batches
}

/// The outlines of a batch.
struct Work<'w> {
    app: &'w App,
    holder: Holder,
    tree: &'w Tree,
    dialogue: &'w mut Dialogue,
}

impl Work<'_> {
    async fn outline(&mut self, batch: &Batch<'_>) -> Result<BTreeMap<Key, Body>, Error> {
        let mut held = memory(self.app, &self.holder)?;
        let mut contents = self.contents(batch.keys().map(|id| (*id).clone()).collect(), &mut held).await?;
        let file = |(id, source): (&&String, &&Source)| {
            let content = contents.remove(*id).unwrap_or_default();
            File { path: source.path.clone(), id: (*id).clone(), size: content.len() as u64, content: Some(content.into()) }
        };
        let files = batch.iter().map(file).collect();
        let (outlines, failed) = by_workers(self.app, &self.holder, files).await?;
        let key = |id: &String| batch.get(id).map(|source| source.key.clone());
        let made = outlines.into_iter().filter_map(|outline| Some((key(&outline.id)?, body(outline))));
        let made = made.chain(failed.iter().filter_map(|id| Some((key(id)?, Body::default())))).collect();
        self.app.outlines.put(&made).await?;
        Ok(made)
    }

    /// Contents from those that builds keep, and the others from the caller.
    async fn contents(&mut self, ids: BTreeSet<String>, held: &mut Share) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut contents = self.app.cache.contents(&ids).await?;
        hold(held, contents.values().map(Vec::len).sum())?;
        let missing: BTreeSet<_> = ids.into_iter().filter(|id| !contents.contains_key(id)).collect();
        if !missing.is_empty() {
            let read = self.dialogue.contents(&missing, self.tree, &self.app.limits, held).await?;
            contents.extend(missing.into_iter().zip(read));
        }
        Ok(contents)
    }
}

/// Runs workers until one answers, each without the file on which the one before has failed. Returns the ids of these, too, but not of those
/// that took too long: a busy machine can be the reason.
async fn by_workers(app: &App, holder: &Holder, mut files: Vec<File>) -> Result<(Vec<outline::FileOutline>, Vec<String>), Error> {
    let mut failed = Vec::new();
    for attempt in 0.. {
        let request = OutlineRequest { files };
        let error = match app.workers.outline(holder, &request).await {
            Ok(answer) => return Ok((answer.outlines, failed)),
            Err(Error::Compiler(error)) if attempt < MAX_FAILURES => error,
            Err(error) => return Err(error),
        };
        files = request.files;
        let at = error::file(&error).and_then(|path| files.iter().position(|file| file.path == path));
        let Some(at) = at else { return Err(Error::Compiler(error)) };
        tracing::info!("a file has no outline: {error}");
        let file = files.remove(at);
        if !matches!(error, worker::Error::Timeout { .. }) {
            failed.push(file.id);
        }
    }
    Ok((Vec::new(), failed))
}

fn body(outline: outline::FileOutline) -> Body {
    if outline.language.is_empty() {
        return Body::default();
    }
    let symbol = |symbol: outline::Symbol| Symbol {
        kind: symbol.kind,
        name: symbol.name,
        first_line: symbol.first_line,
        last_line: symbol.last_line,
        is_exported: symbol.is_exported,
    };
    let import = |import: outline::OutlineImport| OutlineImport { specifier: import.specifier, line: import.line };
    let outline = FileOutline {
        blob_id: String::new(),
        language: outline.language,
        symbols: outline.symbols.into_iter().map(symbol).collect(),
        imports: outline.imports.into_iter().map(import).collect(),
    };
    outline.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_numbers_of_the_contract() {
        use compiler_client::message::outline::SymbolKind as Own;
        use proto::compile::SymbolKind as Contract;
        for number in 1..32 {
            let own = Own::try_from(number).ok().map(|kind| format!("{kind:?}"));
            let contract = Contract::try_from(number).ok().map(|kind| format!("{kind:?}"));
            assert_eq!(own, contract, "{number}");
        }
    }

    #[test]
    fn batches_have_limits_and_a_large_file_is_alone() {
        let source = |size| Source { key: Vec::new(), path: String::new(), size };
        let sizes = [BATCH_BYTES - 1, 1, 1, BATCH_BYTES * 2, 0];
        let sources: BTreeMap<String, Source> = sizes.into_iter().enumerate().map(|(at, size)| (at.to_string(), source(size))).collect();
        let lengths = |sources: &BTreeMap<String, Source>| batches(sources.iter().collect()).iter().map(BTreeMap::len).collect::<Vec<_>>();
        assert_eq!(lengths(&sources), [2, 1, 1, 1]);
        let many = (0..=BATCH_FILES).map(|at| (at.to_string(), source(1))).collect();
        assert_eq!(lengths(&many), [BATCH_FILES, 1]);
        assert_eq!(lengths(&BTreeMap::new()), [0; 0]);
    }
}
