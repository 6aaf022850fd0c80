//! The UI message stream of the AI SDK (protocol v1), which `useChat` speaks: [`request`] is what a POST means, [`turns`] finds
//! the turns of a chat, [`stream`] spells a turn's parts as chunks.

pub(crate) mod request;
pub(crate) mod stream;
pub(crate) mod turns;

use proto::id::ProjectId;

use crate::error::{Failure, invalid};

/// The longest id that a client may make.
const ID_CHARS: usize = 128;

/// Which conversation is meant. A project has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chat {
    Project(String),
    /// Made by the client; becomes a project with the first turn.
    Draft(String),
}

impl Chat {
    /// Projects are named by us, with UUIDs of version 7; every other id is the client's own, UUIDs of other versions too.
    ///
    /// # Errors
    /// INVALID_FIELD that names `field`.
    pub(crate) fn parse(id: &str, field: &str) -> Result<Self, Failure> {
        if id.parse::<ProjectId>().is_ok_and(|id| id.0.get_version_num() == 7) {
            return Ok(Self::Project(id.to_owned()));
        }
        if is_client_id(id) {
            Ok(Self::Draft(id.to_owned()))
        } else {
            Err(invalid(field, format!("must be 1 to {ID_CHARS} of A-Za-z0-9_-")))
        }
    }

    /// As `project_id` and `draft_id` of a request.
    pub(crate) fn fields(&self) -> (String, String) {
        match self {
            Self::Project(id) => (id.clone(), String::new()),
            Self::Draft(id) => (String::new(), id.clone()),
        }
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Project(id) | Self::Draft(id) => id,
        }
    }
}

/// Whether a client may call a chat or a message so.
pub(crate) fn is_client_id(id: &str) -> bool {
    (1..=ID_CHARS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_a_project_or_a_draft() {
        let project = ProjectId::generate().to_string();
        assert_eq!(Chat::parse(&project, "id").unwrap(), Chat::Project(project.clone()));
        assert_eq!(Chat::parse(&project, "id").unwrap().fields(), (project, String::new()));
        for draft in ["x", "V1StGXR8_Z5jdHi6", "3f6f2f4e-6d0e-4b7c-9f0a-0c4de1f1a111", &"a".repeat(128)] {
            assert_eq!(Chat::parse(draft, "id").unwrap(), Chat::Draft(draft.into()));
        }
        for wrong in ["", "a b", "a/b", "..", "ä", "a\0", &"a".repeat(129)] {
            assert_eq!(Chat::parse(wrong, "id").unwrap_err().0.violations[0].field, "id", "{wrong}");
        }
    }
}
