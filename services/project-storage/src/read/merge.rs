//! Merging trees of a store.

use std::{collections::HashMap, sync::Arc};

use prost::bytes::Bytes;

use crate::{
    blocking,
    error::Error,
    git::{FileRef, Oid, Renames},
    merge::{self, Merge, MergeMode, MergeResult, Moves},
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
    merge: Merge,
    mode: MergeMode,
    known: &Contents,
) -> Result<MergeResult, Error> {
    let (cost, merge) = (merge.cost(), Arc::new(merge));
    let trees = Arc::clone(&merge);
    let compare = move || {
        let sides = trees.sides();
        let renames = trees.renames(&sides);
        (sides, renames)
    };
    let (sides, renames) = blocking::run(cost, compare).await;
    let moves = match renames {
        Some(renames) => moves(objects, store, renames, known).await?,
        None => Default::default(),
    };
    let trees = Arc::clone(&merge);
    let plan = move || {
        let mut plan = trees.plan(mode, &sides, &moves);
        plan.limit_edits(MAX_EDITED_BYTES);
        plan
    };
    let plan = blocking::run(cost, plan).await;
    let versions: Vec<FileRef> = plan.edits().iter().flat_map(|file| [file.base, file.result, file.head]).collect();
    let contents = contents(objects, store, &versions, known).await?;
    let finish = move || {
        let merged = merge::merge_files(plan.edits(), &contents, merge.text_bytes);
        plan.finish(&merge.head, &merge.result, merged)
    };
    Ok(blocking::run(cost + bytes(&versions), finish).await)
}

/// Finds the files that each side moved, also if they changed.
async fn moves(objects: &Objects, store: StoreId, renames: [Renames; 2], known: &Contents) -> Result<[Moves; 2], Error> {
    let candidates: Vec<FileRef> = renames.iter().flat_map(Renames::candidates).collect();
    let contents = contents(objects, store, &candidates, known).await?;
    let finish = move |renames: Renames| merge::moves(renames.finish(|oid| contents.get(&oid).map(|bytes| &bytes[..])));
    Ok(blocking::run(bytes(&candidates), move || renames.map(finish)).await)
}

/// The contents of files, from `known` or from the store.
async fn contents(objects: &Objects, store: StoreId, files: &[FileRef], known: &Contents) -> Result<Contents, Error> {
    let (new, stored): (Vec<FileRef>, Vec<_>) = files.iter().partition(|file| known.contains_key(&file.oid));
    let mut contents = objects.contents(store, &stored).await?;
    contents.extend(new.iter().filter_map(|file| Some((file.oid, known.get(&file.oid)?.clone()))));
    Ok(contents)
}

fn bytes(files: &[FileRef]) -> usize {
    files.iter().map(|file| file.size as usize).sum()
}
