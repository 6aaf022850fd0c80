//! One build at a time for the same packages: the others find what it has kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

#[derive(Debug, Default)]
pub(super) struct KeyLocks {
    open: Mutex<HashMap<Vec<u8>, Weak<AsyncMutex<()>>>>,
}

impl KeyLocks {
    /// Waits until no other build has the key.
    pub(super) async fn lock(&self, key: &[u8]) -> OwnedMutexGuard<()> {
        let lock = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|_, lock| lock.strong_count() > 0);
            let lock = open.get(key).and_then(Weak::upgrade).unwrap_or_default();
            open.insert(key.to_vec(), Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}
