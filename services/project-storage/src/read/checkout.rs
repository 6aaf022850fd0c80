//! A project's files at one revision.

use std::sync::Arc;

use proto::{
    id::{ProjectId, TurnId, UserId},
    plan::INLINE_BYTES,
};

use crate::{
    error::Error,
    git::{FileRef, Folder, Oid},
    model::{
        path::FilePath,
        project::{Member, Project, Role, StoreId, Target},
        revision::Revision,
    },
    read::{
        history, member,
        objects::{ListedFile, Objects},
        tree, turn_access,
    },
};

/// Bytes of files of any size that a turn reads together, unless there is only one.
const MAX_TURN_FILES_BYTES: u64 = 8 * 1024 * 1024;

/// A project with the tree of one of its revisions.
pub(crate) struct Checkout {
    pub(crate) project: Project,
    /// `None` in a project without files.
    pub(crate) revision: Option<Revision>,
    pub(crate) tree: Arc<Folder>,
}

/// The tree of a revision, or of the head, for a user who may read the project.
pub(crate) async fn for_user(objects: &Objects, user: UserId, project: ProjectId, revision: Option<Oid>) -> Result<Checkout, Error> {
    let member = member::find(&objects.pool, user, &Target::Id(project), Role::Viewer).await?;
    check_out(objects, member, revision).await
}

/// The tree of a revision, or of the head, for a turn whose user may read the project.
pub(crate) async fn for_turn(objects: &Objects, turn: TurnId, revision: Option<Oid>) -> Result<Checkout, Error> {
    let access = turn_access::find(&objects.pool, turn, Role::Viewer).await?;
    check_out(objects, access.member, revision).await
}

async fn check_out(objects: &Objects, member: Member, revision: Option<Oid>) -> Result<Checkout, Error> {
    let revision = history::resolve(&objects.pool, &member, revision).await?;
    let tree = tree::at_revision(objects, member.project.store, revision.as_ref()).await?;
    Ok(Checkout { project: member.project, revision, tree })
}

/// Where the content of a file is.
pub(crate) struct FileAt {
    pub(crate) store: StoreId,
    pub(crate) revision: Oid,
    pub(crate) file: FileRef,
}

/// One file of a revision, or of the head, without content, for a user who may read the project.
///
/// # Errors
/// [`Error::FileNotFound`] if the tree has no file at the path.
pub(crate) async fn file_at(
    objects: &Objects,
    user: UserId,
    project: ProjectId,
    revision: Option<Oid>,
    path: &FilePath,
) -> Result<FileAt, Error> {
    let Checkout { project, revision, tree } = for_user(objects, user, project, revision).await?;
    let found = revision.zip(tree.file(path.as_str()));
    let (revision, file) = found.ok_or_else(|| Error::FileNotFound { field: String::new(), path: path.to_string() })?;
    Ok(FileAt { store: project.store, revision: revision.id, file })
}

/// One file of a revision, or of the head, for a user who may read the project.
///
/// # Errors
/// [`Error::FileNotFound`] if the tree has no file at the path.
pub(crate) async fn file(
    objects: &Objects,
    user: UserId,
    project: ProjectId,
    revision: Option<Oid>,
    path: &FilePath,
) -> Result<ListedFile, Error> {
    let Checkout { project, tree, .. } = for_user(objects, user, project, revision).await?;
    let not_found = || Error::FileNotFound { field: String::new(), path: path.to_string() };
    let file = tree.file(path.as_str()).ok_or_else(not_found)?;
    let loaded = objects.load_up_to(project.store, vec![(path.to_string(), file)], INLINE_BYTES).await?;
    loaded.into_iter().next().ok_or_else(not_found)
}

/// Files of a turn's base revision with their contents. `paths` are those to read, in order; paths without a file are left out, and
/// without paths all files are read. A file above the text limit of the plan is an asset and comes without content, unless `any_size` is set.
/// Without a revision the turn began without files, whatever was saved since.
///
/// # Errors
/// With `any_size`, the files are more than one and too large together.
pub(crate) async fn turn_files(
    objects: &Objects,
    turn: TurnId,
    revision: Option<Oid>,
    paths: Vec<String>,
    any_size: bool,
) -> Result<Vec<ListedFile>, Error> {
    let access = turn_access::find(&objects.pool, turn, Role::Viewer).await?;
    let Some(revision) = revision else { return Ok(Vec::new()) };
    let Checkout { project, tree, .. } = check_out(objects, access.member, Some(revision)).await?;
    let files = if paths.is_empty() {
        tree.walk_files()
    } else {
        paths.into_iter().filter_map(|path| tree.file(&path).map(|file| (path, file))).collect()
    };
    if !any_size {
        return objects.load_up_to(project.store, files, project.limits().file_bytes).await;
    }
    if files.len() > 1 && files.iter().map(|(_, file)| u64::from(file.size)).sum::<u64>() > MAX_TURN_FILES_BYTES {
        let problem = format!("must be one path, or have contents of at most {MAX_TURN_FILES_BYTES} bytes together");
        return Err(Error::Field { field: "paths".to_owned(), problem });
    }
    objects.load_up_to(project.store, files, u32::MAX).await
}
