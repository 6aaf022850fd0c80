//! Typed ids. They are parsed once, where a request is decoded, so that a project id cannot be used as a turn id.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The text was not the lower-case form of a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID in its lower-case form")]
pub struct NotAnId;

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new UUIDv7. The ids of one process sort by the time of their creation.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            /// Accepts only the lower-case hyphenated form, so that an id has exactly one text.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let id = Uuid::try_parse(text).map_err(|_| NotAnId)?;
                let mut buffer = Uuid::encode_buffer();
                if id.hyphenated().encode_lower(&mut buffer) != text {
                    return Err(NotAnId);
                }
                Ok(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

typed_id!(
    /// An account.
    UserId
);
typed_id!(
    /// The session of a browser or a program. It is not the session's secret.
    SessionId
);
typed_id!(
    /// A project.
    ProjectId
);
typed_id!(
    /// A turn.
    TurnId
);
typed_id!(
    /// A message of a conversation.
    MessageId
);
typed_id!(
    /// A conflict. The conflict of a turn has the id of the turn.
    ConflictId
);
typed_id!(
    /// A template.
    TemplateId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_exactly_one_text() {
        let id = ProjectId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "x", &id.to_string().to_uppercase(), &id.0.simple().to_string(), &format!("{{{id}}}")] {
            assert_eq!(text.parse::<ProjectId>(), Err(NotAnId), "{text}");
        }
    }
}
