//! The tokens of requests.

use super::{
    message::{AssistantBlock, ModelMessage, ToolSpec},
    provider::ModelRequest,
};
use crate::context::tokens::count;

/// The tokens of a request.
#[must_use]
pub(crate) fn of_request(request: &ModelRequest) -> u32 {
    let parts = [of_tools(&request.tools), count(&request.system), count(&request.tree), of_messages(&request.messages)];
    parts.into_iter().fold(0, u32::saturating_add)
}

/// The tokens of some messages.
#[must_use]
pub(crate) fn of_messages(messages: &[ModelMessage]) -> u32 {
    messages.iter().map(of_message).fold(0, u32::saturating_add)
}

fn of_message(message: &ModelMessage) -> u32 {
    let sum = |counts: &mut dyn Iterator<Item = u32>| counts.fold(0, u32::saturating_add);
    match message {
        ModelMessage::User { text } => count(text),
        ModelMessage::Assistant { blocks } => sum(&mut blocks.iter().map(|block| match block {
            AssistantBlock::Text(text) | AssistantBlock::Reasoning { text, .. } => count(text),
            AssistantBlock::ToolCall { tool, input, .. } => count(tool).saturating_add(count(&input.to_string())),
        })),
        ModelMessage::ToolResults(results) => sum(&mut results.iter().map(|result| count(&result.content))),
    }
}

/// The tokens of the descriptions of tools.
#[must_use]
pub(crate) fn of_tools(tools: &[&'static ToolSpec]) -> u32 {
    let of = |tool: &&ToolSpec| count(&format!("{}\n{}\n{}", tool.name, tool.description, tool.input_schema));
    tools.iter().map(of).fold(0, u32::saturating_add)
}

/// Whether a request and its answer fit into the window of a model.
///
/// # Errors
/// They do not; the text says by how much.
pub(crate) fn check(tokens: u32, window: u32, output: u32) -> Result<(), String> {
    if tokens.saturating_add(output) <= window {
        return Ok(());
    }
    Err(format!(
        "the prompt has {tokens} tokens, and with {output} for the answer (BACKLOT_MAX_OUTPUT_TOKENS) it does not fit into the window of \
         {window} (BACKLOT_MODEL_WINDOW_TOKENS)"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::message::ToolResult;

    #[test]
    fn every_text_of_a_request_counts() {
        let messages = [
            ModelMessage::User { text: "hello world".into() },
            ModelMessage::Assistant {
                blocks: vec![
                    AssistantBlock::Text("hello world".into()),
                    AssistantBlock::Reasoning {
                        text: "hello world".into(),
                        opaque: json!("not counted, because it is only for the provider"),
                    },
                    AssistantBlock::ToolCall { id: "c".into(), tool: "hello".into(), input: json!("world"), opaque: Value::Null },
                ],
            },
            ModelMessage::ToolResults(vec![ToolResult { call_id: "c".into(), content: "hello world".into(), is_error: false }]),
        ];
        assert_eq!(of_messages(&messages), 4 * 2 + count("hello") + count("\"world\""));
    }

    #[test]
    fn a_request_leaves_room_for_its_answer() {
        assert_eq!(check(900, 1_000, 100), Ok(()));
        let error = check(901, 1_000, 100).unwrap_err();
        assert!(error.contains("901") && error.contains("BACKLOT_MODEL_WINDOW_TOKENS"), "{error}");
    }
}
