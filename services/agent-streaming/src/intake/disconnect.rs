//! `on_disconnect: CANCEL`: a turn that nobody follows any more is cancelled. Each replica renews `follow_until` of the turns that have
//! followers here, a few times within the grace. The first replica that finds a turn whose `follow_until` has passed cancels it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{app::App, error::Error, intake::cancel, store::follows};

/// Turns that are cancelled at a time.
const OVERDUE: i64 = 100;

pub(crate) async fn run(app: Arc<App>) {
    let grace = app.limits.disconnect_grace;
    let mut tick = interval((grace / 4).max(Duration::from_millis(10)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // While the database was away no turn could be renewed, so nothing is cancelled for one grace after that.
    let mut well_since = Instant::now();
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = tick.tick() => {}
            () = app.followers.arrival() => {}
        }
        let round = async {
            // A renewal is good until the next two are overdue.
            follows::extend(&app.db, &app.followers.turns(), grace + grace / 4).await?;
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
            // It is committing or has ended in the meantime.
            Err(Error::TooLate | Error::TurnNotFound) => {}
            Err(error) => tracing::warn!(turn.id = %turn, error = %error, "a turn that nobody follows could not be cancelled"),
        }
    }
}
