//! An import: the files of an archive become one revision of a project, or a new project, or nothing.

mod receive;

use chassis::{
    context::Context,
    share::{Holder, Percent, Share, Shares},
};
use futures::stream::BoxStream;
use prost::bytes::Bytes;
use proto::auth::Plan;
use ring::digest::{Context as Digest, SHA256};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::sync::watch;

use self::receive::{Received, receive};
use crate::{
    archive::{
        error::ArchiveError,
        read::{Contents, Limits as ArchiveLimits},
    },
    commit::{
        Writer,
        blobs::BlobWriter,
        request::{RequestKey, SavePolicy, SaveRequest},
        save::{self, Save, SaveResult},
    },
    error::{Error, SERVICE},
    git::{FileRef, Oid},
    merge::MergeMode,
    model::{
        change::{Action, Change, ChangeSet, FileCondition},
        condition::Condition,
        limits::Limits,
        path::FilePath,
        project::{self, Member, Project, Role, Target, UNNAMED, User},
        revision::Actor,
    },
    read::checkout::Checkout,
    store::{
        self, Pool, projects,
        saves::{self, RecordedSave},
        unused_stores,
    },
};

/// The field of errors about the files of an archive.
const FIELD: &str = "archive";
/// Bytes of an archive.
const ARCHIVE_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of all its entries, those that are skipped included.
const UNPACKED_BYTES: u64 = 1024 * 1024 * 1024;
/// Unpacked bytes for each byte of an archive. Source text has about 4, and a minified bundle 10.
const RATIO: u64 = 100;
/// Entries, those that are skipped included: `node_modules` of a large project has 60,000.
const ENTRIES: u32 = 100_000;
/// Folders that contain files.
const FOLDERS: u32 = 20_000;
/// Parts of a path.
const DEPTH: usize = 32;

/// How many imports may run at the same time. Each holds at most three files and a few messages in memory.
pub(crate) struct ImportSlots(Arc<Shares>);

impl ImportSlots {
    /// `percent`: the part of them that one address or user may have.
    pub(crate) fn new(slots: usize, percent: Percent) -> Self {
        Self(Shares::new(slots, percent))
    }

    pub(crate) fn take(&self, context: &Context) -> Result<Share, Error> {
        let person = context.user.as_ref().map(|user| user.id);
        let holder = Holder { connection: None, address: context.client_address, person };
        self.0.try_take(&holder, 1).map_err(|exhausted| Error::Fault(exhausted.fault(SERVICE, "imports in work")))
    }
}

/// What a user imports, without the archive.
pub(crate) struct Import {
    pub(crate) user: User,
    /// `None` for a new project.
    pub(crate) target: Option<Target>,
    /// The name of a new project; empty for the default name.
    pub(crate) name: String,
    /// Files that the archive does not have are removed.
    pub(crate) replace: bool,
    /// The condition that the project must meet.
    pub(crate) condition: Condition,
    /// The head that the user looked at; `None` for any.
    pub(crate) base: Option<Oid>,
    pub(crate) message: String,
    /// Empty for none.
    pub(crate) request_id: String,
    /// All fields that a repeat has as well, for the fingerprint of the request.
    pub(crate) fields: Vec<u8>,
    /// The bytes of the archive, if they are known before.
    pub(crate) size: Option<u64>,
}

/// The archive as it arrives, and who wants to know how far it is.
pub(crate) struct Source {
    pub(crate) messages: BoxStream<'static, Result<Bytes, Error>>,
    /// `None` until the request is accepted.
    pub(crate) progress: watch::Sender<Option<Progress>>,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) received_bytes: u64,
    /// Files that were read from the archive.
    pub(crate) files: u32,
}

/// The project after an import.
pub(crate) struct ImportResult {
    pub(crate) saved: SaveResult,
    pub(crate) contents: Contents,
}

/// Imports, or returns what an earlier request with the same id, fields and archive did.
///
/// # Errors
/// Before anything of the archive is read, if it is not a repeat: a role or a condition that does not hold, and a full account. Then
/// [`Error::Archive`] if the archive is refused; the errors of a save and of [`BlobWriter`]. Nothing is imported then.
pub(crate) async fn import(
    writer: Writer<'_>,
    mut policy: SavePolicy<'_>,
    import: Import,
    source: Source,
    now: OffsetDateTime,
) -> Result<ImportResult, Error> {
    let pool = &writer.objects.pool;
    check_size(import.size, ARCHIVE_BYTES)?;
    let destination = Destination::find(pool, &import, now).await?;
    // After the head was read, as with every save; and before all limits, which the first request has met.
    if let Some(recorded) = import.find_recorded(pool).await? {
        return replay((writer, policy), (import, recorded), source, now).await;
    }
    destination.check(writer, &import).await?;
    policy.count(import.user.id).await?;
    let store = destination.project().store;
    if let Destination::New(_) = destination {
        unused_stores::insert_store(pool, store).await?;
    }
    let mut blobs = BlobWriter::begin(writer, destination.project()).await?;
    let result = read_and_save(writer, policy, (import, &destination), (&mut blobs, source), now).await;
    // A failure leaves the rest to the sweeps.
    if let Err(error) = clean_up(pool, blobs, &destination).await {
        tracing::warn!(%error, "what an import does not need any more could not be deleted");
    }
    result
}

/// Ends the lease, unless a revision has ended it, and deletes the store of a project that was not made.
async fn clean_up(pool: &Pool, blobs: BlobWriter<'_>, destination: &Destination) -> Result<(), Error> {
    blobs.end().await?;
    if let Destination::New(project) = destination {
        while unused_stores::delete_part_of_unused_store(pool, project.store).await? {}
    }
    Ok(())
}

/// Reads the archive of a repeat, and returns what the first request did. Nothing is written.
async fn replay(
    (writer, policy): (Writer<'_>, SavePolicy<'_>),
    (import, recorded): (Import, RecordedSave),
    source: Source,
    now: OffsetDateTime,
) -> Result<ImportResult, Error> {
    // The plan may have been a larger one.
    let limits = archive_limits(&Limits::of_plan(Plan::Enterprise));
    let Received { contents, digest, .. } = receive(None, limits, source).await?;
    let user = import.user;
    let key = import.key(&digest).filter(|key| key.fingerprint == recorded.fingerprint).ok_or(Error::KeyReused)?;
    let request = SaveRequest::new(writer, policy, user, Some(&key), now);
    let Checkout { project, revision, .. } = request.replay(recorded).await?;
    Ok(ImportResult { saved: SaveResult { project, revision, files: Vec::new(), replayed: true }, contents })
}

impl Import {
    /// What a request with the same idempotency key did before.
    async fn find_recorded(&self, pool: &Pool) -> Result<Option<RecordedSave>, Error> {
        Ok(if self.request_id.is_empty() { None } else { saves::find_recorded(pool, self.user.id, &self.request_id).await? })
    }

    /// The fingerprint has the archive, so it is known only after its last byte.
    fn key(&self, digest: &[u8]) -> Option<RequestKey> {
        let mut fingerprint = Digest::new(&SHA256);
        fingerprint.update(&self.fields);
        fingerprint.update(digest);
        (!self.request_id.is_empty())
            .then(|| RequestKey { id: self.request_id.clone(), fingerprint: fingerprint.finish().as_ref().to_vec() })
    }
}

/// Where the files go.
enum Destination {
    Existing(Box<Member>),
    New(Box<Project>),
}

impl Destination {
    async fn find(pool: &Pool, import: &Import, now: OffsetDateTime) -> Result<Self, Error> {
        let found = match &import.target {
            Some(target) => projects::find(pool, import.user.id, target).await?,
            None => None,
        };
        match (found, &import.target) {
            (Some(mut member), _) => {
                if member.project.owner == import.user.id {
                    member.project.plan = import.user.plan;
                }
                Ok(Self::Existing(Box::new(member)))
            }
            (None, Some(Target::Id(_))) => Err(Error::ProjectNotFound),
            (None, target) => {
                let draft = match target {
                    Some(Target::Draft(draft)) => Some(draft.clone()),
                    _ => None,
                };
                let name = if import.name.is_empty() { UNNAMED.to_owned() } else { import.name.clone() };
                Ok(Self::New(Box::new(Project::new(import.user, draft, name, now))))
            }
        }
    }

    /// Checks what is known without the archive. The save checks the same again.
    async fn check(&self, writer: Writer<'_>, import: &Import) -> Result<(), Error> {
        match self {
            Self::Existing(member) => {
                project::require(Some(member.role), Role::Editor)?;
                import.condition.check(Some(&member.project))?;
                let mut db = store::connection(&writer.objects.pool).await?;
                writer.quotas.check_bytes(&mut db, &member.project, &[]).await
            }
            Self::New(project) => {
                import.condition.check(None)?;
                if import.base.is_some() {
                    return Err(Error::RevisionNotFound);
                }
                let mut db = store::connection(&writer.objects.pool).await?;
                writer.quotas.check_new(&mut db, project).await
            }
        }
    }

    fn project(&self) -> &Project {
        match self {
            Self::Existing(member) => &member.project,
            Self::New(project) => project,
        }
    }
}

fn check_size(size: Option<u64>, limit: u64) -> Result<(), Error> {
    if size.is_some_and(|size| size > limit) {
        return Err(ArchiveError::TooLarge { what: "bytes", limit, entry: None }.into());
    }
    Ok(())
}

fn archive_limits(limits: &Limits) -> ArchiveLimits {
    ArchiveLimits {
        archive_bytes: ARCHIVE_BYTES,
        unpacked_bytes: UNPACKED_BYTES,
        ratio: RATIO,
        entries: ENTRIES,
        folders: FOLDERS,
        depth: DEPTH,
        file_bytes: limits.asset_bytes.into(),
    }
}

async fn read_and_save(
    writer: Writer<'_>,
    policy: SavePolicy<'_>,
    (import, destination): (Import, &Destination),
    (blobs, source): (&mut BlobWriter<'_>, Source),
    now: OffsetDateTime,
) -> Result<ImportResult, Error> {
    let Received { contents, files, digest, bytes } =
        receive(Some(&mut *blobs), archive_limits(&destination.project().limits()), source).await?;
    if let Some(size) = import.size.filter(|size| *size != bytes) {
        return Err(Error::Field { field: "size_bytes".to_owned(), problem: format!("is {size}, but the archive has {bytes} bytes") });
    }
    if contents.files.is_empty() {
        return Err(ArchiveError::Invalid { entry: None, problem: "has no file to import".to_owned() }.into());
    }
    blobs.flush().await?;
    let save = save_of(import, destination, (&contents, &files), (&digest, blobs))?;
    let saved = save::save(writer, policy, save, now).await.map_err(|error| error.in_field(FIELD))?;
    Ok(ImportResult { saved, contents })
}

fn default_message(count: usize) -> String {
    if count == 1 { "Import 1 file".to_owned() } else { format!("Import {count} files") }
}

/// The save that puts the files, whose contents are stored.
fn save_of(
    import: Import,
    destination: &Destination,
    (contents, files): (&Contents, &[FileRef]),
    (digest, blobs): (&[u8], &BlobWriter<'_>),
) -> Result<Save, Error> {
    let change = |path: &str, index: usize| -> Result<Change, Error> {
        let path = FilePath::parse(path).map_err(|problem| Error::invalid_path(FIELD.to_owned(), path, &problem))?;
        let file = *files.get(index).ok_or(ArchiveError::Stopped)?;
        Ok(Change { path, action: Action::Put(file), condition: FileCondition::Any })
    };
    let changes = contents.files.iter().map(|file| change(&file.path, file.index)).collect::<Result<Vec<_>, _>>()?;
    let request = import.key(digest);
    let created = match destination {
        Destination::New(project) => Some(Project::clone(project)),
        Destination::Existing(_) => None,
    };
    let count = changes.len();
    Ok(Save {
        user: import.user,
        actor: Actor::Import,
        target: import.target.unwrap_or(Target::Id(destination.project().id)),
        created,
        condition: import.condition,
        base: import.base,
        set: ChangeSet { changes, replace: import.replace },
        mode: MergeMode::Paths,
        message: if import.message.is_empty() { default_message(count) } else { import.message },
        request,
        lease: Some(blobs.lease()),
    })
}
