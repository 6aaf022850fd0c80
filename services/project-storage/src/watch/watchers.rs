//! Who watches which project at this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::id::{ProjectId, SessionId, UserId};
use tokio::sync::oneshot;

use crate::error::Error;

/// A person who watches a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Watcher {
    pub(crate) project: ProjectId,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
}

/// Why a person may not watch a project any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostAccess {
    /// The project is deleted, or the person is no member.
    Project,
    Session,
}

impl From<LostAccess> for Error {
    fn from(lost: LostAccess) -> Self {
        match lost {
            LostAccess::Project => Self::ProjectNotFound,
            LostAccess::Session => Self::SessionEnded,
        }
    }
}

/// The open streams of this process.
#[derive(Clone, Default)]
pub(crate) struct Watchers(Arc<Mutex<Streams>>);

#[derive(Default)]
struct Streams {
    next: u64,
    of_projects: HashMap<ProjectId, Vec<Stream>>,
}

struct Stream {
    number: u64,
    watcher: Watcher,
    end: oneshot::Sender<LostAccess>,
}

impl Watchers {
    /// Adds a stream, until the registration is dropped.
    pub(crate) fn add(&self, watcher: Watcher) -> Registration {
        let (end, ended) = oneshot::channel();
        let mut streams = self.lock();
        let number = streams.next;
        streams.next += 1;
        streams.of_projects.entry(watcher.project).or_default().push(Stream { number, watcher, end });
        Registration { watchers: self.clone(), project: watcher.project, number, ended }
    }

    /// Everybody who watches these projects, each once.
    pub(crate) fn of_projects(&self, projects: impl IntoIterator<Item = ProjectId>) -> Vec<Watcher> {
        let streams = self.lock();
        let of_project = |project| streams.of_projects.get(&project).into_iter().flatten().map(|stream| stream.watcher);
        let mut watchers: Vec<_> = projects.into_iter().flat_map(of_project).collect();
        watchers.sort_unstable();
        watchers.dedup();
        watchers
    }

    /// Ends all streams of a person who lost access.
    pub(crate) fn end(&self, watcher: &Watcher, lost: LostAccess) {
        let mut streams = self.lock();
        let Some(of_project) = streams.of_projects.get_mut(&watcher.project) else { return };
        for stream in of_project.extract_if(.., |stream| stream.watcher == *watcher) {
            // The stream may be gone already.
            let _ = stream.end.send(lost);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream.
pub(crate) struct Registration {
    watchers: Watchers,
    project: ProjectId,
    number: u64,
    ended: oneshot::Receiver<LostAccess>,
}

impl Registration {
    /// Waits until the person loses access. Call it again only if it has not returned.
    pub(crate) async fn lost_access(&mut self) -> LostAccess {
        match (&mut self.ended).await {
            Ok(lost) => lost,
            // The registration keeps the sender until it is used.
            Err(_) => LostAccess::Project,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut streams = self.watchers.lock();
        if let Some(of_project) = streams.of_projects.get_mut(&self.project) {
            of_project.retain(|stream| stream.number != self.number);
            if of_project.is_empty() {
                streams.of_projects.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher() -> Watcher {
        Watcher { project: ProjectId::generate(), user: UserId::generate(), session: SessionId::generate() }
    }

    #[tokio::test]
    async fn the_streams_of_one_person_end_together_and_alone() {
        let (watchers, one) = (Watchers::default(), watcher());
        let other = Watcher { session: SessionId::generate(), ..one };
        let (mut first, mut second, mut third) = (watchers.add(one), watchers.add(one), watchers.add(other));
        assert_eq!(watchers.of_projects([one.project, watcher().project]).len(), 2);
        watchers.end(&one, LostAccess::Session);
        assert_eq!((first.lost_access().await, second.lost_access().await), (LostAccess::Session, LostAccess::Session));
        assert_eq!(watchers.of_projects([one.project]), [other]);
        assert!(futures::FutureExt::now_or_never(third.lost_access()).is_none());
    }

    #[test]
    fn nothing_is_left_of_closed_streams() {
        let (watchers, one) = (Watchers::default(), watcher());
        let (first, second) = (watchers.add(one), watchers.add(one));
        drop(first);
        assert_eq!(watchers.of_projects([one.project]), [one]);
        watchers.end(&one, LostAccess::Project);
        drop(second);
        assert!(watchers.lock().of_projects.is_empty());
        watchers.end(&one, LostAccess::Project);
    }
}
