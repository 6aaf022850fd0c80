//! Outlines of files by the role compile: what they declare and import.

mod memory;

use std::{collections::BTreeMap, sync::Arc};

use proto::{
    compile::{FileOutline, SymbolKind, outline_tree_response::Part},
    error::Fault,
    id::UserId,
};

use crate::{
    check::{
        dialogue::{Contents, Dialogue, context, invalid, limited},
        tree::SourceTree,
    },
    upstream::{Upstream, fault},
};

/// What a file declares and imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    /// In the order of the file. At most 200.
    pub(crate) symbols: Vec<Symbol>,
    /// Specifiers as the file writes them, in its order. At most 200.
    pub(crate) imports: Vec<String>,
}

/// Something that a file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) kind: SymbolKind,
    /// At most 120 characters. See `proto::compile::Symbol`.
    pub(crate) name: String,
    /// From 1.
    pub(crate) first_line: u32,
    pub(crate) last_line: u32,
}

/// Outlines by the ids of the contents.
pub(crate) type Outlines = BTreeMap<String, Arc<Outline>>;

/// The outlines of the files of a tree. Files without an outline are left out. Compile is asked only for what this process does not know.
/// `person` has the share of the limits that is used.
///
/// # Errors
/// Compile or a content is not available, or the call was refused or took too long.
pub(crate) async fn outlines(
    upstream: &Upstream,
    tree: &SourceTree,
    person: UserId,
    contents: &mut dyn Contents,
) -> Result<Outlines, Fault> {
    let (mut outlines, mut unknown) = (Outlines::new(), Vec::new());
    for (path, id, size) in tree.entries() {
        match memory::get(path, id) {
            Some(known) => outlines.extend(known.map(|outline| (id.to_owned(), outline))),
            None => unknown.push((path.to_owned(), id.to_owned(), size)),
        }
    }
    if unknown.is_empty() {
        return Ok(outlines);
    }
    let tree = SourceTree::new(unknown);
    let made = limited("the outline of the files", upstream.build_timeout(), unlimited(upstream, &tree, person, contents)).await?;
    for (path, id, _) in tree.entries() {
        memory::insert(path, id, made.get(id).cloned());
    }
    outlines.extend(made);
    Ok(outlines)
}

async fn unlimited(upstream: &Upstream, tree: &SourceTree, person: UserId, contents: &mut dyn Contents) -> Result<Outlines, Fault> {
    let (mut dialogue, stream) = Dialogue::start(tree, person, contents)?;
    let call = upstream.compile().outline_tree(context(upstream.build_timeout()).stream_request(stream)).await;
    let mut answers = call.map_err(|status| fault(&status))?.into_inner();
    let mut outlines = Outlines::new();
    while let Some(answer) = answers.message().await.map_err(|status| fault(&status))? {
        match answer.part {
            Some(Part::NeedTree(_)) => dialogue.send_tree().await,
            Some(Part::NeedContents(need)) => dialogue.send_contents(need.blob_ids).await?,
            Some(Part::Outlines(part)) => outlines.extend(part.outlines.into_iter().map(outline)),
            None => return Err(invalid("compile asked for something that is not known")),
        }
    }
    Ok(outlines)
}

fn outline(file: FileOutline) -> (String, Arc<Outline>) {
    let symbols = file.symbols.into_iter().map(|symbol| Symbol {
        kind: symbol.kind(),
        first_line: symbol.first_line,
        last_line: symbol.last_line,
        name: symbol.name,
    });
    let imports = file.imports.into_iter().map(|import| import.specifier);
    (file.blob_id, Arc::new(Outline { symbols: symbols.collect(), imports: imports.collect() }))
}
