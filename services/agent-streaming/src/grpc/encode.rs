//! From domain types to messages.

use chassis::clock;
use proto::agent_streaming::{self as pb, Usage, staged_content::Data};

use crate::{
    intake::usage::TokenSums,
    staged::StagedFile,
    turn::{State, Turn, mode::Mode},
    workspace::overlay::Content,
};

pub(super) fn token_usage(sums: &TokenSums) -> pb::GetTokenUsageResponse {
    pb::GetTokenUsageResponse {
        start_time: Some(clock::timestamp(sums.since)),
        turns: sums.turns,
        input_tokens: sums.input,
        output_tokens: sums.output,
        cached_input_tokens: sums.cached_input,
        cache_write_input_tokens: sums.cache_write_input,
        reasoning_tokens: sums.reasoning,
        context_tokens: sums.context,
        full_context_tokens: sums.full_context,
    }
}

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
        mode: mode(turn.mode) as i32,
        provider_key_id: turn.provider_key.map(|id| id.to_string()).unwrap_or_default(),
        on_disconnect: if turn.cancel_unfollowed { pb::OnDisconnect::Cancel } else { pb::OnDisconnect::Continue } as i32,
    }
}

pub(super) fn staged_file(file: StagedFile, content: Option<Content>) -> pb::StagedFile {
    let data = content.and_then(|content| match content {
        Content::Text(text) => Some(Data::Text(text.to_string())),
        Content::Binary(bytes) => Some(Data::Binary(bytes)),
        Content::Asset => None,
    });
    pb::StagedFile {
        path: file.path,
        size_bytes: file.size,
        etag: format!("\"{}\"", file.id),
        is_changed: file.is_changed,
        content: data.map(|data| pb::StagedContent { data: Some(data) }),
    }
}

fn mode(mode: Mode) -> pb::TurnMode {
    match mode {
        Mode::Build => pb::TurnMode::Build,
        Mode::Ask => pb::TurnMode::Ask,
        Mode::Plan => pb::TurnMode::Plan,
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
    fn a_mode_has_the_same_name_in_the_database_and_the_contract() {
        for domain in Mode::ALL {
            assert_eq!(mode(domain).as_str_name(), format!("TURN_MODE_{}", domain.as_str().to_uppercase()));
            assert_eq!(Mode::parse(domain.as_str()), Some(domain));
        }
    }

    #[test]
    fn a_state_has_the_same_name_and_meaning_in_the_database_and_the_contract() {
        for domain in State::ALL {
            let encoded = state(domain);
            assert_eq!(encoded.as_str_name(), format!("TURN_STATE_{}", domain.as_str().to_uppercase()));
            assert_eq!(encoded.has_ended(), domain.has_ended(), "{domain:?}");
        }
    }
}
