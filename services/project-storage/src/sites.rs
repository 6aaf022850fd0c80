//! The published sites of projects, as their members manage them and as browsers read them.

use std::sync::Arc;

use chassis::context::Context;
use prost::bytes::Bytes;
use proto::id::{ProjectId, UserId};
use time::OffsetDateTime;

use crate::{
    archive::format::Format,
    error::{Error, SiteError},
    git::{Corruption, FileRef, Oid},
    model::{
        limits::CHUNK_BYTES,
        media,
        page::Page,
        path::FilePath,
        project::{Role, Target, require},
        site::{self, Deployment, Found, ServedDeployment, Site},
    },
    preview::matches_etag,
    read::{
        blob::{self, BlobReader},
        export::{self, ArchivedTree, Export, ExportSlots},
        load::LoadSlots,
        member,
        objects::Objects,
        tree,
    },
    store::{self, Pool, deployments, hashed_files, projects, sites},
};

/// The site of a project.
///
/// # Errors
/// [`SiteError::NotFound`] if nothing is published.
pub(crate) async fn get(pool: &Pool, user: UserId, project: ProjectId) -> Result<Site, Error> {
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    Ok(sites::find(pool, project).await?.ok_or(SiteError::NotFound)?)
}

/// A page of the deployments of a project, the newest first, with the number that is served and the key of the next page.
///
/// # Errors
/// [`SiteError::NotFound`] if nothing is published.
pub(crate) async fn list(
    pool: &Pool,
    user: UserId,
    project: ProjectId,
    page: Page<u32>,
) -> Result<(Vec<Deployment>, u32, Option<u32>), Error> {
    let site = get(pool, user, project).await?;
    let rows = deployments::page(pool, project, page.after.unwrap_or(u32::MAX), page.size + 1).await?;
    let (rows, next) = page.cut(rows, |deployment| deployment.number);
    Ok((rows, site.active, next))
}

/// Serves another deployment.
///
/// # Errors
/// [`SiteError::NotFound`]; [`SiteError::DeploymentNotFound`] if the site does not have it any more.
pub(crate) async fn activate(pool: &Pool, user: UserId, project: ProjectId, number: u32, now: OffsetDateTime) -> Result<Site, Error> {
    change(pool, user, project, async |tx| {
        let is_known = sites::activate(tx, project, number, now).await?;
        let site = sites::find(&mut *tx, project).await?.ok_or(SiteError::NotFound)?;
        if is_known { Ok(site) } else { Err(SiteError::DeploymentNotFound.into()) }
    })
    .await
}

/// Ends the site, and deletes its deployments. Somebody else may take its slug.
///
/// # Errors
/// [`SiteError::NotFound`] if nothing is published.
pub(crate) async fn unpublish(pool: &Pool, user: UserId, project: ProjectId) -> Result<(), Error> {
    change(pool, user, project, async |tx| if sites::delete(tx, project).await? { Ok(()) } else { Err(SiteError::NotFound.into()) }).await
}

/// Changes the site of a project in a transaction that locks the project, if the user is one of its admins.
async fn change<T>(
    pool: &Pool,
    user: UserId,
    project: ProjectId,
    write: impl AsyncFnOnce(&mut store::Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    // Before the lock, so that only admins can wait for it.
    member::find(pool, user, &Target::Id(project), Role::Admin).await?;
    let mut tx = store::begin(pool).await?;
    projects::lock(&mut tx, project).await?;
    let found = projects::find(&mut *tx, user, &Target::Id(project)).await?;
    require(found.map(|member| member.role), Role::Admin)?;
    let result = write(&mut tx).await?;
    store::commit(tx).await?;
    Ok(result)
}

/// Opens an archive of the files of a deployment. It has no folder around them.
///
/// # Errors
/// [`SiteError::DeploymentNotFound`]; no slot is free.
pub(crate) async fn export(
    objects: &Objects,
    slots: (&ExportSlots, &LoadSlots),
    context: &Context,
    (user, project, number): (UserId, ProjectId, u32),
    format: Format,
) -> Result<Export, Error> {
    let member = member::find(&objects.pool, user, &Target::Id(project), Role::Viewer).await?;
    let site = sites::find(&objects.pool, project).await?.ok_or(SiteError::NotFound)?;
    let id = deployments::tree(&objects.pool, project, number).await?.ok_or(SiteError::DeploymentNotFound)?;
    let store = member.project.store;
    let tree = tree::load(objects, store, id).await?;
    let name = format!("{}-{number}", site.slug);
    let archived = ArchivedTree { store, id, tree, name: &name, folder: "" };
    export::open_tree(slots, context, archived, format).await
}

/// A browser's request for a file of a site.
pub(crate) struct FileRequest<'a> {
    pub(crate) slug: &'a str,
    /// Decoded, without `/` at its start.
    pub(crate) path: &'a str,
    pub(crate) if_none_match: &'a str,
    /// The browser navigates to a page.
    pub(crate) page: bool,
}

/// What a browser gets.
pub(crate) enum Answer {
    File(SiteFile),
    /// The path of another address, decoded, with `/` at its start.
    Redirect(String),
}

/// A file of a site.
pub(crate) struct SiteFile {
    pub(crate) deployment: u32,
    pub(crate) path: String,
    pub(crate) file: FileRef,
    pub(crate) content_type: String,
    /// `None` if the browser has it, and if it is large.
    pub(crate) content: Option<Bytes>,
    pub(crate) is_not_modified: bool,
    /// The path has a hash of the content.
    pub(crate) is_hashed: bool,
    /// The file is the page for addresses that the site does not have.
    pub(crate) is_not_found: bool,
}

/// Reads what an address of a site leads to: in the deployment that is served, else a file with a hashed path in another one, which a page that
/// was opened before may load.
///
/// # Errors
/// [`SiteError::NotFound`]; [`Error::FileNotFound`] if the site has neither the address nor a page for unknown ones.
pub(crate) async fn read(objects: &Objects, request: FileRequest<'_>) -> Result<Answer, Error> {
    let FileRequest { slug, path, page, .. } = request;
    let served = sites::served(&objects.pool, slug, None).await?.ok_or(SiteError::NotFound)?;
    let root = tree::load(objects, served.store, served.tree).await?;
    let found = site::find(&root, &served.base_path, path, page);
    if !matches!(found, Some(Found::File { .. } | Found::Redirect(_)))
        && let Some((other, path, file)) = hashed_files::find(&objects.pool, &served, path).await?
    {
        let location = Location { deployment: &other, path, file, is_not_found: false, is_hashed: true };
        return answer(objects, location, request.if_none_match).await;
    }
    let (path, file, is_not_found) = match found.ok_or_else(|| not_found(path))? {
        Found::File { path, file } => (path, file, false),
        Found::NotFoundPage { path, file } => (path, file, true),
        Found::Redirect(path) => return Ok(Answer::Redirect(path)),
    };
    let is_hashed = is_hashed(objects, &served, &path).await?;
    answer(objects, Location { deployment: &served, path, file, is_not_found, is_hashed }, request.if_none_match).await
}

/// Where a file of a site is.
struct Location<'a> {
    deployment: &'a ServedDeployment,
    path: String,
    file: FileRef,
    /// It is the page for addresses that the site does not have.
    is_not_found: bool,
    /// Its path has a hash of the content.
    is_hashed: bool,
}

async fn answer(objects: &Objects, location: Location<'_>, if_none_match: &str) -> Result<Answer, Error> {
    let Location { deployment, path, file, is_not_found, is_hashed } = location;
    let is_not_modified = !is_not_found && matches_etag(if_none_match, file.oid);
    let is_read = !is_not_modified && file.size as usize <= CHUNK_BYTES;
    let content = if is_read { Some(content(objects, deployment, file).await?) } else { None };
    let content_type = media::by_name(&path);
    let deployment = deployment.number;
    Ok(Answer::File(SiteFile { deployment, path, file, content_type, content, is_not_modified, is_hashed, is_not_found }))
}

async fn content(objects: &Objects, served: &ServedDeployment, file: FileRef) -> Result<Bytes, Error> {
    let content = objects.contents(served.store, &[file]).await?.remove(&file.oid);
    Ok(content.ok_or(Corruption::Missing(file.oid))?)
}

async fn is_hashed(objects: &Objects, served: &ServedDeployment, path: &str) -> Result<bool, Error> {
    if served.hashed == Oid::EMPTY_TREE {
        return Ok(false);
    }
    Ok(tree::load(objects, served.store, served.hashed).await?.file(path).is_some())
}

/// Opens a part of a file that [`read`] has found.
///
/// # Errors
/// As [`read`]; [`SiteError::DeploymentNotFound`] if the deployment was deleted meanwhile.
pub(crate) async fn open(
    objects: &Objects,
    (slug, deployment, path): (&str, u32, &FilePath),
    (offset, length): (u64, Option<u64>),
) -> Result<BlobReader, Error> {
    let served = sites::served(&objects.pool, slug, Some(deployment)).await?;
    let served = match served {
        Some(served) => served,
        None if sites::served(&objects.pool, slug, None).await?.is_some() => return Err(SiteError::DeploymentNotFound.into()),
        None => return Err(SiteError::NotFound.into()),
    };
    let root: Arc<_> = tree::load(objects, served.store, served.tree).await?;
    let file = root.file(path.as_str()).ok_or_else(|| not_found(path.as_str()))?;
    BlobReader::open(objects, served.store, file, blob::range(file, offset, length)?).await
}

fn not_found(path: &str) -> Error {
    Error::FileNotFound { field: String::new(), path: path.to_owned() }
}
