//! One saver per project at a time within a process. The compare-and-swap alone keeps saves correct, over all replicas; the lock
//! spares those of one process from losing it to each other.

use proto::id::ProjectId;
use tokio::sync::{Mutex, MutexGuard};

/// More than the connections of a pool, so that two projects hardly ever wait for each other.
const SHARDS: usize = 256;

/// The locks of one process.
pub(crate) struct Locks(Vec<Mutex<()>>);

impl Default for Locks {
    fn default() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(SHARDS).collect())
    }
}

/// The project's lock, and whether somebody else had it before.
pub(crate) struct ProjectGuard<'a> {
    _guard: MutexGuard<'a, ()>,
    pub(crate) waited: bool,
}

impl Locks {
    /// Takes the project's lock unless it is held already; answers whether somebody had it before, so that what was read is
    /// old.
    pub(crate) async fn lock_once<'a>(&'a self, held: &mut Option<ProjectGuard<'a>>, project: ProjectId) -> bool {
        if held.is_some() {
            return false;
        }
        let taken = self.hold(project).await;
        let waited = taken.waited;
        *held = Some(taken);
        waited
    }

    pub(crate) async fn hold(&self, project: ProjectId) -> ProjectGuard<'_> {
        // The last bytes of a UUIDv7 are random.
        let shard = &self.0[usize::from(project.0.as_bytes()[15]) % SHARDS];
        match shard.try_lock() {
            Ok(guard) => ProjectGuard { _guard: guard, waited: false },
            Err(_) => ProjectGuard { _guard: shard.lock().await, waited: true },
        }
    }
}
