//! The output limit of a request. A model that refuses the configured limit usually names the one that it accepts, which is then
//! remembered for the model.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::ProviderError;

pub(crate) const SETTING: &str = "BACKLOT_MAX_OUTPUT_TOKENS";
/// A request with a lower limit is not tried.
const MIN_LIMIT: u32 = 256;
/// How often the limit of one request is lowered.
const MAX_LOWERINGS: usize = 4;
/// The number of models that are remembered. Users choose the names, so it must be bounded.
const MAX_MODELS: usize = 1_000;
/// Parts of errors about the output limit.
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
/// Words before the number of tokens of the prompt.
const BEFORE_PROMPT: [&str; 2] = ["resulted in", "input length:"];
/// Words after that number.
const AFTER_PROMPT: [&str; 6] = ["input tokens", "inputs tokens", "prompt tokens", "in the messages", "in the prompt", "in your prompt"];

/// The limits that models have accepted, if lower than the configured one.
#[derive(Debug, Default)]
pub(super) struct KnownLimits(Mutex<HashMap<String, u32>>);

impl KnownLimits {
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

/// The output limit of one request.
#[derive(Debug)]
pub(super) struct OutputLimit {
    configured: u32,
    current: u32,
    /// How often the limit was lowered.
    lowerings: usize,
    /// The current limit depends on the length of the prompt, so it is not remembered.
    of_prompt: bool,
}

impl OutputLimit {
    pub(super) fn new(known: &KnownLimits, model: &str, configured: u32) -> Self {
        Self { configured, current: known.of(model).unwrap_or(configured).min(configured), lowerings: 0, of_prompt: false }
    }

    pub(super) fn get(&self) -> u32 {
        self.current
    }

    /// Remembers a lowered limit that the model has accepted.
    pub(super) fn accepted(&self, known: &KnownLimits, model: &str) {
        if self.lowerings > 0 && !self.of_prompt {
            tracing::warn!(model, limit = self.current, configured = self.configured, "the output limit of the model is below {SETTING}");
            known.remember(model, self.current);
        }
    }

    /// Lowers the limit if the refusal is about it. Returns whether the request should be sent again.
    pub(super) fn lower(&mut self, status: u16, complaint: &str) -> bool {
        if !matches!(status, 400 | 422) || self.lowerings == MAX_LOWERINGS || !is_about_limit(complaint) {
            return false;
        }
        let (next, of_prompt) = acceptable(complaint, self.current);
        if next < MIN_LIMIT || next >= self.current {
            return false;
        }
        self.lowerings += 1;
        self.of_prompt |= of_prompt;
        self.current = next;
        true
    }

    /// Adds the setting to the message of a refusal that is about the limit.
    pub(super) fn explain(&self, mut error: ProviderError, status: u16, complaint: &str) -> ProviderError {
        if matches!(status, 400 | 422) && is_about_limit(complaint) {
            error.message = format!("{} ({SETTING} is {})", error.message, self.configured);
        }
        error
    }
}

fn is_about_limit(complaint: &str) -> bool {
    let unknown = ["nsupported parameter", "nrecognized", "nknown", "xtra inputs"];
    WORDS.iter().any(|word| complaint.contains(word)) && !unknown.iter().any(|word| complaint.contains(word))
}

/// The limit that the error message names, or half of the requested one, and whether the limit depends on the length of the prompt.
fn acceptable(complaint: &str, requested: u32) -> (u32, bool) {
    let numbers = numbers(complaint);
    if let Some(prompt) = prompt_tokens(complaint, &numbers, requested) {
        let sums = [prompt, requested, prompt.saturating_add(requested)];
        let context =
            numbers.iter().map(|number| number.value).filter(|n| !sums.contains(n) && *n > prompt && n - prompt < requested).max();
        return (context.map_or(0, |context| context - prompt), true);
    }
    let named = numbers.iter().filter(|number| number.value < requested).max_by_key(|number| number.value);
    let exclusive = complaint.contains("exclusive");
    let guess = (requested / 2, true);
    let limit = named.map_or(0, |number| if exclusive || number.open_end { number.value - 1 } else { number.value });
    // A smaller number is not a limit, but a version for example.
    if limit < MIN_LIMIT { guess } else { (limit, false) }
}

/// An integer in a text.
#[derive(Debug)]
struct Number {
    value: u32,
    start: usize,
    end: usize,
    /// It is the end of a half-open range: `[1, 8193)`.
    open_end: bool,
}

fn numbers(text: &str) -> Vec<Number> {
    let mut found = Vec::new();
    let mut rest = 0;
    while let Some(from) = text[rest..].find(|c: char| c.is_ascii_digit()).map(|at| rest + at) {
        let len = text[from..].find(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '_'))).unwrap_or(text.len() - from);
        let digits: String = text[from..from + len].chars().filter(char::is_ascii_digit).collect();
        let end = from + text[from..from + len].trim_end_matches([',', '_']).len();
        let open_end = text[end..].starts_with(')') && text[..from].contains('[');
        found.extend(digits.parse().ok().filter(|value| *value > 0).map(|value| Number { value, start: from, end, open_end }));
        rest = from + len.max(1);
    }
    found
}

/// The number of tokens of the prompt, if the error message names it.
fn prompt_tokens(complaint: &str, numbers_found: &[Number], requested: u32) -> Option<u32> {
    let is_of_prompt = |number: &&Number| {
        let after = complaint[number.end..].trim_start().replace('`', "");
        let before = complaint[..number.start].trim_end();
        let is_followed = AFTER_PROMPT
            .iter()
            .any(|words| after.starts_with(words) || after.strip_prefix("tokens ").is_some_and(|rest| rest.starts_with(words)));
        // "prompt + limit > context"
        let is_added = after.strip_prefix('+').is_some_and(|rest| numbers(rest).first().is_some_and(|next| next.value == requested));
        is_followed || is_added || BEFORE_PROMPT.iter().any(|words| before.ends_with(words))
    };
    numbers_found.iter().find(is_of_prompt).map(|number| number.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_from_the_error_message() {
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
            let mut limit = OutputLimit::new(&KnownLimits::default(), "m", 16_384);
            assert!(limit.lower(400, complaint), "{complaint}");
            assert_eq!(limit.get(), expected, "{complaint}");
        }
    }

    #[test]
    fn other_refusals_do_not_lower_the_limit() {
        for (status, complaint) in [
            (400, "no such model"),
            (401, "max_tokens is too large"),
            (400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
            (
                400,
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages.",
            ),
        ] {
            let mut limit = OutputLimit::new(&KnownLimits::default(), "m", 16_384);
            assert!(!limit.lower(status, complaint), "{complaint}");
        }
        let mut limit = OutputLimit::new(&KnownLimits::default(), "m", 16_384);
        assert_eq!((0..20).filter(|_| limit.lower(400, "max_tokens is too large")).count(), MAX_LOWERINGS);
    }

    #[test]
    fn a_limit_is_remembered_unless_it_depends_on_the_prompt() {
        let known = KnownLimits::default();
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
    fn the_error_of_a_final_refusal_names_the_setting() {
        let limit = OutputLimit::new(&KnownLimits::default(), "m", 16_384);
        let error = |text: &str| limit.explain(ProviderError::new(super::super::ErrorClass::InvalidRequest, text), 400, text).message;
        assert_eq!(error("max_tokens is too large"), "max_tokens is too large (BACKLOT_MAX_OUTPUT_TOKENS is 16384)");
        assert_eq!(error("no such model"), "no such model");
    }
}
