//! The mode of a turn: what it may do.

/// The mode of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// Changes files.
    #[default]
    Build,
    /// Answers a question. Nothing is changed.
    Ask,
    /// Answers with a list of steps. Nothing is changed.
    Plan,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Build, Self::Ask, Self::Plan];

    /// The name in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Ask => "ask",
            Self::Plan => "plan",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// Whether the turn may change files.
    pub(crate) fn may_write(self) -> bool {
        self == Self::Build
    }
}
