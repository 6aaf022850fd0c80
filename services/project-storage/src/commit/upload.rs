//! An upload: a content that arrives in parts becomes one file in one revision.

use std::sync::Arc;

use chassis::{
    context::Context,
    share::{Holder, Percent, Share, Shares},
};
use prost::bytes::Bytes;
use proto::{auth::Plan, id::ProjectId};
use ring::digest::{Context as Digest, SHA256};
use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        blobs::{BlobCheck, BlobWriter},
        request::{RequestKey, SavePolicy, SaveRequest},
        save::{self, Save, SaveResult},
        stage::{Base, Edit, StageResult, stage},
    },
    error::{Error, SERVICE},
    git::{FileRef, Oid},
    locks,
    merge::MergeMode,
    model::{
        change::{Action, Change, ChangeSet, FileCondition},
        condition::Condition,
        limits::Limits,
        media::HEAD_BYTES,
        path::FilePath,
        project::{Member, Role, Target, User, require},
        revision::Actor,
    },
    read::{checkout::Checkout, load::MergeSlot, member},
    store::{
        self, Pool,
        saves::{self, RecordedSave},
    },
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

impl Upload {
    fn change_set(&self, file: FileRef) -> ChangeSet {
        let change = Change { path: self.path.clone(), action: Action::Put(file), condition: self.condition.clone() };
        ChangeSet { changes: vec![change], replace: false }
    }

    /// The fingerprint has the content, so it is known only after the last part.
    fn key(&self, file: FileRef) -> Option<RequestKey> {
        let mut digest = Digest::new(&SHA256);
        digest.update(&self.fields);
        digest.update(file.oid.as_bytes());
        (!self.request_id.is_empty()).then(|| RequestKey { id: self.request_id.clone(), fingerprint: digest.finish().as_ref().to_vec() })
    }

    /// What a request with the same idempotency key did before.
    async fn find_recorded(&self, pool: &Pool) -> Result<Option<RecordedSave>, Error> {
        Ok(if self.request_id.is_empty() { None } else { saves::find_recorded(pool, self.user.id, &self.request_id).await? })
    }
}

/// Uploads, or returns what an earlier request with the same id and content did.
///
/// # Errors
/// Before anything of the content is read, if it is not a repeat: [`Error::FileTooLarge`], a condition that does not hold, a lock of the
/// path, a limit of the project, and a full account. Then the errors of a save, which checks the same again, and of [`BlobWriter`].
pub(crate) async fn upload(
    writer: Writer<'_>,
    mut policy: SavePolicy<'_>,
    upload: Upload,
    parts: impl Parts,
    now: OffsetDateTime,
) -> Result<UploadResult, Error> {
    let pool = &writer.objects.pool;
    let mut member = member::find(pool, upload.user.id, &Target::Id(upload.project), Role::Viewer).await?;
    // After the head was read, as with every save; and before all limits, which the first request has met.
    if let Some(recorded) = upload.find_recorded(pool).await? {
        return replay((writer, policy), (upload, recorded), parts, now).await;
    }
    require(Some(member.role), Role::Editor)?;
    if member.project.owner == upload.user.id {
        member.project.plan = upload.user.plan;
    }
    let size = upload.size_within(member.project.limits().asset_bytes)?;
    check_head((writer, policy.context), &member, &upload, size).await?;
    policy.count(upload.user.id).await?;
    let mut blobs = BlobWriter::begin(writer, &member.project).await?;
    let result = write_and_save(writer, policy, (upload, size), (&mut blobs, parts), now).await;
    // A revision has ended the lease already.
    let ended = blobs.end().await;
    let result = result?;
    ended?;
    Ok(result)
}

impl Upload {
    fn size_within(&self, limit: u32) -> Result<u32, Error> {
        let size = u32::try_from(self.size).unwrap_or(u32::MAX);
        if size > limit {
            return Err(Error::FileTooLarge { field: "size_bytes".to_owned(), path: self.path.to_string(), size, limit });
        }
        Ok(size)
    }
}

/// Checks what is known without the content: stages a file of this size with an id that no content has.
async fn check_head((writer, context): (Writer<'_>, &Context), member: &Member, upload: &Upload, size: u32) -> Result<(), Error> {
    let set = upload.change_set(FileRef { oid: Oid::EMPTY_TREE, size });
    let slot = MergeSlot { slots: writer.load_slots, context, user: upload.user.id };
    let edit = Edit { project: &member.project, head: member.head.as_ref(), base: Base::Head, set: &set, mode: MergeMode::Paths, slot };
    let staged = stage(writer.objects, edit).await.map_err(|error| error.in_field("path"))?;
    let mut db = store::connection(&writer.objects.pool).await?;
    if let StageResult::Applies(staged) = staged
        // A file of this size may have this content already. Then nothing is changed, which a lock allows.
        && !staged.differences.iter().any(|difference| difference.old.is_some_and(|old| old.size == size))
    {
        locks::check(&mut db, member, Actor::Person, (&staged.differences, &staged.tree)).await?;
    }
    writer.quotas.check_bytes(&mut db, &member.project, &[]).await
}

/// Reads the content of a repeat, and returns what the first request did. Nothing is written.
async fn replay(
    (writer, policy): (Writer<'_>, SavePolicy<'_>),
    (upload, recorded): (Upload, RecordedSave),
    mut parts: impl Parts,
    now: OffsetDateTime,
) -> Result<UploadResult, Error> {
    // The plan may have been a larger one.
    let size = upload.size_within(Limits::of_plan(Plan::Enterprise).asset_bytes)?;
    let (mut content, mut head) = (BlobCheck::new(size), Vec::new());
    while let Some(part) = parts.next().await? {
        head.extend(part.iter().take(HEAD_BYTES - head.len()));
        content.update(&part)?;
    }
    let file = content.finish()?;
    let key = upload.key(file).filter(|key| key.fingerprint == recorded.fingerprint).ok_or(Error::KeyReused)?;
    let request = SaveRequest::new(writer, policy, upload.user, Some(&key), now);
    let Checkout { project, revision, .. } = request.replay(recorded).await?;
    Ok(UploadResult { saved: SaveResult { project, revision, files: Vec::new(), replayed: true }, file, head })
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
    let (set, request) = (upload.change_set(file), upload.key(file));
    let Upload { user, project, message, .. } = upload;
    let (target, base, mode) = (Target::Id(project), None, MergeMode::Paths);
    let lease = Some(blobs.lease());
    let (condition, actor) = (Condition::default(), Actor::Person);
    let save = Save { user, target, created: None, condition, actor, base, set, mode, message, request, lease };
    let saved = save::save(writer, policy, save, now).await.map_err(|error| error.in_field("path"))?;
    Ok(UploadResult { saved, file, head })
}
