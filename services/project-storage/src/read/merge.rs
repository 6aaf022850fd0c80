//! Merging three trees with the contents of their files.

use std::collections::HashMap;

use prost::bytes::Bytes;

use crate::{
    app::App,
    error::Error,
    git::{FileRef, Oid},
    merge::{self, FileVersions, Merge, MergeMode, MergeResult},
    model::project::StoreId,
    read::tree::{self, HEAVY_BYTES},
};

/// Contents of files by their ids.
pub(crate) type Contents = HashMap<Oid, Bytes>;

/// Merges three trees, with the contents of files that both sides edited. What is not in `known` is read.
pub(crate) async fn merge(app: &App, store: StoreId, merge: &Merge<'_>, mode: MergeMode, known: &Contents) -> Result<MergeResult, Error> {
    let plan = merge.plan(mode);
    let versions = |text: &FileVersions| [text.base, text.result, text.head];
    let (new, stored): (Vec<FileRef>, Vec<_>) = plan.texts().iter().flat_map(versions).partition(|file| known.contains_key(&file.oid));
    let mut contents = tree::contents(app, store, &stored).await?;
    contents.extend(new.iter().filter_map(|file| Some((file.oid, known.get(&file.oid)?.clone()))));
    let heavy = plan.texts().iter().flat_map(versions).map(|file| file.size as usize).sum::<usize>() > HEAVY_BYTES;
    let texts = plan.texts().to_vec();
    let lines = tree::off_thread(heavy, move || merge::lines(&texts, &contents)).await;
    Ok(plan.finish(merge.head, merge.result, lines))
}
