//! Loading a whole project, in one answer or in pages.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{
    context::Context,
    share::{Exhausted, Holder, Percent, Share, Shares},
};
use proto::{id::UserId, plan::INLINE_BYTES};

use crate::{
    error::{Error, SERVICE},
    git::{FileRef, Folder, Oid},
    model::{
        project::{Project, Role, Target},
        revision::Revision,
    },
    read::{
        history, member,
        objects::{ListedFile, Objects},
        tree,
    },
};

/// Bytes of the largest page. With one more file it is still smaller than 4 MiB, the default limit of gRPC clients.
pub(crate) const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;
/// Bytes of the contents of a load without pages.
const MAX_LOAD_BYTES: u64 = 50 * 1024 * 1024;
/// Bytes that a file takes on the wire besides its content and its path.
const FILE_OVERHEAD_BYTES: usize = 256;
/// How long a caller without a deadline waits for a slot.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long a stream that has begun waits for a slot. The wait is finite, because each slot is held for one part of work only.
const MAX_STREAM_WAIT: Duration = Duration::from_secs(600);

/// Slots for merges, and for pages of files, of differences, of searches and of histories that are read at the same time. Each has megabytes to read and
/// decode, so a user with many at the same time would slow down all others.
pub(crate) struct LoadSlots(Arc<Shares>);

impl LoadSlots {
    /// `slots`: the pages that are read at the same time; `percent`: the part of them that one address or user may have.
    pub(crate) fn new(slots: usize, percent: Percent) -> Self {
        Self(Shares::new(slots, percent))
    }

    /// Waits for a slot until the caller's deadline.
    ///
    /// # Errors
    /// [`Error::Fault`] with the reason OVERLOADED.
    pub(crate) async fn take(&self, context: &Context) -> Result<Share, Error> {
        self.take_until(context, context.user.as_ref().map(|user| user.id), Self::deadline(context)).await
    }

    /// Waits for a slot for the next part of a stream. The stream has begun, so it waits longer than a request that may be refused. It gives
    /// its slot back after each part: a slow reader must not keep it. A deadline of the caller ends the stream, whatever it waits for.
    pub(crate) async fn take_next(&self, context: &Context) -> Result<Share, Error> {
        self.take_until(context, context.user.as_ref().map(|user| user.id), Instant::now() + MAX_STREAM_WAIT).await
    }

    fn deadline(context: &Context) -> Instant {
        context.deadline.unwrap_or_else(|| Instant::now() + MAX_WAIT)
    }

    async fn take_until(&self, context: &Context, person: Option<UserId>, until: Instant) -> Result<Share, Error> {
        let refused = |exhausted: Exhausted| Error::Fault(exhausted.fault(SERVICE, "pages in work"));
        let holder = Holder { connection: None, address: context.client_address, person };
        let mut share = self.0.try_take(&holder, 0).map_err(refused)?;
        share.grow(1, until.into()).await.map_err(refused)?;
        Ok(share)
    }
}

/// A slot that a write takes if it merges.
#[derive(Clone, Copy)]
pub(crate) struct MergeSlot<'a> {
    pub(crate) slots: &'a LoadSlots,
    pub(crate) context: &'a Context,
    /// The person for whom the slot counts. The call of a turn has no user.
    pub(crate) user: UserId,
}

impl MergeSlot<'_> {
    /// As [`LoadSlots::take`].
    pub(crate) async fn take(&self) -> Result<Share, Error> {
        self.slots.take_until(self.context, Some(self.user), LoadSlots::deadline(self.context)).await
    }
}

/// Which files of a project to load.
pub(crate) struct Load {
    pub(crate) user: UserId,
    pub(crate) target: Target,
    /// `None` loads the head.
    pub(crate) revision: Option<Oid>,
    /// The last path of the previous page.
    pub(crate) after: Option<String>,
    /// Bytes that the page may have; a page has one file at least.
    pub(crate) max_bytes: usize,
}

/// A page of a project's files.
pub(crate) struct LoadedPage {
    pub(crate) project: Project,
    /// `None` in a project without files.
    pub(crate) revision: Option<Revision>,
    pub(crate) files: Vec<ListedFile>,
    /// The path after which the next page begins; `None` on the last page.
    pub(crate) next: Option<String>,
}

/// Loads a page, if the user may read the project.
pub(crate) async fn load(objects: &Objects, slots: &LoadSlots, context: &Context, load: Load) -> Result<LoadedPage, Error> {
    let member = member::find(&objects.pool, load.user, &load.target, Role::Viewer).await?;
    let revision = history::resolve(&objects.pool, &member, load.revision).await?;
    let _slot = slots.take(context).await?;
    let tree = tree::at_revision(objects, member.project.store, revision.as_ref()).await?;
    if load.max_bytes == usize::MAX {
        check_size(&tree)?;
    }
    let FilePage { files, next } = page(tree.walk_files(), load.after.as_deref(), load.max_bytes);
    let files = objects.load_up_to(member.project.store, files, INLINE_BYTES).await?;
    Ok(LoadedPage { project: member.project, revision, files, next })
}

/// Refuses a load without pages that would make too large an answer.
fn check_size(tree: &Folder) -> Result<(), Error> {
    let is_inline = |file: &FileRef| file.size <= INLINE_BYTES;
    let bytes: u64 = match tree.bytes() <= MAX_LOAD_BYTES {
        true => 0,
        false => tree.walk_files().iter().map(|(_, file)| file).filter(|file| is_inline(file)).map(|file| u64::from(file.size)).sum(),
    };
    if bytes > MAX_LOAD_BYTES { Err(Error::LoadTooLarge { limit: MAX_LOAD_BYTES }) } else { Ok(()) }
}

/// The files of a page, and the path after which the next page begins.
struct FilePage {
    files: Vec<(String, FileRef)>,
    next: Option<String>,
}

/// The page that begins after a path and has at most `max_bytes` bytes, or one file. `files` are sorted by path, as git sorts.
fn page(files: Vec<(String, FileRef)>, after: Option<&str>, max_bytes: usize) -> FilePage {
    let start = after.map_or(0, |after| files.iter().position(|(path, _)| path == after).map_or(files.len(), |at| at + 1));
    let (mut page, mut bytes) = (Vec::new(), 0_usize);
    for (path, file) in files.into_iter().skip(start) {
        let content = if file.size > INLINE_BYTES { 0 } else { file.size as usize };
        let size = content + path.len() + FILE_OVERHEAD_BYTES;
        if !page.is_empty() && bytes.saturating_add(size) > max_bytes {
            let next = page.last().map(|(path, _): &(String, FileRef)| path.clone());
            return FilePage { files: page, next };
        }
        bytes = bytes.saturating_add(size);
        page.push((path, file));
    }
    FilePage { files: page, next: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;

    fn tree(sizes: &[u32]) -> Vec<(String, FileRef)> {
        sizes.iter().enumerate().map(|(n, size)| (format!("f{n}"), FileRef { oid: Oid::EMPTY_TREE, size: *size })).collect()
    }

    #[test]
    fn pages_hold_all_files_in_order() {
        for (sizes, bytes, pages) in [
            (vec![], 1, vec![0]),
            (vec![10], 1, vec![1]),
            (vec![10, 10, 10], 1, vec![1, 1, 1]),
            (vec![100, 100, 100], 800, vec![2, 1]),
            (vec![10_000, 1, 1], 800, vec![1, 2]),
            (vec![1, 10_000, 1], 800, vec![1, 1, 1]),
            (vec![0; 7], 1_000_000, vec![7]),
        ] {
            let (mut after, mut files, mut counts) = (None, Vec::new(), Vec::new());
            loop {
                let page = page(tree(&sizes), after.as_deref(), bytes);
                counts.push(page.files.len());
                files.extend(page.files);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let paths = |files: Vec<(String, FileRef)>| files.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
            assert_eq!((paths(files), counts), (paths(tree(&sizes)), pages), "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_has_begun_is_not_refused() {
        let slots = LoadSlots::new(1, Percent::default());
        let context = Context { deadline: Some(Instant::now()), ..Context::background() };
        let other = slots.take(&Context::background()).await.expect("a free slot");
        assert!(slots.take(&context).await.is_err(), "the first part is refused when the time is over");
        let (next, ()) = futures::join!(slots.take_next(&context), async {
            tokio::task::yield_now().await;
            drop(other);
        });
        assert_eq!(next.expect("the slot of the other one").amount(), 1);
    }

    #[test]
    fn a_page_after_an_unknown_path_is_empty() {
        assert!(page(tree(&[1, 1]), Some("unknown"), 10).files.is_empty());
    }
}
