//! The finish reasons of providers. A turn commits only after a reason that is known to be clean; after any other one the answer may be
//! incomplete.

use super::{ErrorClass, FinishReason, ProviderError};

/// The meaning of a provider's finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FinishClass {
    /// The model is done, or waits for its tools.
    Clean,
    /// The answer was cut at the output limit or at the context limit.
    Length,
    /// The model, or a filter of its provider, declined to answer.
    Declined,
    /// The provider aborted the answer. The same request may succeed later.
    Failed(ErrorClass),
    /// The model paused. It continues when the next request contains the content so far.
    Paused,
    /// The reason is not in the table.
    Unknown,
}

use ErrorClass::{Connection, Overloaded, ServerError, Timeout};
use FinishClass::{Clean, Declined, Failed, Length, Paused};

/// The known finish reasons, with the providers that send them. Gateways pass on the reasons of the providers behind them, so both
/// protocols share the table. A reason has the same meaning for every provider.
pub(super) const REASONS: &[(&str, &str, FinishClass)] = &[
    // Chat completions.
    ("stop", "OpenAI and compatible servers", Clean),
    ("tool_calls", "OpenAI and compatible servers", Clean),
    ("function_call", "older versions of OpenAI", Clean),
    ("length", "OpenAI and compatible servers", Length),
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
    // Gemini. Some gateways pass its reasons on unchanged.
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

/// Values of the field before there is a finish reason.
const NONE: [&str; 2] = ["", "null"];

impl FinishClass {
    pub(super) fn of(reason: &str) -> Self {
        REASONS.iter().find(|(known, ..)| *known == reason).map_or(Self::Unknown, |(.., class)| *class)
    }
}

/// The finish reason of an answer while it is read.
#[derive(Debug, Default)]
pub(super) struct FinishTracker(Option<(String, FinishClass)>);

impl FinishTracker {
    /// Records a finish reason. If there are several, one that is not clean takes precedence over a clean one.
    pub(super) fn record(&mut self, reason: &str) {
        if NONE.contains(&reason) {
            return;
        }
        if self.0.as_ref().is_none_or(|(_, class)| *class == FinishClass::Clean) {
            self.0 = Some((reason.to_owned(), FinishClass::of(reason)));
        }
    }

    /// Records that more content has come: a clean reason before it does not count.
    pub(super) fn content_follows(&mut self) {
        self.0.take_if(|(_, class)| *class == FinishClass::Clean);
    }

    /// Whether there is a finish reason. The protocol's last event may follow or be missing.
    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(self.0, Some((_, FinishClass::Paused)))
    }

    /// Removes the reason, for the next response of the same answer.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// The finish reason of the answer. `calls` says whether it has tool calls, because some providers send `stop` after calls, and some
    /// `tool_calls` without any.
    ///
    /// # Errors
    /// The answer is or may be incomplete, and the reason is neither a limit nor a refusal.
    pub(super) fn finish(&self, provider: &str, calls: bool) -> Result<FinishReason, ProviderError> {
        let Some((reason, class)) = &self.0 else { return Err(super::http::incomplete(provider)) };
        match class {
            FinishClass::Clean if calls => Ok(FinishReason::ToolCalls),
            FinishClass::Clean => Ok(FinishReason::Stop),
            FinishClass::Length => Ok(FinishReason::Length),
            FinishClass::Declined => Ok(FinishReason::ContentFilter),
            FinishClass::Failed(class) => {
                Err(ProviderError::new(*class, format!("{provider} aborted the answer with the finish reason {}", quoted(reason))))
            }
            FinishClass::Paused | FinishClass::Unknown => {
                let message = format!("{provider} ended the answer with the unexpected finish reason {}", quoted(reason));
                Err(ProviderError::new(ErrorClass::Truncated, message))
            }
        }
    }
}

fn quoted(reason: &str) -> String {
    format!("{:?}", reason.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `None` stands for more content.
    fn finish(sequence: &[Option<&str>]) -> Result<FinishReason, ErrorClass> {
        let mut tracker = FinishTracker::default();
        for reason in sequence {
            match reason {
                Some(reason) => tracker.record(reason),
                None => tracker.content_follows(),
            }
        }
        tracker.finish("x", false).map_err(|error| error.class)
    }

    #[test]
    fn every_reason_is_in_the_table_once() {
        let reasons: BTreeSet<&str> = REASONS.iter().map(|(reason, ..)| *reason).collect();
        assert_eq!(reasons.len(), REASONS.len());
        assert!(REASONS.iter().all(|(reason, who, class)| !NONE.contains(reason) && !who.is_empty() && *class != FinishClass::Unknown));
    }

    #[test]
    fn only_known_reasons_are_clean() {
        let clean: Vec<&str> = REASONS.iter().filter(|(.., class)| *class == Clean).map(|(reason, ..)| *reason).collect();
        for reason in clean {
            assert_eq!(finish(&[Some(reason)]), Ok(FinishReason::Stop), "{reason}");
        }
        for reason in ["unheard_of", "Stop", "stopped", " stop", "unknown", "other", "load", "unload"] {
            assert_eq!(finish(&[Some(reason)]), Err(ErrorClass::Truncated), "{reason}");
        }
        for reason in NONE {
            assert_eq!(finish(&[Some(reason)]), Err(ErrorClass::Connection), "{reason:?}");
            assert_eq!(finish(&[Some("stop"), Some(reason)]), Ok(FinishReason::Stop));
        }
        assert_eq!(finish(&[]), Err(ErrorClass::Connection));
    }

    #[test]
    fn a_reason_that_is_not_clean_takes_precedence() {
        for other in ["length", "abort", "content_filter", "unheard_of", "pause_turn"] {
            let alone = finish(&[Some(other)]);
            for sequence in [[Some("stop"), Some(other)], [Some(other), Some("stop")]] {
                assert_eq!(finish(&sequence), alone, "{sequence:?}");
            }
        }
        assert_eq!(finish(&[Some("stop"), Some("tool_calls")]), Ok(FinishReason::Stop));
        assert_eq!(finish(&[Some("length"), Some("content_filter")]), Ok(FinishReason::Length));
    }

    #[test]
    fn a_clean_reason_before_more_content_does_not_count() {
        assert_eq!(finish(&[Some("stop"), None]), Err(ErrorClass::Connection));
        assert_eq!(finish(&[Some("stop"), None, Some("stop")]), Ok(FinishReason::Stop));
        assert_eq!(finish(&[Some("length"), None, Some("stop")]), Ok(FinishReason::Length));
    }
}
