//! `on_disconnect: CANCEL`: a turn that nobody follows any more is cancelled. Each replica says of the turns that are followed
//! at it that they are, a few times within the grace; the first one that finds a turn nobody spoke for cancels it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::id::TurnId;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{app::App, error::Error, intake::cancel, store::follows};

/// Turns in one look for those that nobody follows.
const OVERDUE: i64 = 100;

/// The turns that are followed at this replica and end without a follower.
#[derive(Clone, Default)]
pub(crate) struct FollowedTurns(Arc<Shared>);

#[derive(Default)]
struct Shared {
    turns: Mutex<HashMap<TurnId, usize>>,
    /// A first follower has come.
    came: Notify,
}

impl FollowedTurns {
    /// Counts a follower until the guard is dropped.
    pub(crate) fn follow(&self, turn: TurnId) -> FollowGuard {
        let first = {
            let mut turns = self.lock();
            let count = turns.entry(turn).or_default();
            *count += 1;
            *count == 1
        };
        if first {
            self.0.came.notify_one();
        }
        FollowGuard { followed: self.clone(), turn }
    }

    fn turns(&self) -> Vec<TurnId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, usize>> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One follower.
pub(crate) struct FollowGuard {
    followed: FollowedTurns,
    turn: TurnId,
}

impl Drop for FollowGuard {
    fn drop(&mut self) {
        let mut turns = self.followed.lock();
        if let Some(count) = turns.get_mut(&self.turn) {
            *count -= 1;
            if *count == 0 {
                turns.remove(&self.turn);
            }
        }
    }
}

pub(crate) async fn run(app: Arc<App>) {
    let grace = app.limits.disconnect_grace;
    let mut tick = interval((grace / 4).max(Duration::from_millis(10)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // While the database was away nobody could speak for a turn: for one grace after that nothing is cancelled.
    let mut well_since = Instant::now();
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = tick.tick() => {}
            () = app.followed.0.came.notified() => {}
        }
        let round = async {
            // A word is good until the next two are overdue.
            follows::extend(&app.db, &app.followed.turns(), grace + grace / 4).await?;
            if well_since.elapsed() > grace { follows::overdue(&app.db, OVERDUE).await } else { Ok(Vec::new()) }
        };
        match round.await {
            Ok(overdue) => cancel_all(&app, overdue).await,
            Err(error) => {
                well_since = Instant::now();
                tracing::warn!(error = %error, "followers could not be noted");
            }
        }
    }
}

async fn cancel_all(app: &App, overdue: Vec<follows::UnfollowedTurn>) {
    for follows::UnfollowedTurn { turn, user } in overdue {
        match cancel::cancel(app, user, turn).await {
            Ok(_) => tracing::info!(turn.id = %turn, "cancelled: nobody follows it any more"),
            // It is committing or has ended meanwhile.
            Err(Error::TooLate | Error::TurnNotFound) => {}
            Err(error) => tracing::warn!(turn.id = %turn, error = %error, "a turn that nobody follows could not be cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_followed_until_its_last_follower_leaves() {
        let (followed, turn) = (FollowedTurns::default(), TurnId::generate());
        let (first, second) = (followed.follow(turn), followed.follow(turn));
        drop(first);
        assert_eq!(followed.turns(), [turn]);
        drop(second);
        assert!(followed.turns().is_empty());
    }
}
