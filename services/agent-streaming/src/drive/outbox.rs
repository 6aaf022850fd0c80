//! The outbox: tells project-storage with EndTurn about turns that were cancelled or have failed. The turn ends in this database first.
//! Every replica sends the entries until project-storage answers.

use std::{sync::Arc, time::Duration};

use chassis::task::Ticks;
use proto::{
    agent_streaming::turn_event::Kind,
    id::TurnId,
    project_storage::{EndTurnRequest, TurnEnd},
};

use crate::{
    app::App,
    store::{
        Pool, StoreError,
        ends::{self, OutboxEntry},
        events,
    },
    turn::{answer::Answer, parts::AnswerParts},
    upstream::{Upstream, is_refusal},
};

const POLL: Duration = Duration::from_secs(2);
/// The time after which an entry that was not answered is due again, on any replica.
const RETRY: Duration = Duration::from_secs(10);
const BATCH: i64 = 20;

pub(crate) async fn run(app: Arc<App>) {
    let mut polls = Ticks::new(POLL, app.stop.clone());
    while polls.next_or(app.outbox.notified()).await {
        if let Err(error) = send_due(&app.db, &app.upstream).await {
            tracing::warn!(error = %error, "the outbox could not be read");
        }
    }
}

async fn send_due(db: &Pool, upstream: &Upstream) -> Result<(), StoreError> {
    loop {
        let due = ends::take_due(db, BATCH, RETRY).await?;
        let full = due.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
        for entry in due {
            send(db, upstream, entry).await?;
        }
        if !full {
            return Ok(());
        }
    }
}

async fn send(db: &Pool, upstream: &Upstream, entry: OutboxEntry) -> Result<(), StoreError> {
    let OutboxEntry { turn, end, begun, failure_reason } = entry;
    // The conversation must not show a turn that this service does not know to have begun.
    let end = if begun { end.into() } else { TurnEnd::Withdrawn };
    let (answer, parts) = read_answer(db, turn).await?;
    let request = EndTurnRequest {
        turn_id: turn.to_string(),
        end: end.into(),
        partial_answer: answer.text().to_owned(),
        failure_reason: if end == TurnEnd::Failed { failure_reason } else { String::new() },
        parts: parts.parts(),
    };
    match upstream.end(request).await {
        Ok(()) => ends::mark_delivered(db, turn).await,
        // For example, the project was deleted. There is nothing left to tell.
        Err(fault) if is_refusal(&fault) => {
            tracing::warn!(turn.id = %turn, reason = fault.reason, "project-storage refused the end of a turn: {fault}");
            ends::mark_delivered(db, turn).await
        }
        Err(fault) => {
            tracing::warn!(turn.id = %turn, reason = fault.reason, "the end of a turn could not be sent and is sent again later: {fault}");
            Ok(())
        }
    }
}

/// The partial answer of a turn and its parts, from its log.
async fn read_answer(db: &Pool, turn: TurnId) -> Result<(Answer, AnswerParts), StoreError> {
    let (mut answer, mut parts) = (Answer::default(), AnswerParts::default());
    let apply = |_, kind: &Kind| {
        answer.apply(kind);
        parts.apply(kind);
    };
    events::read_all(db, turn, apply).await?;
    Ok((answer, parts))
}
