//! An import: the files of an archive become one revision of a project, or a new project, or nothing.

mod receive;

use chassis::{
    context::Context,
    share::{Holder, Percent, Share, Shares},
};
use futures::stream::BoxStream;
use prost::bytes::Bytes;
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
        request::{RequestKey, SavePolicy},
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
        project::{self, Project, Role, Target, UNNAMED, User},
        revision::Actor,
    },
    store::{Pool, projects, saves, staging},
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
/// [`Error::Archive`] if the archive is refused; the errors of a save and of [`BlobWriter`]. Nothing is imported then.
pub(crate) async fn import(
    writer: Writer<'_>,
    mut policy: SavePolicy<'_>,
    import: Import,
    source: Source,
    now: OffsetDateTime,
) -> Result<ImportResult, Error> {
    let pool = &writer.objects.pool;
    let destination = Destination::find(pool, &import, now).await?;
    check_size(import.size, ARCHIVE_BYTES)?;
    if !is_repeat(pool, &import).await? {
        policy.count(import.user.id).await?;
    }
    let store = destination.project().store;
    if let Destination::New(_) = destination {
        staging::insert_store(pool, store).await?;
    }
    let result = match BlobWriter::begin(writer, destination.project()).await {
        Ok(mut blobs) => {
            let result = read_and_save(writer, policy, (import, &destination), (&mut blobs, source), now).await;
            // A revision has ended the lease. This is for a failure, and for a repeat.
            let ended = blobs.end().await;
            result.and_then(|imported| ended.map(|()| imported))
        }
        Err(error) => Err(error),
    };
    if let Destination::New(_) = destination {
        // A project that was made uses it.
        let deleted = staging::delete_unused_store(pool, store).await;
        return result.and_then(|imported| Ok(deleted.map(|()| imported)?));
    }
    result
}

/// Where the files go.
enum Destination {
    Existing(Project),
    New(Project),
}

impl Destination {
    async fn find(pool: &Pool, import: &Import, now: OffsetDateTime) -> Result<Self, Error> {
        let found = match &import.target {
            Some(target) => projects::find(pool, import.user.id, target).await?,
            None => None,
        };
        match (found, &import.target) {
            (Some(member), _) => {
                project::require(Some(member.role), Role::Editor)?;
                let mut project = member.project;
                if project.owner == import.user.id {
                    project.plan = import.user.plan;
                }
                Ok(Self::Existing(project))
            }
            (None, Some(Target::Id(_))) => Err(Error::ProjectNotFound),
            (None, target) => {
                let draft = match target {
                    Some(Target::Draft(draft)) => Some(draft.clone()),
                    _ => None,
                };
                let name = if import.name.is_empty() { UNNAMED.to_owned() } else { import.name.clone() };
                Ok(Self::New(Project::new(import.user, draft, name, now)))
            }
        }
    }

    fn project(&self) -> &Project {
        match self {
            Self::Existing(project) | Self::New(project) => project,
        }
    }
}

/// Whether the request id was used. A repeat is not counted; whether it really is one is known only after the archive.
async fn is_repeat(pool: &Pool, import: &Import) -> Result<bool, Error> {
    let id = &import.request_id;
    Ok(!id.is_empty() && saves::find_recorded(pool, import.user.id, id).await?.is_some())
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
    let Received { contents, files, digest, bytes } = receive(blobs, archive_limits(&destination.project().limits()), source).await?;
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
    let mut fingerprint = Digest::new(&SHA256);
    fingerprint.update(&import.fields);
    fingerprint.update(digest);
    let request =
        (!import.request_id.is_empty()).then(|| RequestKey { id: import.request_id, fingerprint: fingerprint.finish().as_ref().to_vec() });
    let created = match destination {
        Destination::New(project) => Some(project.clone()),
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
