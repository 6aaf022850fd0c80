//! From domain types to messages.

use chassis::clock;
use proto::agent_streaming::{self as pb, Usage};

use crate::turn::{State, Turn};

pub(super) fn turn(turn: &Turn) -> pb::Turn {
    let used = turn.usage != Usage::default();
    pb::Turn {
        id: turn.id.to_string(),
        project_id: turn.project_id.map(|id| id.to_string()).unwrap_or_default(),
        user_id: turn.user_id.to_string(),
        state: state(turn.state) as i32,
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
        metadata: turn.metadata.clone(),
        require_clean_files: turn.require_clean_files,
        on_disconnect: if turn.cancel_unfollowed { pb::OnDisconnect::Cancel } else { pb::OnDisconnect::Continue } as i32,
    }
}

fn state(state: State) -> pb::TurnState {
    match state {
        State::Accepted => pb::TurnState::Accepted,
        State::Queued => pb::TurnState::Queued,
        State::Running => pb::TurnState::Running,
        State::Committing => pb::TurnState::Committing,
        State::Completed => pb::TurnState::Completed,
        State::Failed => pb::TurnState::Failed,
        State::Cancelled => pb::TurnState::Cancelled,
        State::Conflicted => pb::TurnState::Conflicted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_same_name_and_meaning_in_the_database_and_the_contract() {
        for domain in State::ALL {
            let encoded = state(domain);
            assert_eq!(encoded.as_str_name(), format!("TURN_STATE_{}", domain.as_str().to_uppercase()));
            assert_eq!(encoded.has_ended(), domain.has_ended(), "{domain:?}");
        }
    }
}
