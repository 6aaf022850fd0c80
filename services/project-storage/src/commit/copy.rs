//! Copies a tree from one store to another one. Templates use it: what is copied is shared with nobody.

use std::collections::BTreeSet;

use crate::{
    error::Error,
    git::{Corruption, Entry, Folder, Oid},
    model::project::StoreId,
    store::{Connection, copies},
};

/// Objects that one statement copies.
const BATCH: usize = 500;

/// Copies the objects of a tree, except those that the target gets in another way. Nobody else may write to the target, and nobody may
/// delete from the source.
///
/// # Errors
/// [`Error::Corruption`] if the source does not have an object.
pub(crate) async fn tree(
    db: &mut Connection,
    from: StoreId,
    to: StoreId,
    tree: &Folder,
    except: impl Fn(&Oid) -> bool,
) -> Result<(), Error> {
    let mut oids = BTreeSet::new();
    collect(tree, &mut oids);
    let oids: Vec<Oid> = oids.into_iter().filter(|oid| !except(oid)).collect();
    for batch in oids.chunks(BATCH) {
        if copies::copy(db, from, to, batch).await? != batch.len() {
            return Err(Corruption::Missing(tree.oid().unwrap_or(Oid::EMPTY_TREE)).into());
        }
    }
    Ok(())
}

/// The ids of a folder and of everything below it.
fn collect(folder: &Folder, oids: &mut BTreeSet<Oid>) {
    oids.extend(folder.oid());
    for entry in folder.entries().values() {
        match entry {
            Entry::File(file) => {
                oids.insert(file.oid);
            }
            Entry::Folder(folder) => collect(folder, oids),
        }
    }
}
