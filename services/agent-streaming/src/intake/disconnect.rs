//! `on_disconnect: CANCEL`: a turn that has no follower any more is cancelled. Each replica renews `follow_until` of the turns that have
//! followers here, several times within the grace period. The first replica that finds a turn whose `follow_until` has passed cancels
//! it.

use std::{sync::Arc, time::Duration};

use chassis::{clock, task::Ticks};
use tokio::time::Instant;

use crate::{app::App, error::Error, intake::cancel, store::follows};

/// Turns that one pass cancels.
const BATCH: i64 = 100;

pub(crate) async fn run(app: Arc<App>) {
    let grace = app.limits.disconnect_grace;
    let mut ticks = Ticks::new((grace / 4).max(Duration::from_millis(10)), app.stop.clone());
    // No replica could renew a turn while the database was unreachable, so nothing is cancelled for one grace period after that.
    let mut healthy_since = Instant::now();
    while ticks.next_or(app.followers.wait_for_first_follower()).await {
        let pass = async {
            // A renewal lasts until the next two are overdue.
            follows::extend(&app.db, &app.followers.turns(), grace + grace / 4).await?;
            if healthy_since.elapsed() > grace { follows::overdue(&app.db, BATCH).await } else { Ok(Vec::new()) }
        };
        match pass.await {
            Ok(overdue) => cancel_all(&app, overdue).await,
            Err(error) => {
                healthy_since = Instant::now();
                tracing::warn!(error = %error, "the followers of turns could not be recorded");
            }
        }
    }
}

async fn cancel_all(app: &App, overdue: Vec<follows::UnfollowedTurn>) {
    for follows::UnfollowedTurn { turn, user } in overdue {
        match cancel::cancel(app, user, turn, clock::now()).await {
            Ok(_) => tracing::info!(turn.id = %turn, "a turn without followers was cancelled"),
            // The turn has begun to commit, or has ended, in the meantime.
            Err(Error::TooLate | Error::TurnNotFound) => {}
            Err(error) => tracing::warn!(turn.id = %turn, error = %error, "a turn without followers could not be cancelled"),
        }
    }
}
