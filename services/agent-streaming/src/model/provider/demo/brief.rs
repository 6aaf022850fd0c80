//! What the demo takes from a request: the prompt, the paths, and how far it is.

use serde_json::Value;

use crate::{
    model::prompt,
    model::provider::{AssistantBlock, ModelMessage, ModelRequest, ToolResult},
};

pub(super) struct Brief<'a> {
    pub(super) prompt: &'a str,
    /// Of the tree that the turn began with.
    pub(super) paths: Vec<&'a str>,
    /// The steps of this turn so far.
    pub(super) rounds: Vec<Round<'a>>,
    tools: Vec<&'static str>,
}

/// One step: its calls with their results.
pub(super) struct Round<'a>(Vec<Answered<'a>>);

struct Answered<'a> {
    tool: &'a str,
    path: &'a str,
    result: &'a ToolResult,
}

impl<'a> Brief<'a> {
    pub(super) fn of(request: &'a ModelRequest) -> Self {
        let last = request.messages.iter().rposition(|message| matches!(message, ModelMessage::User { .. }));
        let (text, turn) = match last {
            Some(at) => (user_text(&request.messages[at]), &request.messages[at + 1..]),
            None => ("", &request.messages[..]),
        };
        let (paths, prompt) = prompt::split(text);
        let rounds = turn.chunks(2).filter_map(Round::of).collect();
        Self { prompt, paths, rounds, tools: request.tools.iter().map(|tool| tool.name).collect() }
    }

    pub(super) fn may(&self, tools: &[&str]) -> bool {
        tools.iter().all(|tool| self.tools.contains(tool))
    }

    /// The page to change: the one that a preview opens, else any.
    pub(super) fn page(&self) -> Option<&'a str> {
        let pages = || self.paths.iter().filter(|path| path.ends_with(".html")).copied();
        pages().find(|path| *path == "index.html").or_else(|| pages().next())
    }

    pub(super) fn style_sheet(&self) -> Option<&'a str> {
        let sheets = || self.paths.iter().filter(|path| path.ends_with(".css")).copied();
        sheets().find(|path| matches!(*path, "styles.css" | "style.css")).or_else(|| sheets().next())
    }

    /// The first words of every refusal so far.
    pub(super) fn failures(&self) -> Vec<&'a str> {
        let results = self.rounds.iter().flat_map(|round| &round.0).map(|call| call.result);
        results.filter(|result| result.is_error).filter_map(|result| result.content.lines().next()).collect()
    }
}

impl<'a> Round<'a> {
    fn of(messages: &'a [ModelMessage]) -> Option<Self> {
        let [ModelMessage::Assistant { blocks }, ModelMessage::ToolResults(results)] = messages else { return None };
        let calls = blocks.iter().filter_map(|block| match block {
            AssistantBlock::ToolCall { id, tool, input, .. } => {
                let result = results.iter().find(|result| result.call_id == *id)?;
                Some(Answered { tool, path: input.get("path").and_then(Value::as_str).unwrap_or_default(), result })
            }
            AssistantBlock::Text(_) | AssistantBlock::Reasoning { .. } => None,
        });
        Some(Self(calls.collect()))
    }

    /// What `read_file` said of a path; `None` if it refused.
    pub(super) fn read(&self, path: &str) -> Option<&'a str> {
        let call = self.0.iter().find(|call| call.tool == "read_file" && call.path == path && !call.result.is_error)?;
        Some(&call.result.content)
    }
}

fn user_text(message: &ModelMessage) -> &str {
    match message {
        ModelMessage::User { text } => text,
        ModelMessage::Assistant { .. } | ModelMessage::ToolResults(_) => "",
    }
}
