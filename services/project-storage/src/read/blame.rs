//! Which revision made each line of a file.

use chassis::context::Context;
use prost::bytes::Bytes;
use proto::id::{ProjectId, UserId};

use crate::{
    blocking,
    error::Error,
    git::{self, FileRef, Oid, Span},
    model::{
        path::FilePath,
        project::{Role, Target},
        revision::Revision,
    },
    read::{history, load::LoadSlots, member, objects::Objects, walk},
};

mod search;

use search::Search;
pub(crate) use search::{BlameRange, Ranges};

/// Bytes of a file above which nothing is compared.
pub(crate) const MAX_FILE_BYTES: u32 = 1024 * 1024;
/// Lines of one answer.
pub(crate) const MAX_LINES: u32 = 10_000;

/// Which lines are blamed, and for whom.
pub(crate) struct Query {
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    pub(crate) path: FilePath,
    /// `None` is the head.
    pub(crate) revision: Option<Oid>,
    /// The first line, from 1.
    pub(crate) start: u32,
    /// The last line; the end of the file if it has fewer.
    pub(crate) end: u32,
}

/// The origins of lines.
pub(crate) struct Blame {
    /// The revision whose file was blamed.
    pub(crate) revision: Revision,
    pub(crate) file: FileRef,
    /// The lines of the whole file.
    pub(crate) total_lines: u32,
    pub(crate) ranges: Ranges,
    /// The line after which the next answer begins; `None` in the last one.
    pub(crate) next: Option<u32>,
}

/// Blames lines of a file.
///
/// # Errors
/// [`Error::RevisionNotFound`]; [`Error::FileNotFound`]; [`Error::FileTooLarge`] for a file above 1 MiB; [`Error::FileNotText`];
/// [`Error::Field`] if the file has no line `start`.
pub(crate) async fn blame(objects: &Objects, (slots, context): (&LoadSlots, &Context), query: Query) -> Result<Blame, Error> {
    let member = member::find(&objects.pool, query.user, &Target::Id(query.project), Role::Viewer).await?;
    let path = query.path.as_str();
    let missing = || Error::FileNotFound { field: String::new(), path: path.to_owned() };
    let revision = history::resolve(&objects.pool, &member, query.revision).await?.ok_or_else(missing)?;
    let slot = slots.take(context).await?;
    let file = walk::file_at(objects, &member.project, revision.tree, path).await?.ok_or_else(missing)?;
    if file.size > MAX_FILE_BYTES {
        return Err(Error::FileTooLarge { field: String::new(), path: path.to_owned(), size: file.size, limit: MAX_FILE_BYTES });
    }
    let total_lines = count_lines(objects, &member.project, (path, file)).await?;
    let first = query.start.max(1);
    if first > total_lines.max(1) {
        let problem = format!("must be at most {total_lines}, the number of lines of the file");
        return Err(Error::Field { field: "start_line".to_owned(), problem });
    }
    let end = query.end.min(total_lines).min(first.saturating_add(MAX_LINES - 1));
    let lines = (end + 1).saturating_sub(first);
    let span = Span { result: first - 1, at: first - 1, lines };
    let mut search = Search::new(objects, &member.project, slot);
    search.begin(&revision, path, file, span);
    let ranges = search.run().await?;
    let next = (end < query.end.min(total_lines)).then_some(end);
    Ok(Blame { revision, file, total_lines, ranges, next })
}

async fn count_lines(objects: &Objects, project: &crate::model::project::Project, (path, file): (&str, FileRef)) -> Result<u32, Error> {
    let content = content(objects, project, file).await?;
    let count = move || git::is_text(&content).then(|| git::count_lines(&content));
    let lines = blocking::run(file.size as usize, count).await;
    lines.ok_or_else(|| Error::FileNotText { path: path.to_owned() })
}

/// The content of a file.
async fn content(objects: &Objects, project: &crate::model::project::Project, file: FileRef) -> Result<Bytes, Error> {
    let mut contents = objects.contents(project.store, &[file]).await?;
    Ok(contents.remove(&file.oid).unwrap_or_default())
}
