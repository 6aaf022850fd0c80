//! The longest answer that a model may be asked for. A model that refuses the configured one says which it takes; that is
//! remembered per model.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::ProviderError;

/// The setting, as people know it.
pub(crate) const SETTING: &str = "BACKLOT_MAX_OUTPUT_TOKENS";
/// An answer that may not be longer is of no use.
const SHORTEST: u32 = 256;
/// How often one request is lowered.
const MAX_TRIES: usize = 4;
/// Models that are remembered; names come from people.
const MAX_MODELS: usize = 1_000;
/// What a complaint about the limit mentions.
const WORDS: [&str; 9] = [
    "max_tokens",
    "max_completion_tokens",
    "max_new_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "maximum tokens",
    "output tokens",
    "completion tokens",
    "context length",
];
/// What comes before the number of tokens that the prompt has.
const BEFORE_PROMPT: [&str; 2] = ["resulted in", "input length:"];
/// What follows it.
const PROMPT_WORDS: [&str; 6] = ["input tokens", "inputs tokens", "prompt tokens", "in the messages", "in the prompt", "in your prompt"];

/// The limits that models took in the end.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, u32>>);

impl Known {
    fn of(&self, model: &str) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(model).copied()
    }

    fn remember(&self, model: &str, limit: u32) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_MODELS {
            known.clear();
        }
        known.insert(model.to_owned(), limit);
    }
}

/// The limit of one request while it is being worded.
#[derive(Debug)]
pub(super) struct OutputLimit {
    configured: u32,
    now: u32,
    tries: usize,
    /// It depends on this prompt only.
    of_prompt: bool,
}

impl OutputLimit {
    pub(super) fn new(known: &Known, model: &str, configured: u32) -> Self {
        Self { configured, now: known.of(model).unwrap_or(configured).min(configured), tries: 0, of_prompt: false }
    }

    pub(super) fn get(&self) -> u32 {
        self.now
    }

    /// The model took it.
    pub(super) fn accepted(&self, known: &Known, model: &str) {
        if self.tries > 0 && !self.of_prompt {
            tracing::warn!(model, limit = self.now, configured = self.configured, "the model takes shorter answers than {SETTING} allows");
            known.remember(model, self.now);
        }
    }

    /// Lowers the limit after a refusal, if that is what the refusal is about. Whether there is something to try.
    pub(super) fn lower(&mut self, status: u16, complaint: &str) -> bool {
        if !matches!(status, 400 | 422) || self.tries == MAX_TRIES || !is_about(complaint) {
            return false;
        }
        let (next, of_prompt) = allowed(complaint, self.now);
        if next < SHORTEST || next >= self.now {
            return false;
        }
        self.tries += 1;
        self.of_prompt |= of_prompt;
        self.now = next;
        true
    }

    /// A refusal that could not be helped, with what a person can change.
    pub(super) fn explain(&self, mut error: ProviderError, status: u16, complaint: &str) -> ProviderError {
        if matches!(status, 400 | 422) && is_about(complaint) {
            error.message = format!("{} ({SETTING} is {})", error.message, self.configured);
        }
        error
    }
}

fn is_about(complaint: &str) -> bool {
    let unknown = ["nsupported parameter", "nrecognized", "nknown", "xtra inputs"];
    WORDS.iter().any(|word| complaint.contains(word)) && !unknown.iter().any(|word| complaint.contains(word))
}

/// The limit that a complaint names, and whether it is what the prompt leaves of the context. Half, if it names none.
fn allowed(complaint: &str, asked: u32) -> (u32, bool) {
    let numbers = numbers(complaint);
    if let Some(prompt) = prompt_tokens(complaint, &numbers, asked) {
        let sums = [prompt, asked, prompt.saturating_add(asked)];
        let context = numbers.iter().map(|found| found.value).filter(|n| !sums.contains(n) && *n > prompt && n - prompt < asked).max();
        return (context.map_or(0, |context| context - prompt), true);
    }
    let named = numbers.iter().filter(|found| found.value < asked).max_by_key(|found| found.value);
    let exclusive = complaint.contains("exclusive");
    let guess = (asked / 2, true);
    let limit = named.map_or(0, |found| if exclusive || found.open_end { found.value - 1 } else { found.value });
    // A number that is no limit, such as a version.
    if limit < SHORTEST { guess } else { (limit, false) }
}

/// A whole number in a text.
#[derive(Debug)]
struct Found {
    value: u32,
    start: usize,
    end: usize,
    /// The end of a range that does not include it: `[1, 8193)`.
    open_end: bool,
}

fn numbers(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut rest = 0;
    while let Some(from) = text[rest..].find(|c: char| c.is_ascii_digit()).map(|at| rest + at) {
        let len = text[from..].find(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '_'))).unwrap_or(text.len() - from);
        let digits: String = text[from..from + len].chars().filter(char::is_ascii_digit).collect();
        let end = from + text[from..from + len].trim_end_matches([',', '_']).len();
        let open_end = text[end..].starts_with(')') && text[..from].contains('[');
        found.extend(digits.parse().ok().filter(|value| *value > 0).map(|value| Found { value, start: from, end, open_end }));
        rest = from + len.max(1);
    }
    found
}

fn prompt_tokens(complaint: &str, found: &[Found], asked: u32) -> Option<u32> {
    let is_of_prompt = |found: &&Found| {
        let after = complaint[found.end..].trim_start().replace('`', "");
        let before = complaint[..found.start].trim_end();
        let is_followed = PROMPT_WORDS
            .iter()
            .any(|words| after.starts_with(words) || after.strip_prefix("tokens ").is_some_and(|rest| rest.starts_with(words)));
        // "prompt + limit > context"
        let is_added = after.strip_prefix('+').is_some_and(|rest| numbers(rest).first().is_some_and(|next| next.value == asked));
        is_followed || is_added || BEFORE_PROMPT.iter().any(|words| before.ends_with(words))
    };
    found.iter().find(is_of_prompt).map(|found| found.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_providers_name_what_they_take() {
        for (complaint, expected) in [
            ("max_tokens is too large: 16384. This model supports at most 4096 completion tokens, whereas you provided 16384.", 4_096),
            ("max_tokens: 16384 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet-20241022", 8_192),
            ("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens`", 8_192),
            ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8_192),
            ("the supported range of maxOutputTokens is from 1 (inclusive) to 8193 (exclusive), got 16384", 8_192),
            ("max_output_tokens must be in range [1, 8193)", 8_192),
            ("max_tokens must be at most 4,096", 4_096),
            ("max_tokens is too large", 8_192),
            (
                "This model's maximum context length is 8192 tokens. However, you requested 17584 tokens (1200 in the messages, 16384 in the completion).",
                6_992,
            ),
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is 32768 tokens and your request has 20000 input tokens (16384 > 32768 - 20000).",
                12_768,
            ),
            (
                "input length and `max_tokens` exceed context limit: 190000 + 16384 > 200000, decrease input length or `max_tokens` and try again",
                10_000,
            ),
            (
                "input length and `max_tokens` exceed context limit: 9000 + 16384 > 20000, decrease input length or `max_tokens` and try again",
                11_000,
            ),
            (
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 1200 tokens and max_tokens is 16384",
                6_992,
            ),
            ("`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 1200 `inputs` tokens and 16384 `max_new_tokens`", 6_993),
        ] {
            let mut limit = OutputLimit::new(&Known::default(), "m", 16_384);
            assert!(limit.lower(400, complaint), "{complaint}");
            assert_eq!(limit.get(), expected, "{complaint}");
        }
    }

    #[test]
    fn what_is_about_something_else_lowers_nothing() {
        for (status, complaint) in [
            (400, "no such model"),
            (401, "max_tokens is too large"),
            (400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
            (
                400,
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages.",
            ),
        ] {
            let mut limit = OutputLimit::new(&Known::default(), "m", 16_384);
            assert!(!limit.lower(status, complaint), "{complaint}");
        }
        let mut limit = OutputLimit::new(&Known::default(), "m", 16_384);
        assert_eq!((0..20).filter(|_| limit.lower(400, "max_tokens is too large")).count(), MAX_TRIES);
    }

    #[test]
    fn a_limit_of_the_model_is_remembered_and_one_of_the_prompt_is_not() {
        let known = Known::default();
        let mut limit = OutputLimit::new(&known, "a", 16_384);
        assert!(limit.lower(400, "max_tokens: at most 4096"));
        limit.accepted(&known, "a");
        assert_eq!([OutputLimit::new(&known, "a", 16_384).get(), OutputLimit::new(&known, "b", 16_384).get()], [4_096, 16_384]);
        assert_eq!(OutputLimit::new(&known, "a", 1_000).get(), 1_000, "the setting is an upper bound");
        for complaint in [
            "maximum context length is 8192 tokens, 1200 in the messages",
            "maximum context length is 8192 tokens, your messages resulted in 1200 tokens",
            "input length and `max_tokens` exceed context limit: 9000 + 16384 > 20000",
        ] {
            let mut limit = OutputLimit::new(&known, "b", 16_384);
            assert!(limit.lower(400, complaint), "{complaint}");
            limit.accepted(&known, "b");
            assert_eq!(OutputLimit::new(&known, "b", 16_384).get(), 16_384, "{complaint}");
        }
    }

    #[test]
    fn a_refusal_that_stays_names_the_setting() {
        let limit = OutputLimit::new(&Known::default(), "m", 16_384);
        let error = |text: &str| limit.explain(ProviderError::new(super::super::ErrorClass::InvalidRequest, text), 400, text).message;
        assert_eq!(error("max_tokens is too large"), "max_tokens is too large (BACKLOT_MAX_OUTPUT_TOKENS is 16384)");
        assert_eq!(error("no such model"), "no such model");
    }
}
