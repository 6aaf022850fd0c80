//! One save per project at a time within a process. The compare-and-swap of the head alone keeps saves correct, across all replicas.
//! The lock only keeps the saves of one process from losing races to each other.

use proto::id::ProjectId;
use tokio::sync::{Mutex, MutexGuard};

/// More than a pool has connections, so that two projects rarely share a lock.
const SHARDS: usize = 256;

/// The locks of one process.
pub(crate) struct Locks(Vec<Mutex<()>>);

impl Default for Locks {
    fn default() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(SHARDS).collect())
    }
}

/// A project's lock; released on drop.
pub(crate) struct ProjectGuard<'a> {
    _guard: MutexGuard<'a, ()>,
}

impl Locks {
    /// Takes the project's lock, unless `guard` has it already. Returns whether the call had to wait: then another save had the lock,
    /// and what the caller read before is out of date.
    pub(crate) async fn lock_once<'a>(&'a self, guard: &mut Option<ProjectGuard<'a>>, project: ProjectId) -> bool {
        if guard.is_some() {
            return false;
        }
        // The last bytes of a UUIDv7 are random.
        let shard = &self.0[usize::from(project.0.as_bytes()[15]) % SHARDS];
        let (lock, waited) = match shard.try_lock() {
            Ok(lock) => (lock, false),
            Err(_) => (shard.lock().await, true),
        };
        *guard = Some(ProjectGuard { _guard: lock });
        waited
    }
}
