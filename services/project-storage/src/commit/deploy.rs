//! Publishing the built files of a revision: they become a deployment, which the project's site serves from then on. The builder is outside:
//! it learns the tree, and sends the files.

use futures::{StreamExt as _, stream, stream::BoxStream};
use prost::bytes::Bytes;
use proto::id::ProjectId;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::{
    commit::{
        Writer,
        blobs::BlobWriter,
        request::{RequestKey, SavePolicy},
        upload::UploadSlots,
    },
    error::{Error, SiteError},
    git::{FileRef, Folder, Oid},
    model::{
        layout,
        path::FilePath,
        project::{Member, Role, Target, User, require},
        publication::{Finding, Publication},
        revision::Revision,
        site::{BasePath, Deployment, INDEX, MAX_DEPLOYMENTS, Slug},
    },
    read::{history, member, tree},
    store::{
        self, Connection, Pool,
        deployments::{self, NewDeployment},
        hashed_files, pending, projects, publish_requests, sites,
    },
};

/// The field of errors about the path of a file.
const PATH: &str = "file.path";

/// What a user publishes.
pub(crate) struct Deploy {
    pub(crate) user: User,
    pub(crate) project: ProjectId,
    /// `None` for the head.
    pub(crate) revision: Option<Oid>,
    /// `None` for the slug that the site has.
    pub(crate) slug: Option<Slug>,
    pub(crate) base_path: BasePath,
    pub(crate) request: Option<RequestKey>,
}

/// The tree to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) revision: Oid,
    pub(crate) tree: Oid,
    pub(crate) is_compiled: bool,
}

/// The files as they arrive.
pub(crate) type Parts = BoxStream<'static, Result<Part, Error>>;

/// A part of the files.
pub(crate) enum Part {
    File(NewFile),
    /// The next bytes of the last file.
    Data(Bytes),
    /// There is no further file. What the build found.
    Complete(Vec<Finding>),
}

/// The beginning of a file.
pub(crate) struct NewFile {
    pub(crate) path: FilePath,
    pub(crate) content: NewContent,
    /// Whether the path has a hash of the content.
    pub(crate) hashed: bool,
}

pub(crate) enum NewContent {
    /// That of a file of the revision.
    Source(String),
    /// So many bytes follow.
    Bytes(u64),
}

/// What the builder learns and sends.
pub(crate) struct Conversation<'a> {
    /// Gets the tree to build after everything that is known without the files is checked.
    pub(crate) source: oneshot::Sender<Source>,
    pub(crate) parts: Parts,
    /// One is taken when the files begin.
    pub(crate) slots: &'a UploadSlots,
}

/// The outcome of a publication.
pub(crate) struct Deployed {
    pub(crate) publication: Publication,
    /// An earlier request with the same id published it.
    pub(crate) replayed: bool,
}

/// Publishes, or returns what an earlier request with the same id published.
pub(crate) async fn deploy(
    writer: Writer<'_>,
    mut policy: SavePolicy<'_>,
    deploy: Deploy,
    conversation: Conversation<'_>,
    now: OffsetDateTime,
) -> Result<Deployed, Error> {
    let pool = &writer.objects.pool;
    let mut member = member::find(pool, deploy.user.id, &Target::Id(deploy.project), Role::Admin).await?;
    if let Some(deployed) = deploy.find_recorded(pool).await? {
        return Ok(deployed);
    }
    if member.project.owner == deploy.user.id {
        member.project.plan = deploy.user.plan;
    }
    deploy.check_slug(pool).await?;
    // The commit of a conflicted turn has no number.
    let revision = history::resolve(pool, &member, deploy.revision).await?.filter(|revision| revision.number > 0);
    let revision = revision.ok_or(Error::RevisionNotFound)?;
    let tree = tree::load(writer.objects, member.project.store, revision.tree).await?;
    policy.count(deploy.user.id).await?;
    let found = Source { revision: revision.id, tree: revision.tree, is_compiled: layout::is_compiled(&tree) };
    let Conversation { source, mut parts, slots } = conversation;
    // The request has ended if nobody receives it. Then its files end as well.
    let _ = source.send(found);
    let mut builder =
        Builder { member: &member, tree: &tree, site: Folder::default(), hashed: Folder::default(), hashed_files: Vec::new() };
    // The slot and the lease begin with the first file, because a build may take long.
    let first = parts.next().await.transpose()?.ok_or_else(incomplete)?;
    let _slot = slots.take(policy.context)?;
    let parts = stream::once(async { Ok(first) }).chain(parts).boxed();
    let mut blobs = BlobWriter::begin(writer, &member.project).await?;
    let result = receive_and_write(pool, &deploy, (&mut builder, &mut blobs), (&revision, parts), now).await;
    // The publication has ended the lease. A failure leaves the rest to the sweep.
    if !matches!(result, Ok(Deployed { replayed: false, .. }))
        && let Err(error) = blobs.end().await
    {
        tracing::warn!(%error, "the lease of a publication could not be ended");
    }
    result
}

async fn receive_and_write(
    pool: &Pool,
    deploy: &Deploy,
    (builder, blobs): (&mut Builder<'_>, &mut BlobWriter<'_>),
    (revision, mut parts): (&Revision, Parts),
    now: OffsetDateTime,
) -> Result<Deployed, Error> {
    let findings = builder.receive(blobs, &mut parts).await?;
    let (tree, hashed) = (blobs.add_tree(&mut builder.site).await?, blobs.add_tree(&mut builder.hashed).await?);
    blobs.flush().await?;
    let deployment = Deployment {
        number: 0,
        revision: revision.id,
        base_path: deploy.base_path.as_str().to_owned(),
        files: builder.site.files(),
        bytes: builder.site.bytes(),
        user: deploy.user.id,
        created_at: now,
    };
    let mut tx = store::begin(pool).await?;
    if !pending::take(&mut tx, blobs.lease()).await? {
        return Err(Error::WriteExpired);
    }
    let built = Built { deployment, findings, tree, hashed, hashed_files: &builder.hashed_files };
    match deploy.write(&mut tx, built).await {
        Ok(publication) => {
            store::commit(tx).await?;
            Ok(Deployed { publication, replayed: false })
        }
        // A request with the same id was faster.
        Err(Error::Store(error)) if error.violates(publish_requests::REQUEST_KEY) => {
            drop(tx);
            deploy.find_recorded(pool).await?.ok_or(Error::Busy)
        }
        Err(error) => Err(error),
    }
}

impl Deploy {
    async fn find_recorded(&self, pool: &Pool) -> Result<Option<Deployed>, Error> {
        let Some(request) = &self.request else { return Ok(None) };
        let recorded = publish_requests::find(pool, self.user.id, &request.id).await?;
        let Some((publication, fingerprint)) = recorded else { return Ok(None) };
        if fingerprint != request.fingerprint {
            return Err(Error::KeyReused);
        }
        Ok(Some(Deployed { publication, replayed: true }))
    }

    async fn check_slug(&self, pool: &Pool) -> Result<(), Error> {
        match &self.slug {
            Some(slug) if sites::is_taken(pool, self.project, slug.as_str()).await? => {
                Err(SiteError::SlugTaken { slug: slug.as_str().to_owned() }.into())
            }
            None if sites::find(pool, self.project).await?.is_none() => Err(slug_missing()),
            _ => Ok(()),
        }
    }

    /// Stores the deployment, and lets the site serve it.
    async fn write(&self, tx: &mut Connection, built: Built<'_>) -> Result<Publication, Error> {
        let Built { mut deployment, findings, tree, hashed, hashed_files } = built;
        projects::lock(tx, self.project).await?;
        let found = projects::find(&mut *tx, self.user.id, &Target::Id(self.project)).await?;
        require(found.map(|member| member.role), Role::Admin)?;
        let current = sites::find(&mut *tx, self.project).await?.map(|site| site.slug);
        let slug = self.slug.as_ref().map(|slug| slug.as_str().to_owned()).or(current).ok_or_else(slug_missing)?;
        let advanced = sites::advance(tx, self.project, &slug, deployment.created_at).await;
        deployment.number = advanced
            .map_err(|error| if error.violates(sites::SLUG_KEY) { Error::from(SiteError::SlugTaken { slug }) } else { error.into() })?;
        let new = NewDeployment { project: self.project, deployment: &deployment, tree, hashed };
        deployments::insert(tx, &new).await?;
        hashed_files::insert(tx, (self.project, deployment.number), &deployment.base_path, hashed_files).await?;
        deployments::delete_up_to(tx, self.project, deployment.number.saturating_sub(MAX_DEPLOYMENTS)).await?;
        let site = sites::find(&mut *tx, self.project).await?.ok_or(SiteError::NotFound)?;
        let publication = Publication { site, deployment, findings };
        if let Some(request) = &self.request {
            publish_requests::insert(tx, request.row(), &publication).await?;
        }
        Ok(publication)
    }
}

fn slug_missing() -> Error {
    Error::Field { field: "slug".to_owned(), problem: "is required, because the project has no site yet".to_owned() }
}

/// The trees of a site while its files arrive.
struct Builder<'a> {
    member: &'a Member,
    /// The files of the revision.
    tree: &'a Folder,
    site: Folder,
    hashed: Folder,
    /// The files of `hashed` with their paths.
    hashed_files: Vec<(String, FileRef)>,
}

/// A deployment whose contents are stored.
struct Built<'a> {
    deployment: Deployment,
    findings: Vec<Finding>,
    tree: Oid,
    hashed: Oid,
    hashed_files: &'a [(String, FileRef)],
}

impl Builder<'_> {
    /// Reads all files, and stores their contents. Returns what the build found.
    async fn receive(&mut self, blobs: &mut BlobWriter<'_>, parts: &mut Parts) -> Result<Vec<Finding>, Error> {
        while let Some(part) = parts.next().await {
            let NewFile { path, content, hashed } = match part? {
                Part::File(new) => new,
                Part::Complete(findings) => return self.check_page().map(|()| findings),
                Part::Data(_) => return Err(field("data", "must follow a file")),
            };
            self.check_path(&path, &content)?;
            let file = match content {
                NewContent::Source(source) => {
                    let not_found = || Error::FileNotFound { field: "file.source_path".to_owned(), path: source.clone() };
                    self.tree.file(&source).ok_or_else(not_found)?
                }
                NewContent::Bytes(size) => receive_content(blobs, self.size_within_limit(&path, size)?, parts).await?,
            };
            self.put(&path, file, hashed)?;
        }
        Err(incomplete())
    }

    fn check_path(&self, path: &FilePath, content: &NewContent) -> Result<(), Error> {
        let invalid = |problem: String| Error::InvalidPath { field: PATH.to_owned(), path: path.to_string(), problem };
        // A copy keeps the name that a file of the project has.
        if let NewContent::Bytes(_) = content {
            path.check_new().map_err(|problem| Error::invalid_path(PATH.to_owned(), path.as_str(), &problem))?;
        }
        if proto::path::is_hidden(path.as_str()) {
            return Err(invalid("a part of it begins with a dot, and such files are not published".to_owned()));
        }
        if self.site.get(path.as_str()).is_some() {
            return Err(invalid("it is in the site already".to_owned()));
        }
        Ok(())
    }

    fn size_within_limit(&self, path: &FilePath, size: u64) -> Result<u32, Error> {
        let limit = self.member.project.limits().asset_bytes;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        if size > limit {
            return Err(Error::FileTooLarge { field: PATH.to_owned(), path: path.to_string(), size, limit });
        }
        Ok(size)
    }

    fn put(&mut self, path: &FilePath, file: FileRef, hashed: bool) -> Result<(), Error> {
        let put = |folder: &mut Folder| {
            folder.put(path.as_str(), file).map_err(|clash| {
                let problem = clash.to_string();
                Error::InvalidPath { field: PATH.to_owned(), path: path.to_string(), problem }
            })
        };
        put(&mut self.site)?;
        if hashed {
            put(&mut self.hashed)?;
            self.hashed_files.push((path.to_string(), file));
        }
        let (limits, field, path) = (self.member.project.limits(), PATH.to_owned(), path.to_string());
        if self.site.files() > limits.files {
            return Err(Error::TooManyFiles { field, path, limit: limits.files });
        }
        if self.site.bytes() > u64::from(limits.project_bytes) {
            return Err(Error::ProjectTooLarge { field, path, limit: limits.project_bytes });
        }
        if limits.has_full_folder(&self.site, &path) {
            return Err(Error::FolderTooLarge { field, path, limit: limits.folder_entries });
        }
        Ok(())
    }

    fn check_page(&self) -> Result<(), Error> {
        let has_page = self.site.file(INDEX).is_some();
        if has_page { Ok(()) } else { Err(Error::FileNotFound { field: "revision".to_owned(), path: INDEX.to_owned() }) }
    }
}

/// Reads the bytes of a file, and stores them.
async fn receive_content(blobs: &mut BlobWriter<'_>, size: u32, parts: &mut Parts) -> Result<FileRef, Error> {
    let mut blob = blobs.blob(size);
    let mut left = size as usize;
    while left > 0 {
        let Some(Part::Data(bytes)) = parts.next().await.transpose()? else {
            return Err(field("file.size_bytes", format!("is {size}, but the content has fewer bytes")));
        };
        if bytes.is_empty() {
            return Err(field("data", "must not be empty"));
        }
        left = left.saturating_sub(bytes.len());
        blob.push(bytes).await?;
    }
    blob.finish().await
}

fn incomplete() -> Error {
    field("complete", "must be in the last message")
}

fn field(name: &str, problem: impl Into<String>) -> Error {
    Error::Field { field: name.to_owned(), problem: problem.into() }
}
