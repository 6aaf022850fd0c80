//! What a model reads: the messages of a conversation, and the tools that it may call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ModelMessage {
    User {
        text: String,
    },
    Assistant {
        blocks: Vec<AssistantBlock>,
    },
    /// The results of all calls in the previous message.
    ToolResults(Vec<ToolResult>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AssistantBlock {
    Text(String),
    /// `opaque` is the value of [`ReasoningFinished`](super::provider::ModelEvent::ReasoningFinished), which only its provider reads. Without it the block is not sent back.
    Reasoning {
        text: String,
        opaque: Value,
    },
    /// `opaque` is the value of [`ToolReady`](super::provider::ModelEvent::ToolReady).
    ToolCall {
        id: String,
        tool: String,
        input: Value,
        opaque: Value,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToolResult {
    pub call_id: String,
    pub content: String,
    pub is_error: bool,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolSpec {
    pub name: &'static str,
    pub description: &'static str,
    pub input_schema: Value,
}
