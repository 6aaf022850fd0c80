//! How an answer ends. Only a word that is known to be a clean end lets a turn commit; every other one says that the answer may
//! not be whole.

use super::{ErrorClass, FinishReason, ProviderError};

/// What a word at the end of an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The model is done, or waits for its tools.
    Clean,
    /// The answer was cut at a limit of the output or of the context.
    Length,
    /// The model, or a filter of its provider, declined.
    Declined,
    /// The provider gave up; the same call may succeed later.
    Failed(ErrorClass),
    /// The model wants its own words back to go on.
    Paused,
    /// A word that is not in the table.
    Unknown,
}

use End::{Clean, Declined, Failed, Length, Paused};
use ErrorClass::{Connection, Overloaded, ServerError, Timeout};

/// Every word that a provider is known to end an answer with, who says it, and what it means. Gateways pass the words of the
/// provider behind them, so both protocols share the table. A word means the same whoever says it.
pub(super) const WORDS: &[(&str, &str, End)] = &[
    // Chat completions.
    ("stop", "OpenAI and all who follow it", Clean),
    ("tool_calls", "OpenAI and all who follow it", Clean),
    ("function_call", "OpenAI, before there were tools", Clean),
    ("length", "OpenAI and all who follow it", Length),
    ("content_filter", "OpenAI, Azure", Declined),
    ("eos", "Together, SiliconFlow", Clean),
    ("eos_token", "Text Generation Inference, watsonx", Clean),
    ("model_length", "Mistral", Length),
    ("error", "Mistral, OpenRouter, vLLM", Failed(ServerError)),
    ("abort", "vLLM, SGLang", Failed(ServerError)),
    ("repetition", "vLLM", Failed(ServerError)),
    ("insufficient_system_resource", "DeepSeek", Failed(Overloaded)),
    ("network_error", "GLM", Failed(Connection)),
    ("sensitive", "GLM, Hunyuan", Declined),
    ("cancelled", "TensorRT-LLM, watsonx", Failed(ServerError)),
    ("canceled", "gateways", Failed(ServerError)),
    ("timeout", "TensorRT-LLM", Failed(Timeout)),
    ("time_limit", "watsonx, xAI", Failed(Timeout)),
    ("token_limit", "watsonx", Length),
    ("not_finished", "watsonx", Failed(ServerError)),
    // Anthropic Messages, and Bedrock's Converse.
    ("end_turn", "Anthropic, Bedrock", Clean),
    ("tool_use", "Anthropic, Bedrock", Clean),
    ("stop_sequence", "Anthropic, Bedrock, Text Generation Inference", Clean),
    ("max_tokens", "Anthropic, Bedrock, watsonx", Length),
    ("model_context_window_exceeded", "Anthropic, GLM, Bedrock", Length),
    ("refusal", "Anthropic", Declined),
    ("pause_turn", "Anthropic", Paused),
    ("guardrail_intervened", "Bedrock", Declined),
    ("content_filtered", "Bedrock", Declined),
    ("malformed_model_output", "Bedrock", Failed(ServerError)),
    ("malformed_tool_use", "Bedrock", Failed(ServerError)),
    // Gemini, whose words some gateways pass as they are.
    ("STOP", "Gemini", Clean),
    ("MAX_TOKENS", "Gemini, Cohere", Length),
    ("SAFETY", "Gemini", Declined),
    ("RECITATION", "Gemini", Declined),
    ("LANGUAGE", "Gemini", Declined),
    ("BLOCKLIST", "Gemini", Declined),
    ("PROHIBITED_CONTENT", "Gemini", Declined),
    ("SPII", "Gemini", Declined),
    ("IMAGE_SAFETY", "Gemini", Declined),
    ("MODEL_ARMOR", "Gemini", Declined),
    ("OTHER", "Gemini", Failed(ServerError)),
    ("FINISH_REASON_UNSPECIFIED", "Gemini", Failed(ServerError)),
    ("MALFORMED_FUNCTION_CALL", "Gemini", Failed(ServerError)),
    ("MALFORMED_RESPONSE", "Gemini", Failed(ServerError)),
    ("UNEXPECTED_TOOL_CALL", "Gemini", Failed(ServerError)),
    ("TOO_MANY_TOOL_CALLS", "Gemini", Failed(ServerError)),
    ("MISSING_THOUGHT_SIGNATURE", "Gemini", Failed(ServerError)),
    ("malformed_function_call", "Gemini behind gateways", Failed(ServerError)),
    ("function_call_filter: MALFORMED_FUNCTION_CALL", "Gemini's chat completions", Failed(ServerError)),
    ("function_call_filter: UNEXPECTED_TOOL_CALL", "Gemini's chat completions", Failed(ServerError)),
    // Cohere.
    ("COMPLETE", "Cohere", Clean),
    ("STOP_SEQUENCE", "Cohere", Clean),
    ("TOOL_CALL", "Cohere", Clean),
    ("ERROR", "Cohere", Failed(ServerError)),
    ("ERROR_LIMIT", "Cohere", Length),
    ("ERROR_TOXIC", "Cohere", Declined),
    ("USER_CANCEL", "Cohere", Failed(ServerError)),
    ("TIMEOUT", "Cohere", Failed(Timeout)),
];

/// Words that stand where no end is yet.
const NO_END: [&str; 2] = ["", "null"];

impl End {
    pub(super) fn of(word: &str) -> Self {
        WORDS.iter().find(|(known, ..)| *known == word).map_or(Self::Unknown, |(.., end)| *end)
    }
}

/// What one answer said about its end.
#[derive(Debug, Default)]
pub(super) struct Ends(Option<(String, End)>);

impl Ends {
    /// The answer says that it ends. Of two words that differ the one that is not clean counts, whichever comes first.
    pub(super) fn say(&mut self, word: &str) {
        if NO_END.contains(&word) {
            return;
        }
        if self.0.as_ref().is_none_or(|(_, end)| *end == End::Clean) {
            self.0 = Some((word.to_owned(), End::of(word)));
        }
    }

    /// More of the answer came: a clean end before it was none.
    pub(super) fn goes_on(&mut self) {
        self.0.take_if(|(_, end)| *end == End::Clean);
    }

    /// Whether a word stands. The protocol's last event may follow or be missing.
    pub(super) fn any(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(self.0, Some((_, End::Paused)))
    }

    /// Forgets what was said, for the next response of the same answer.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// How the answer ended. `calls`: it has tool calls; some providers say `stop` after calls, and some `tool_calls` without any.
    ///
    /// # Errors
    /// The answer is not whole, and its words do not say that a limit or a refusal is the reason.
    pub(super) fn finish(&self, provider: &str, calls: bool) -> Result<FinishReason, ProviderError> {
        let Some((word, end)) = &self.0 else { return Err(super::http::cut(provider)) };
        match end {
            End::Clean if calls => Ok(FinishReason::ToolCalls),
            End::Clean => Ok(FinishReason::Stop),
            End::Length => Ok(FinishReason::Length),
            End::Declined => Ok(FinishReason::ContentFilter),
            End::Failed(class) => Err(ProviderError::new(*class, format!("{provider} gave up the answer with the word {}", shown(word)))),
            End::Paused | End::Unknown => {
                let message = format!("{provider} ended the answer with the word {}, which is not known to be a clean end", shown(word));
                Err(ProviderError::new(ErrorClass::Truncated, message))
            }
        }
    }
}

fn shown(word: &str) -> String {
    format!("{:?}", word.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn finish(said: &[Option<&str>]) -> Result<FinishReason, ErrorClass> {
        let mut ends = Ends::default();
        for word in said {
            match word {
                Some(word) => ends.say(word),
                None => ends.goes_on(),
            }
        }
        ends.finish("x", false).map_err(|error| error.class)
    }

    #[test]
    fn every_word_is_in_the_table_once() {
        let words: BTreeSet<&str> = WORDS.iter().map(|(word, ..)| *word).collect();
        assert_eq!(words.len(), WORDS.len());
        assert!(WORDS.iter().all(|(word, who, end)| !NO_END.contains(word) && !who.is_empty() && *end != End::Unknown));
    }

    #[test]
    fn only_known_words_are_clean() {
        let clean: Vec<&str> = WORDS.iter().filter(|(.., end)| *end == Clean).map(|(word, ..)| *word).collect();
        for word in clean {
            assert_eq!(finish(&[Some(word)]), Ok(FinishReason::Stop), "{word}");
        }
        for word in ["of_tomorrow", "Stop", "stopped", " stop", "unknown", "other", "load", "unload"] {
            assert_eq!(finish(&[Some(word)]), Err(ErrorClass::Truncated), "{word}");
        }
        for word in NO_END {
            assert_eq!(finish(&[Some(word)]), Err(ErrorClass::Connection), "{word:?} is no end");
            assert_eq!(finish(&[Some("stop"), Some(word)]), Ok(FinishReason::Stop));
        }
        assert_eq!(finish(&[]), Err(ErrorClass::Connection));
    }

    #[test]
    fn of_two_ends_the_one_that_is_not_clean_counts() {
        for other in ["length", "abort", "content_filter", "of_tomorrow", "pause_turn"] {
            let alone = finish(&[Some(other)]);
            for said in [[Some("stop"), Some(other)], [Some(other), Some("stop")]] {
                assert_eq!(finish(&said), alone, "{said:?}");
            }
        }
        assert_eq!(finish(&[Some("stop"), Some("tool_calls")]), Ok(FinishReason::Stop));
        assert_eq!(finish(&[Some("length"), Some("content_filter")]), Ok(FinishReason::Length));
    }

    #[test]
    fn an_end_before_more_content_does_not_count() {
        assert_eq!(finish(&[Some("stop"), None]), Err(ErrorClass::Connection));
        assert_eq!(finish(&[Some("stop"), None, Some("stop")]), Ok(FinishReason::Stop));
        assert_eq!(finish(&[Some("length"), None, Some("stop")]), Ok(FinishReason::Length));
    }
}
