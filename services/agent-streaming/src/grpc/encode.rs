//! From domain types to messages.

use chassis::clock;
use proto::agent_streaming::{self as wire, Usage};

use crate::turn::Turn;

pub(super) fn turn(turn: &Turn) -> wire::Turn {
    let used = turn.usage != Usage::default();
    wire::Turn {
        id: turn.id.to_string(),
        project_id: turn.project_id.map(|id| id.to_string()).unwrap_or_default(),
        user_id: turn.user_id.to_string(),
        state: turn.state.wire() as i32,
        agent: turn.agent.clone(),
        model: turn.model.clone(),
        base_revision: turn.base_revision.clone(),
        revision: turn.revision.clone(),
        failure_reason: turn.failure_reason.clone(),
        last_seq: turn.last_seq,
        create_time: Some(clock::timestamp(turn.created_at)),
        start_time: turn.started_at.map(clock::timestamp),
        end_time: turn.ended_at.map(clock::timestamp),
        usage: used.then_some(turn.usage),
        client_message_id: turn.client_message_id.clone(),
        on_disconnect: if turn.cancel_unfollowed { wire::OnDisconnect::Cancel } else { wire::OnDisconnect::Continue } as i32,
    }
}
