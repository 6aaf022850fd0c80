//! EndTurn for turns that have been cancelled or have failed: they end in this database first. Any replica sends it, until it
//! is answered.

use std::{sync::Arc, time::Duration};

use proto::{id::TurnId, project_storage::TurnEnd};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    app::App,
    store::{
        self,
        ends::{self, Due},
        events,
    },
    turn::answer::Answer,
    turn::event,
    upstream::is_refusal,
};

const POLL: Duration = Duration::from_secs(2);
/// Until another replica, or this one, tries again.
const RETRY: Duration = Duration::from_secs(10);
const ENTRIES: i64 = 20;

pub(crate) async fn run(app: Arc<App>) {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = poll.tick() => {}
            () = app.outbox.notified() => {}
        }
        if let Err(error) = send_due(&app).await {
            tracing::warn!(error = %error, "the outbox could not be read");
        }
    }
}

async fn send_due(app: &App) -> Result<(), store::StoreError> {
    loop {
        let due = ends::take_due(&app.db, ENTRIES, RETRY).await?;
        let full = due.len() >= usize::try_from(ENTRIES).unwrap_or(usize::MAX);
        for entry in due {
            send(app, entry).await?;
        }
        if !full {
            return Ok(());
        }
    }
}

async fn send(app: &App, entry: Due) -> Result<(), store::StoreError> {
    let Due { turn, end, begun, failure_reason } = entry;
    // Of a turn that this service never knew to have begun nothing is to be seen in the conversation.
    let end = if begun { end.into() } else { TurnEnd::Withdrawn };
    let reason = if end == TurnEnd::Failed { failure_reason.as_str() } else { "" };
    let answer = fold(app, turn).await?;
    match app.upstream.end(turn, end, answer.text(), reason).await {
        Ok(()) => ends::settle(&app.db, turn).await,
        // For example, the project was deleted. Nobody needs to be told.
        Err(fault) if is_refusal(&fault) => {
            tracing::warn!(turn.id = %turn, reason = fault.reason, "project-storage does not take the end of a turn: {fault}");
            ends::settle(&app.db, turn).await
        }
        Err(fault) => {
            tracing::warn!(turn.id = %turn, reason = fault.reason, "the end of a turn is told again later: {fault}");
            Ok(())
        }
    }
}

/// What a turn had answered, by its log.
async fn fold(app: &App, turn: TurnId) -> Result<Answer, store::StoreError> {
    let mut answer = Answer::default();
    events::read_all(&app.db, turn, |row| {
        if let Some(kind) = event::decode(turn, row.seq, &row.payload).kind {
            answer.apply(&kind);
        }
    })
    .await?;
    Ok(answer)
}
