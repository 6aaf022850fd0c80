//! Parses the parts of a request that the demo uses: the prompt, the paths, and the steps so far.

use serde_json::Value;

use super::talk;
use crate::{
    context::show,
    model::provider::{AssistantBlock, ModelMessage, ModelRequest, ToolResult},
    model::{mode, prompt::tree},
    turn::mode::Mode,
};

pub(super) struct Brief<'a> {
    pub(super) prompt: &'a str,
    pub(super) mode: Mode,
    /// The paths of the tree at the start of the turn.
    pub(super) paths: Vec<&'a str>,
    /// The steps of this turn so far.
    pub(super) steps: Vec<Step<'a>>,
    tools: Vec<&'static str>,
}

/// The calls of one step with their results.
pub(super) struct Step<'a>(Vec<CallResult<'a>>);

struct CallResult<'a> {
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
        // The findings of a check are another message after the request, and the demo answers them with a new app.
        let paths = if last == Some(request.history) { tree::paths(&request.tree) } else { Vec::new() };
        let (plan, prompt) = mode::split_plan(show::request_of(text));
        // The demo's own plan begins with the request that it is for.
        let prompt = plan.and_then(talk::planned).unwrap_or(prompt);
        let mode = mode::of_system(&request.system);
        let steps = turn.chunks(2).filter_map(Step::of).collect();
        Self { prompt, mode, paths, steps, tools: request.tools.iter().map(|tool| tool.name).collect() }
    }

    /// Whether the agent has all of these tools.
    pub(super) fn has_tools(&self, tools: &[&str]) -> bool {
        tools.iter().all(|tool| self.tools.contains(tool))
    }

    /// The page to change: `index.html`, which a preview opens, or else any page.
    pub(super) fn page(&self) -> Option<&'a str> {
        let pages = || self.paths.iter().filter(|path| path.ends_with(".html")).copied();
        pages().find(|path| *path == "index.html").or_else(|| pages().next())
    }

    pub(super) fn style_sheet(&self) -> Option<&'a str> {
        let sheets = || self.paths.iter().filter(|path| path.ends_with(".css")).copied();
        sheets().find(|path| matches!(*path, "styles.css" | "style.css")).or_else(|| sheets().next())
    }

    /// The first line of every refusal so far.
    pub(super) fn failures(&self) -> Vec<&'a str> {
        let results = self.steps.iter().flat_map(|step| &step.0).map(|call| call.result);
        results.filter(|result| result.is_error).filter_map(|result| result.content.lines().next()).collect()
    }
}

impl<'a> Step<'a> {
    fn of(messages: &'a [ModelMessage]) -> Option<Self> {
        let [ModelMessage::Assistant { blocks }, ModelMessage::ToolResults(results)] = messages else { return None };
        let calls = blocks.iter().filter_map(|block| match block {
            AssistantBlock::ToolCall { id, tool, input, .. } => {
                let result = results.iter().find(|result| result.call_id == *id)?;
                Some(CallResult { tool, path: input.get("path").and_then(Value::as_str).unwrap_or_default(), result })
            }
            AssistantBlock::Text(_) | AssistantBlock::Reasoning { .. } => None,
        });
        Some(Self(calls.collect()))
    }

    /// The result of `read_file` for a path. `None` if the tool refused.
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
