//! The dialects of chat completions: which fields of a request a model accepts. The first request has all fields; after a refusal (400 or
//! 422) the refused field is left out or replaced. The accepted dialect is remembered per model.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::model::provider::MaxTokensField;

/// The optional fields of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Request usage in the stream.
    pub stream_options: bool,
    pub max_tokens: MaxTokensField,
    /// Turn reasoning off. Newer models of OpenAI accept tools over this protocol only without reasoning.
    pub without_reasoning: bool,
}

impl Dialect {
    /// The dialect to try after a refusal of the last one in `tried`. `None` if there is no other one, or the refusal is not about the
    /// fields.
    pub(super) fn after(tried: &[Self], status: u16, complaint: &str) -> Option<Self> {
        let last = *tried.last()?;
        if !matches!(status, 400 | 422) {
            return None;
        }
        let other_field = match last.max_tokens {
            MaxTokensField::MaxTokens => MaxTokensField::MaxCompletionTokens,
            MaxTokensField::MaxCompletionTokens => MaxTokensField::MaxTokens,
        };
        let about = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let unknown_field =
            about(&["max_tokens", "max_completion_tokens"]) && about(&["nsupported", "nrecognized", "not supported", "nknown", "xtra"]);
        let candidates = [
            about(&["reasoning_effort"]).then_some(Self { without_reasoning: true, ..last }),
            unknown_field.then_some(Self { max_tokens: other_field, ..last }),
            // Few servers name the field that they refuse, so this is tried after every refusal.
            Some(Self { stream_options: false, ..last }),
        ];
        candidates.into_iter().flatten().find(|candidate| !tried.contains(candidate))
    }
}

/// The accepted dialect of each model.
pub(super) struct Dialects {
    default: Dialect,
    known: Mutex<HashMap<String, Dialect>>,
}

impl Dialects {
    pub(super) fn new(max_tokens: MaxTokensField) -> Self {
        Self { default: Dialect { stream_options: true, max_tokens, without_reasoning: false }, known: Mutex::default() }
    }

    pub(super) fn of(&self, model: &str) -> Dialect {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(model).copied().unwrap_or(self.default)
    }

    pub(super) fn remember(&self, model: &str, dialect: Dialect) {
        if dialect != self.of(model) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned(), dialect);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(complaint: &str) -> Vec<Dialect> {
        let mut tried = vec![Dialects::new(MaxTokensField::MaxTokens).of("m")];
        while let Some(next) = Dialect::after(&tried, 400, complaint) {
            tried.push(next);
        }
        tried
    }

    #[test]
    fn a_refusal_changes_one_field() {
        let plain = tries("context too long");
        assert_eq!(plain.iter().map(|d| d.stream_options).collect::<Vec<_>>(), [true, false]);
        let field = tries("max_tokens Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.");
        assert_eq!(field[1], Dialect { max_tokens: MaxTokensField::MaxCompletionTokens, ..field[0] });
        assert!(field.len() <= 4);
        let reasoning = tries("reasoning_effort Function tools with reasoning_effort are not supported for gpt-x");
        assert!(reasoning[1].without_reasoning && reasoning[1].stream_options);
        for status in [401, 404, 413, 429, 500] {
            assert_eq!(Dialect::after(&plain[..1], status, "stream_options"), None);
        }
    }

    #[test]
    fn the_accepted_dialect_is_remembered_per_model() {
        let dialects = Dialects::new(MaxTokensField::MaxTokens);
        let simpler = Dialect { stream_options: false, ..dialects.of("a") };
        dialects.remember("a", simpler);
        assert_eq!(dialects.of("a"), simpler);
        assert!(dialects.of("b").stream_options);
    }
}
