//! Contents that are written before the revision that uses them: uploads and imports. A large one is written in chunks while it arrives.
//!
//! A [`BlobWriter`] holds a lease, so that no sweep takes its objects for garbage. The revision ends the lease in the statement that moves
//! the head (see [`crate::commit::request::SaveRequest::with_lease`]); if the lease was lost before, nothing moves.

use std::collections::BTreeMap;

use prost::bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::{
    blocking,
    commit::Writer,
    error::Error,
    git::{self, BlobHasher, FileRef, Folder, Object, Oid},
    model::{limits::CHUNK_BYTES, project::Project},
    store::{
        self, Pool,
        pending::{self, Lease},
    },
};

/// Bytes of the objects that one statement writes, at the least.
const BATCH_BYTES: usize = 1024 * 1024;
/// Objects that one statement writes at most.
const BATCH_OBJECTS: usize = 500;

/// Writes contents to a project's store.
pub(crate) struct BlobWriter<'a> {
    pool: &'a Pool,
    lease: Lease,
    max_bytes: u64,
    /// Small contents that are not written yet.
    batch: BTreeMap<Oid, Object>,
    batch_bytes: usize,
}

impl<'a> BlobWriter<'a> {
    /// Takes a lease.
    ///
    /// # Errors
    /// [`Error::ProjectNotFound`] if the project was purged meanwhile.
    pub(crate) async fn begin(writer: Writer<'a>, project: &Project) -> Result<Self, Error> {
        let (pool, quotas) = (&writer.objects.pool, writer.quotas);
        let lease = Lease {
            id: Uuid::now_v7(),
            store: project.store,
            project: project.id,
            owner: project.owner,
            max_bytes: quotas.max_bytes(project.plan),
        };
        let mut db = store::connection(pool).await?;
        if !pending::begin(&mut db, &lease).await? {
            return Err(Error::ProjectNotFound);
        }
        Ok(Self { pool, lease, max_bytes: quotas.bytes.of(project.plan), batch: BTreeMap::new(), batch_bytes: 0 })
    }

    /// The id of the lease.
    pub(crate) fn lease(&self) -> Uuid {
        self.lease.id
    }

    /// Begins a content of `size` bytes.
    pub(crate) fn blob(&mut self, size: u32) -> NewBlob<'_, 'a> {
        NewBlob { writer: self, check: BlobCheck::new(size), size, part: BytesMut::new(), id: Uuid::now_v7(), chunks: 0 }
    }

    /// Adds the folders of a tree that has no id yet. Returns its id.
    ///
    /// # Errors
    /// As [`BlobWriter::flush`].
    pub(crate) async fn add_tree(&mut self, tree: &mut Folder) -> Result<Oid, Error> {
        let mut objects = Vec::new();
        let oid = tree.write(&mut objects);
        for object in objects {
            self.add_object(object).await?;
        }
        Ok(oid)
    }

    /// Writes all contents that are not written yet. To be called before the revision.
    ///
    /// # Errors
    /// [`Error::AccountTooLarge`]; [`Error::WriteExpired`] if the lease was lost.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let objects: Vec<Object> = std::mem::take(&mut self.batch).into_values().collect();
        self.batch_bytes = 0;
        if objects.is_empty() {
            return Ok(());
        }
        // The connection is given back before the refusal takes one.
        let written = {
            let mut db = store::connection(self.pool).await?;
            pending::write(&mut db, &self.lease, &objects).await?
        };
        if written { Ok(()) } else { Err(self.refusal().await?) }
    }

    /// Renews the lease, as every write does. To be called while a request waits for long.
    ///
    /// # Errors
    /// [`Error::WriteExpired`] if the lease was lost.
    pub(crate) async fn renew(&self) -> Result<(), Error> {
        if pending::renew(self.pool, &self.lease).await? { Ok(()) } else { Err(Error::WriteExpired) }
    }

    /// Ends the lease, if no revision has ended it. To be called when a request has failed, or has changed nothing.
    pub(crate) async fn end(self) -> Result<(), Error> {
        Ok(pending::end(self.pool, self.lease.id).await?)
    }

    /// Why nothing was written.
    async fn refusal(&self) -> Result<Error, Error> {
        let is_valid = pending::is_valid(self.pool, self.lease.id).await?;
        Ok(if is_valid { Error::AccountTooLarge { limit: self.max_bytes } } else { Error::WriteExpired })
    }

    async fn add(&mut self, content: Bytes, oid: Oid) -> Result<(), Error> {
        if self.batch.contains_key(&oid) {
            return Ok(());
        }
        let object = blocking::run(content.len(), move || git::blob(oid, &content)).await;
        self.add_object(object).await
    }

    async fn add_object(&mut self, object: Object) -> Result<(), Error> {
        self.batch_bytes += object.data.len();
        self.batch.insert(object.oid, object);
        let is_full = self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_OBJECTS;
        if is_full { self.flush().await } else { Ok(()) }
    }
}

/// Checks the size of a content that arrives in parts, and finds its id.
pub(crate) struct BlobCheck {
    hasher: BlobHasher,
    size: u32,
    received: usize,
}

impl BlobCheck {
    /// Of a content that must have `size` bytes.
    pub(crate) fn new(size: u32) -> Self {
        Self { hasher: BlobHasher::new(size), size, received: 0 }
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`Error::Field`] if the content is longer than it was declared.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.received += bytes.len();
        if self.received > self.size as usize {
            return Err(self.wrong_size("more"));
        }
        self.hasher.update(bytes);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.received == self.size as usize
    }

    /// The complete content.
    ///
    /// # Errors
    /// [`Error::Field`] if the content is shorter than it was declared, or has a known SHA-1 collision.
    pub(crate) fn finish(self) -> Result<FileRef, Error> {
        if self.received < self.size as usize {
            return Err(self.wrong_size("fewer"));
        }
        let oid = self.hasher.finish().map_err(|problem| Error::Field { field: "data".to_owned(), problem: problem.to_string() })?;
        Ok(FileRef { oid, size: self.size })
    }

    fn wrong_size(&self, how: &str) -> Error {
        Error::Field { field: "size_bytes".to_owned(), problem: format!("is {}, but the content has {how} bytes", self.size) }
    }
}

/// A content that is being written. At most one chunk of it is in memory.
pub(crate) struct NewBlob<'w, 'a> {
    writer: &'w mut BlobWriter<'a>,
    check: BlobCheck,
    size: u32,
    part: BytesMut,
    id: Uuid,
    chunks: i32,
}

impl NewBlob<'_, '_> {
    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`Error::Field`] if the content is longer than it was declared; [`Error::AccountTooLarge`]; [`Error::WriteExpired`].
    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.check.update(&bytes)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - self.part.len()));
            self.part.extend_from_slice(now);
            rest = later;
            if self.part.len() == CHUNK_BYTES && self.size as usize > CHUNK_BYTES {
                self.write_chunk().await?;
            }
        }
        Ok(())
    }

    /// Completes the content.
    ///
    /// # Errors
    /// [`Error::Field`] if the content is shorter than it was declared, or has a known SHA-1 collision; [`Error::AccountTooLarge`];
    /// [`Error::WriteExpired`].
    pub(crate) async fn finish(mut self) -> Result<FileRef, Error> {
        let Self { size, .. } = self;
        if size as usize > CHUNK_BYTES && !self.part.is_empty() && self.check.is_complete() {
            self.write_chunk().await?;
        }
        let Self { writer, check, part, id, .. } = self;
        let file = check.finish()?;
        let oid = file.oid;
        if size as usize <= CHUNK_BYTES {
            writer.add(part.freeze(), oid).await?;
            return Ok(file);
        }
        let mut db = store::connection(writer.pool).await?;
        // A store that has the object already does not need the chunks.
        if pending::finish_chunks(&mut db, &writer.lease, &git::chunked_blob(oid, size, id)).await?
            || pending::drop_chunks(&mut db, &writer.lease, id).await?
        {
            return Ok(file);
        }
        Err(Error::WriteExpired)
    }

    async fn write_chunk(&mut self) -> Result<(), Error> {
        let chunk = self.part.split().freeze();
        let writer = &*self.writer;
        let mut db = store::connection(writer.pool).await?;
        if !pending::write_chunk(&mut db, &writer.lease, self.id, self.chunks, &chunk).await? {
            drop(db);
            return Err(writer.refusal().await?);
        }
        self.chunks += 1;
        Ok(())
    }
}
