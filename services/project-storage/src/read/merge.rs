//! Merging trees of a store.

use std::collections::HashMap;

use prost::bytes::Bytes;

use crate::{
    blocking,
    error::Error,
    git::{FileRef, Oid},
    merge::{self, FileVersions, Merge, MergeMode, MergeResult},
    model::project::StoreId,
    read::objects::Objects,
};

/// Bytes of all versions of the files that both sides edited, which a merge has in memory. Further files are conflicts.
const MAX_EDITED_BYTES: u64 = 32 * 1024 * 1024;

/// Contents of files by their ids.
pub(crate) type Contents = HashMap<Oid, Bytes>;

/// Merges three trees. Reads the contents of the files that both sides edited, unless `known` has them.
pub(crate) async fn merge(
    objects: &Objects,
    store: StoreId,
    merge: &Merge<'_>,
    mode: MergeMode,
    known: &Contents,
) -> Result<MergeResult, Error> {
    let mut plan = merge.plan(mode);
    plan.limit_edits(MAX_EDITED_BYTES);
    let versions = |file: &FileVersions| [file.base, file.result, file.head];
    let (new, stored): (Vec<FileRef>, Vec<_>) = plan.edits().iter().flat_map(versions).partition(|file| known.contains_key(&file.oid));
    let mut contents = objects.contents(store, &stored).await?;
    contents.extend(new.iter().filter_map(|file| Some((file.oid, known.get(&file.oid)?.clone()))));
    let bytes = plan.edits().iter().flat_map(versions).map(|file| file.size as usize).sum();
    let edits = plan.edits().to_vec();
    let merged = blocking::run(bytes, move || merge::merge_files(&edits, &contents)).await;
    Ok(plan.finish(merge.head, merge.result, merged))
}
