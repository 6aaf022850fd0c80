//! The files that differ between two trees, with those that moved. The search for these is the costly part, so its result is cached.

use std::sync::Arc;

use chassis::share::Share;

use crate::{
    blocking,
    error::Error,
    git::{self, Folder, Oid, Renames},
    model::project::StoreId,
    read::{cache::Changes, objects::Objects, tree},
};

/// The files that differ between an older and a newer tree, sorted by path.
///
/// The work runs on other threads and has the slot, so that it is counted until its end, even if the client goes away before.
pub(crate) async fn between(objects: &Objects, store: StoreId, (old, new): (Oid, Oid), slot: Share) -> Result<(Changes, Share), Error> {
    if let Some(changes) = objects.cache.changes(store, old, new) {
        return Ok((changes, slot));
    }
    let (old_tree, new_tree) = (folder(objects, store, old).await?, folder(objects, store, new).await?);
    let (renames, candidates, slot) = blocking::on_thread(move || {
        let renames = Renames::new(git::diff(&old_tree, &new_tree));
        let candidates = renames.candidates();
        (renames, candidates, slot)
    })
    .await;
    let contents = objects.contents(store, &candidates).await?;
    let finish = move || (renames.finish(|oid| contents.get(&oid).map(|bytes| &bytes[..])), slot);
    let (changes, slot) = blocking::on_thread(finish).await;
    let changes = Arc::new(changes);
    objects.cache.put_changes(store, (old, new), Arc::clone(&changes));
    Ok((changes, slot))
}

/// A project without files has the empty tree, which is not stored.
async fn folder(objects: &Objects, store: StoreId, tree: Oid) -> Result<Arc<Folder>, Error> {
    if tree == Oid::EMPTY_TREE { Ok(Arc::default()) } else { tree::load(objects, store, tree).await }
}
