//! The id of a chat.

use proto::id::ProjectId;

use crate::error::{Failure, invalid};

/// The longest id that a client may choose.
const MAX_ID_LENGTH: usize = 128;

/// The id of a conversation. Each project has one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChatId {
    Project(String),
    /// An id that the client chose. The first turn creates a project for it.
    Draft(String),
}

impl ChatId {
    /// Ids of projects are UUIDs of version 7. All other ids are drafts of the client, UUIDs of other versions included.
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
            Err(invalid(field, format!("must be 1 to {MAX_ID_LENGTH} of A-Za-z0-9_-")))
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

/// Whether a client may give this id to a chat or a message.
pub(crate) fn is_client_id(id: &str) -> bool {
    (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_a_project_or_a_draft() {
        let project = ProjectId::generate().to_string();
        assert_eq!(ChatId::parse(&project, "id").unwrap(), ChatId::Project(project.clone()));
        assert_eq!(ChatId::parse(&project, "id").unwrap().fields(), (project, String::new()));
        for draft in ["x", "V1StGXR8_Z5jdHi6", "3f6f2f4e-6d0e-4b7c-9f0a-0c4de1f1a111", &"a".repeat(128)] {
            assert_eq!(ChatId::parse(draft, "id").unwrap(), ChatId::Draft(draft.into()));
        }
        for invalid in ["", "a b", "a/b", "..", "ä", "a\0", &"a".repeat(129)] {
            assert_eq!(ChatId::parse(invalid, "id").unwrap_err().0.violations[0].field, "id", "{invalid}");
        }
    }
}
