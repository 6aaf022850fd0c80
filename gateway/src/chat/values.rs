//! JSON values that both chat protocols write.

use proto::agent_streaming::{FilesCommitted, Turn, Usage};
use serde::Serialize;
use serde_json::{Value, json};

use super::parts::Notice;

/// Usage with all its numbers. ProtoJSON would leave out zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    input_tokens: u32,
    output_tokens: u32,
    cached_input_tokens: u32,
    cache_write_input_tokens: u32,
    reasoning_tokens: u32,
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_input_tokens: usage.cache_write_input_tokens,
            reasoning_tokens: usage.reasoning_tokens,
        }
    }
}

/// The turn, for the beginning of an answer.
pub(super) fn turn_json(turn: &Turn) -> Value {
    json!({ "turnId": turn.id, "projectId": turn.project_id, "model": turn.model, "createdAt": turn.create_time })
}

pub(super) fn notice_json(notice: &Notice<'_>) -> Value {
    match notice {
        Notice::Queued { turn } => {
            json!({ "code": "TURN_QUEUED", "text": "Another turn of the project is running. This turn waits for it.", "turnId": turn })
        }
        Notice::Retrying { text } => json!({ "code": "ATTEMPT_FAILED", "text": text }),
        Notice::Superseded => {
            json!({ "code": "STEP_SUPERSEDED", "text": "The step was interrupted and begins again. Its output before this notice is void." })
        }
        Notice::Conflicted { paths, revision } => {
            let text =
                "Somebody else changed the same files in the meantime. The files of this turn are kept until the conflict is resolved.";
            json!({ "code": "TURN_CONFLICTED", "text": text, "paths": paths, "revision": revision })
        }
    }
}

pub(super) fn revision_json(files: &FilesCommitted) -> Value {
    json!({
        "revision": files.revision, "number": files.number,
        "added": files.added, "modified": files.modified, "deleted": files.deleted, "renamed": files.renamed,
    })
}
