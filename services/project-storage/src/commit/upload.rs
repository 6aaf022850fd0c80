//! An upload: a content that arrives in parts becomes one file in one revision.

use std::sync::Arc;

use chassis::{
    context::Context,
    share::{Holder, Percent, Share, Shares},
};
use prost::bytes::Bytes;
use proto::id::ProjectId;
use ring::digest::{Context as Digest, SHA256};
use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        blobs::BlobWriter,
        request::{RequestKey, SavePolicy},
        save::{self, Save, SaveResult},
    },
    error::{Error, SERVICE},
    git::FileRef,
    merge::MergeMode,
    model::{
        change::{Action, Change, ChangeSet, FileCondition},
        condition::Condition,
        media::HEAD_BYTES,
        path::FilePath,
        project::{Role, Target, User},
        revision::Actor,
    },
    read::member,
};

/// Uploads of one process at the same time, and downloads as well. Each holds one part of its file in memory.
const SLOTS: usize = 64;

/// Slots for uploads and downloads.
pub(crate) struct UploadSlots {
    uploads: Arc<Shares>,
    downloads: Arc<Shares>,
}

impl UploadSlots {
    /// `percent`: the part of them that one address or user may have.
    pub(crate) fn new(percent: Percent) -> Self {
        Self { uploads: Shares::new(SLOTS, percent), downloads: Shares::new(SLOTS, percent) }
    }

    pub(crate) fn take(&self, context: &Context) -> Result<Share, Error> {
        take(&self.uploads, context, "open uploads")
    }

    pub(crate) fn take_download(&self, context: &Context) -> Result<Share, Error> {
        take(&self.downloads, context, "open downloads")
    }
}

fn take(shares: &Arc<Shares>, context: &Context, of: &str) -> Result<Share, Error> {
    let person = context.user.as_ref().map(|user| user.id);
    let holder = Holder { connection: None, address: context.client_address, person };
    shares.try_take(&holder, 1).map_err(|exhausted| Error::Fault(exhausted.fault(SERVICE, of)))
}

/// What a user uploads.
pub(crate) struct Upload {
    pub(crate) user: User,
    pub(crate) project: ProjectId,
    pub(crate) path: FilePath,
    /// The declared bytes of the content.
    pub(crate) size: u64,
    /// What must hold for the file at the path.
    pub(crate) condition: FileCondition,
    pub(crate) message: String,
    /// Empty for none.
    pub(crate) request_id: String,
    /// All other fields, for the fingerprint of the request.
    pub(crate) fields: Vec<u8>,
}

/// Where the parts of a content come from.
pub(crate) trait Parts: Send {
    /// The next part; `None` after the last one.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;
}

/// The project after an upload.
pub(crate) struct UploadResult {
    pub(crate) saved: SaveResult,
    pub(crate) file: FileRef,
    /// The beginning of the content.
    pub(crate) head: Vec<u8>,
}

/// Uploads, or returns what an earlier request with the same id and content did.
///
/// # Errors
/// [`Error::FileTooLarge`] before anything is read; the errors of a save and of [`BlobWriter`].
pub(crate) async fn upload(
    writer: Writer<'_>,
    mut policy: SavePolicy<'_>,
    upload: Upload,
    parts: impl Parts,
    now: OffsetDateTime,
) -> Result<UploadResult, Error> {
    let mut member = member::find(&writer.objects.pool, upload.user.id, &Target::Id(upload.project), Role::Editor).await?;
    if member.project.owner == upload.user.id {
        member.project.plan = upload.user.plan;
    }
    let limit = member.project.limits().asset_bytes;
    let size = u32::try_from(upload.size).unwrap_or(u32::MAX);
    if size > limit {
        return Err(Error::FileTooLarge { field: "size_bytes".to_owned(), path: upload.path.to_string(), size, limit });
    }
    policy.count(upload.user.id).await?;
    let mut blobs = BlobWriter::begin(writer, &member.project).await?;
    let result = write_and_save(writer, policy, (upload, size), (&mut blobs, parts), now).await;
    // A revision has ended the lease already.
    let ended = blobs.end().await;
    let result = result?;
    ended?;
    Ok(result)
}

async fn write_and_save(
    writer: Writer<'_>,
    policy: SavePolicy<'_>,
    (upload, size): (Upload, u32),
    (blobs, mut parts): (&mut BlobWriter<'_>, impl Parts),
    now: OffsetDateTime,
) -> Result<UploadResult, Error> {
    let (mut blob, mut head) = (blobs.blob(size), Vec::new());
    while let Some(part) = parts.next().await? {
        head.extend(part.iter().take(HEAD_BYTES - head.len()));
        blob.push(part).await?;
    }
    let file = blob.finish().await?;
    blobs.flush().await?;
    let Upload { user, project, path, condition, message, request_id, fields, .. } = upload;
    let mut digest = Digest::new(&SHA256);
    digest.update(&fields);
    digest.update(file.oid.as_bytes());
    let request = (!request_id.is_empty()).then(|| RequestKey { id: request_id, fingerprint: digest.finish().as_ref().to_vec() });
    let set = ChangeSet { changes: vec![Change { path, action: Action::Put(file), condition }], replace: false };
    let (target, base, mode) = (Target::Id(project), None, MergeMode::Paths);
    let lease = Some(blobs.lease());
    let (condition, actor) = (Condition::default(), Actor::Person);
    let save = Save { user, target, created: None, condition, actor, base, set, mode, message, request, lease };
    let saved = save::save(writer, policy, save, now).await.map_err(|error| error.in_field("path"))?;
    Ok(UploadResult { saved, file, head })
}
