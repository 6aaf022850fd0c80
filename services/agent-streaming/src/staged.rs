//! The staged files of a running turn, for those who may read its project. They are folded from the log, so every replica has the same ones.

#[cfg(feature = "seeded-bugs")]
mod seeded_bugs;

use std::collections::HashMap;

use bytes::Bytes;
use chassis::{context::Context, git_id, seeded_bug};
use proto::{
    error::{ErrorCode, Fault, Violations},
    id::{ProjectId, TurnId},
};

use crate::{
    app::App,
    drive::base::TurnFiles,
    error::{Error, SERVICE},
    folds::{NO_RETRY, Sources},
    store::{Pool, events, turns},
    turn::{State, Turn},
    workspace::overlay::{BaseError, Content, Overlay},
};

/// Contents that are read together, unless there is only one.
const MAX_CONTENTS_BYTES: u64 = 8 * 1024 * 1024;

/// The staged files after an event.
pub(crate) struct Staged {
    pub(crate) project: ProjectId,
    /// The seq of that event.
    pub(crate) seq: u32,
    overlay: Overlay,
    base: TurnFiles,
}

/// A staged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedFile {
    pub(crate) path: String,
    /// The git id of the content.
    pub(crate) id: String,
    /// In bytes.
    pub(crate) size: u32,
    /// The base revision has no file with this content at this path.
    pub(crate) is_changed: bool,
}

/// The staged files of a turn that runs now.
///
/// # Errors
/// [`Error::TurnNotFound`], also if the user may not read the project. [`Error::TurnNotRunning`].
pub(crate) async fn read(app: &App, context: &Context, id: TurnId) -> Result<Staged, Error> {
    let user = context.user()?;
    let turn = turns::find_of_anyone(&app.db, id).await?.ok_or(Error::TurnNotFound)?;
    match turn.project_id {
        Some(project) => app.upstream.may_read(context, project).await?.then_some(()).ok_or(Error::TurnNotFound)?,
        // Only its user knows a turn that is not begun.
        None if turn.user_id != user.id || user.projects().is_some() => return Err(Error::TurnNotFound),
        None => {}
    }
    folded(app, turn, None).await
}

/// The staged files of a turn that runs now, for a caller that asks for the rights itself. With `until`, those after that event.
///
/// # Errors
/// [`Error::TurnNotFound`], [`Error::TurnNotRunning`].
pub(crate) async fn read_trusted(app: &App, id: TurnId, until: Option<u32>) -> Result<Staged, Error> {
    let turn = turns::find_of_anyone(&app.db, id).await?.ok_or(Error::TurnNotFound)?;
    let staged = folded(app, turn, until).await?;
    seeded_bug!(let staged = staged.for_a_preview());
    Ok(staged)
}

async fn folded(app: &App, turn: Turn, until: Option<u32>) -> Result<Staged, Error> {
    let id = turn.id;
    let turn = check_running(turn).inspect_err(|_| app.folds.forget(id))?;
    match fold(app, turn, until).await {
        Err(error) => Err(why_failed(&app.db, id, error).await),
        folded => folded,
    }
}

/// A turn that has started and has not ended.
fn check_running(turn: Turn) -> Result<Turn, Error> {
    match turn.state {
        State::Running | State::Committing if turn.started_at.is_some() => Ok(turn),
        state => Err(Error::TurnNotRunning { state, revision: turn.revision }),
    }
}

/// A turn that has ended meanwhile has other errors than a running one.
async fn why_failed(db: &Pool, id: TurnId, error: Error) -> Error {
    match turns::find_of_anyone(db, id).await {
        Ok(Some(turn)) => check_running(turn).err().unwrap_or(error),
        _ => error,
    }
}

/// The files after an event, or after the newest one. The same event always gives the same files.
async fn fold(app: &App, turn: Turn, until: Option<u32>) -> Result<Staged, Error> {
    let project = turn.project_id.ok_or(Error::TurnNotFound)?;
    let known = until.and_then(|until| app.folds.get(turn.id, until));
    let fold = match known {
        Some(fold) => fold,
        None => {
            let sources = Sources { db: &app.db, upstream: &app.upstream };
            let last = events::last_seq(&app.db, turn.id).await?;
            app.folds.at(sources, &turn, until.map_or(last, |until| until.min(last))).await?
        }
    };
    let base = TurnFiles { upstream: app.upstream.clone(), turn: turn.id, revision: fold.revision().to_owned(), timeout: NO_RETRY };
    Ok(Staged { project, seq: fold.seq(), overlay: fold.overlay().clone(), base })
}

impl Staged {
    /// The revision below the changes; empty for a project that had no files.
    pub(crate) fn base_revision(&self) -> &str {
        &self.base.revision
    }

    /// Sorted by path.
    pub(crate) fn files(&self) -> Vec<StagedFile> {
        let file = |(path, id, size): (String, String, u64)| {
            let is_changed = self.overlay.is_changed(&path, &id);
            StagedFile { path, id, size: u32::try_from(size).unwrap_or(u32::MAX), is_changed }
        };
        self.overlay.blobs().map(file).collect()
    }

    /// Contents by their ids, and in their order, of any size.
    ///
    /// # Errors
    /// [`Error::FileNotFound`], the contents are too large together, or the base could not be read.
    pub(crate) async fn contents(&mut self, ids: &[String]) -> Result<Vec<Bytes>, Error> {
        let files: HashMap<String, StagedFile> = self.files().into_iter().map(|file| (file.id.clone(), file)).collect();
        let wanted: Vec<&StagedFile> =
            ids.iter().map(|id| files.get(id).ok_or_else(|| Error::file_not_found(id))).collect::<Result<_, _>>()?;
        if wanted.len() > 1 && wanted.iter().map(|file| u64::from(file.size)).sum::<u64>() > MAX_CONTENTS_BYTES {
            let mut violations = Violations::default();
            violations.add("blob_ids", format!("must be one id, or have contents of at most {MAX_CONTENTS_BYTES} bytes together"));
            violations.check(SERVICE)?;
        }
        let paths: Vec<&str> = wanted.iter().map(|file| file.path.as_str()).collect();
        let read = self.overlay.bytes(&self.base, &paths).await.map_err(|BaseError(fault)| fault)?;
        Ok(read.ok_or_else(|| Fault::new(SERVICE, ErrorCode::Unavailable, "UNAVAILABLE", "project-storage has not sent all files"))?)
    }

    /// One file with its content, which is absent above the limit of texts.
    ///
    /// # Errors
    /// [`Error::FileNotFound`], or the base could not be read.
    pub(crate) async fn file(&mut self, path: &str) -> Result<(StagedFile, Option<Content>), Error> {
        let file = self.files().into_iter().find(|file| file.path == path).ok_or_else(|| Error::file_not_found(path))?;
        let read = self.overlay.read(&self.base, &[path]).await.map_err(|BaseError(fault)| fault)?;
        let content = read.into_iter().map(|(_, content)| content).find(|content| *content != Content::Asset);
        Ok((file, content))
    }
}

/// The git id of the tree with these files.
///
/// # Errors
/// The files are those of no tree, which a running turn never has.
pub(crate) fn tree_id(files: &[StagedFile]) -> Result<String, Error> {
    let id = git_id::tree_id(files.iter().map(|file| (file.path.as_str(), file.id.as_str())));
    id.ok_or_else(|| Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", "the staged files are not those of a tree").into())
}
