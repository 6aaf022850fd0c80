//! Counts the followers of turns at this replica, for `on_disconnect: CANCEL`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::id::TurnId;
use tokio::sync::Notify;

/// The turns with `on_disconnect: CANCEL` that have followers at this replica.
#[derive(Clone, Default)]
pub(crate) struct Followers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The number of followers of each turn.
    turns: Mutex<HashMap<TurnId, usize>>,
    /// Notified when a turn gets its first follower.
    first_follower: Notify,
}

impl Followers {
    /// Adds a follower, until the guard is dropped.
    pub(crate) fn add(&self, turn: TurnId) -> FollowerGuard {
        let first = {
            let mut turns = self.lock();
            let count = turns.entry(turn).or_default();
            *count += 1;
            *count == 1
        };
        if first {
            self.0.first_follower.notify_one();
        }
        FollowerGuard { followers: self.clone(), turn }
    }

    pub(crate) fn turns(&self) -> Vec<TurnId> {
        self.lock().keys().copied().collect()
    }

    /// Waits until a turn gets its first follower.
    pub(crate) async fn wait_for_first_follower(&self) {
        self.0.first_follower.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, usize>> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts as one follower until it is dropped.
pub(crate) struct FollowerGuard {
    followers: Followers,
    turn: TurnId,
}

impl Drop for FollowerGuard {
    fn drop(&mut self) {
        let mut turns = self.followers.lock();
        if let Some(count) = turns.get_mut(&self.turn) {
            *count -= 1;
            if *count == 0 {
                turns.remove(&self.turn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_followers_until_the_last_guard_is_dropped() {
        let (followers, turn) = (Followers::default(), TurnId::generate());
        let (first, second) = (followers.add(turn), followers.add(turn));
        drop(first);
        assert_eq!(followers.turns(), [turn]);
        drop(second);
        assert!(followers.turns().is_empty());
    }
}
