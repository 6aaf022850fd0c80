//! The files of a revision as an archive, which is made while it is read.

use std::{collections::VecDeque, sync::Arc};

use chassis::{
    context::Context,
    share::{Holder, Percent, Share, Shares},
};
use prost::bytes::Bytes;
use proto::id::{ProjectId, UserId};

use crate::{
    archive::{
        format::Format,
        write::{TOP_FOLDER, Writer},
    },
    blocking,
    error::{Error, SERVICE},
    git::{FileRef, Folder, Oid},
    model::project::StoreId,
    read::{
        checkout::{self, Checkout},
        load::LoadSlots,
        objects::Objects,
    },
};

/// Bytes of the contents that are read together. A batch has one file at least.
const BATCH_BYTES: u64 = 1024 * 1024;
/// Files that are read together.
const BATCH_FILES: usize = 500;
/// Bytes of a message of the stream.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Changes when the bytes of archives change for equal trees.
const VERSION: u32 = 1;

/// How many exports may be open at the same time. An export is open until its last byte was read.
pub(crate) struct ExportSlots(Arc<Shares>);

impl ExportSlots {
    /// `percent`: the part of them that one address or user may have.
    pub(crate) fn new(slots: usize, percent: Percent) -> Self {
        Self(Shares::new(slots, percent))
    }

    fn take(&self, context: &Context) -> Result<Share, Error> {
        let person = context.user.as_ref().map(|user| user.id);
        let holder = Holder { connection: None, address: context.client_address, person };
        self.0.try_take(&holder, 1).map_err(|exhausted| Error::Fault(exhausted.fault(SERVICE, "open exports")))
    }
}

/// What to export, and for whom.
pub(crate) struct Query {
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    /// `None` for the head.
    pub(crate) revision: Option<Oid>,
    pub(crate) format: Format,
}

/// An open export.
pub(crate) struct Export {
    pub(crate) file_name: String,
    pub(crate) etag: String,
    /// `None` in a project without files, and for a tree that is no revision.
    pub(crate) revision: Option<Oid>,
    pub(crate) body: ArchiveBody,
}

/// Opens an export, if the user may read the project. If it finds no slot, it is refused before its stream begins.
pub(crate) async fn open(
    objects: &Objects,
    (slots, loads): (&ExportSlots, &LoadSlots),
    context: &Context,
    query: Query,
) -> Result<Export, Error> {
    let Query { user, project, revision, format } = query;
    let Checkout { project, revision, tree } = checkout::for_user(objects, user, project, revision).await?;
    let id = revision.as_ref().map_or(Oid::EMPTY_TREE, |revision| revision.tree);
    let tree = ArchivedTree { store: project.store, id, tree, name: &project.name, folder: TOP_FOLDER };
    let revision = revision.map(|revision| revision.id);
    open_tree((slots, loads), context, tree, format).await.map(|export| Export { revision, ..export })
}

/// A tree to make an archive of.
pub(crate) struct ArchivedTree<'a> {
    pub(crate) store: StoreId,
    pub(crate) id: Oid,
    pub(crate) tree: Arc<Folder>,
    /// For the name of the file.
    pub(crate) name: &'a str,
    /// Contains all files: empty, or a name with a slash at its end.
    pub(crate) folder: &'static str,
}

/// Opens an export of a tree. If it finds no slot, it is refused before its stream begins.
pub(crate) async fn open_tree(
    (slots, loads): (&ExportSlots, &LoadSlots),
    context: &Context,
    of: ArchivedTree<'_>,
    format: Format,
) -> Result<Export, Error> {
    let slot = slots.take(context)?;
    let _working = loads.take(context).await?;
    let body = ArchiveBody {
        store: of.store,
        files: of.tree.walk_files().into(),
        writer: Some(Writer::new(format, of.folder)),
        ready: Bytes::new(),
        _slot: slot,
    };
    Ok(Export {
        file_name: format.file_name(of.name),
        etag: format!("\"{}-{VERSION}.{}\"", of.id, format.extension()),
        revision: None,
        body,
    })
}

/// The bytes of an archive. They are made as they are asked for, so that a slow reader costs one batch of memory.
pub(crate) struct ArchiveBody {
    store: StoreId,
    /// The files that are not in the archive yet.
    files: VecDeque<(String, FileRef)>,
    /// `None` when the archive is complete.
    writer: Option<Writer>,
    /// Bytes that were made and not returned yet.
    ready: Bytes,
    /// Held until the body is dropped.
    _slot: Share,
}

impl ArchiveBody {
    /// The next bytes; `None` after the last ones.
    pub(crate) async fn next(&mut self, objects: &Objects, slots: &LoadSlots, context: &Context) -> Result<Option<Bytes>, Error> {
        while self.ready.is_empty() {
            let Some(writer) = self.writer.take() else { return Ok(None) };
            self.ready = self.advance(writer, objects, (slots, context)).await?;
        }
        Ok(Some(self.ready.split_to(self.ready.len().min(MESSAGE_BYTES))))
    }

    /// Adds the next files to the archive, or its end.
    async fn advance(&mut self, mut writer: Writer, objects: &Objects, (slots, context): (&LoadSlots, &Context)) -> Result<Bytes, Error> {
        let batch = self.next_batch();
        if batch.is_empty() {
            writer.finish();
            return Ok(writer.take());
        }
        let slot = slots.take_next(context).await?;
        let refs: Vec<FileRef> = batch.iter().map(|(_, file)| *file).collect();
        let contents = objects.contents(self.store, &refs).await?;
        // The slot counts the work until its end, even if the client goes away before.
        let (bytes, writer) = blocking::on_thread(move || {
            for (path, file) in &batch {
                writer.add(path, contents.get(&file.oid).map_or(&[][..], |content| content));
            }
            drop(slot);
            (writer.take(), writer)
        })
        .await;
        self.writer = Some(writer);
        Ok(bytes)
    }

    fn next_batch(&mut self) -> Vec<(String, FileRef)> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((_, file)) = self.files.front() {
            bytes += u64::from(file.size);
            if !batch.is_empty() && (bytes > BATCH_BYTES || batch.len() == BATCH_FILES) {
                break;
            }
            batch.extend(self.files.pop_front());
        }
        batch
    }
}
