//! The tools of the model, which work on the staged tree. A refusal says why and what to do instead; the model and the viewers get the
//! same message.
//!
//! Read [`execute`] first, then [`catalogue`] (the descriptions for the model), one file per kind of tool, [`arguments`] (repair and
//! checks of arguments), and [`input`] (the events of arguments while they are streamed).

mod arguments;
pub(crate) mod catalogue;
mod edit;
pub(crate) mod input;
mod nearest;
mod paths;
pub(crate) mod policy;
pub(crate) mod read;
mod search;
mod write;

use proto::agent_streaming::{ChecksFinished, FileOperation};
use serde_json::Value;

pub(crate) use self::arguments::repair;
pub(crate) use self::{catalogue::specs, input::InputStream};
pub(crate) use crate::workspace::overlay::BaseError;
use crate::{
    model::message::ToolSpec,
    workspace::overlay::{BaseFiles, Overlay, Refusal},
};

/// The outcome of a tool call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolOutcome {
    /// The result for the model.
    pub content: String,
    /// One line for viewers.
    pub summary: String,
    /// Set if the tool refused. Then the staged tree is unchanged.
    pub failure: Option<Failure>,
    /// The change of a file, or with a failure the change that was refused. Absent for tools that only read, and if the arguments have no
    /// path.
    pub file: Option<FileEffect>,
    /// The result of the tool `check`.
    pub checks: Option<ChecksFinished>,
}

impl ToolOutcome {
    /// A text that was read.
    pub(crate) fn read(content: String, summary: String) -> Self {
        Self { content, summary, failure: None, file: None, checks: None }
    }

    /// A refusal that is about no file of the staged tree.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        let failure = Failure { reason: refusal.reason, message: refusal.message, nearest_region: String::new(), nearest_line: 0 };
        Self { content: failure_text(&failure), summary: failure.message.clone(), failure: Some(failure), file: None, checks: None }
    }
}

/// Why a tool refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The reason of `tool.failed`.
    pub reason: &'static str,
    pub message: String,
    /// For edits: the lines that are most similar to the text that was not found.
    pub nearest_region: String,
    /// The number of the first of these lines, from 1, or 0 if there are none.
    pub nearest_line: u32,
}

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEffect {
    /// The path, after a rename the new one.
    pub path: String,
    /// The path before a rename.
    pub from: Option<String>,
    pub operation: FileOperation,
    /// The size in bytes, 0 after a deletion or a failure.
    pub size: u32,
}

/// Why a tool has no result.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Failure),
    Base(Box<BaseError>),
}

impl From<BaseError> for Stop {
    fn from(error: BaseError) -> Self {
        Self::Base(Box::new(error))
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(Failure { reason: refusal.reason, message: refusal.message, nearest_region: String::new(), nearest_line: 0 })
    }
}

/// The result of a tool.
#[derive(Debug)]
pub(crate) struct ToolSuccess {
    pub(crate) content: String,
    pub(crate) summary: String,
    /// The size of the changed file in bytes.
    pub(crate) size: u32,
}

impl ToolSuccess {
    /// A result whose content is its summary.
    pub(crate) fn from_summary(summary: String, size: u32) -> Self {
        Self { content: format!("{summary}."), summary, size }
    }
}

/// The staged tree and its base.
pub(crate) struct Stage<'a> {
    pub(crate) overlay: &'a mut Overlay,
    pub(crate) base: &'a dyn BaseFiles,
}

/// Executes one call with repaired arguments. `tools` are the tools of the agent; other ones are refused.
///
/// # Errors
/// The base revision could not be read. All other failures are outcomes.
pub(crate) async fn execute(
    overlay: &mut Overlay,
    base: &dyn BaseFiles,
    tools: &[&ToolSpec],
    tool: &str,
    input: &Value,
) -> Result<ToolOutcome, BaseError> {
    let mut stage = Stage { overlay, base };
    let file = effect(&stage, tool, input);
    let result = match known(tools, tool).and_then(|()| arguments::check(tool, input)) {
        Ok(()) => run(&mut stage, tool, input).await,
        Err(refusal) => Err(refusal.into()),
    };
    match result {
        Ok(done) => {
            let file = file.map(|file| FileEffect { size: done.size, ..file });
            Ok(ToolOutcome { content: done.content, summary: done.summary, failure: None, file, checks: None })
        }
        Err(Stop::Failed(failure)) => {
            let (content, summary) = (failure_text(&failure), failure.message.clone());
            Ok(ToolOutcome { content, summary, failure: Some(failure), file, checks: None })
        }
        Err(Stop::Base(error)) => Err(*error),
    }
}

async fn run(stage: &mut Stage<'_>, tool: &str, input: &Value) -> Result<ToolSuccess, Stop> {
    match tool {
        "list_files" => read::list(stage, input),
        "read_file" => read::file(stage, input).await,
        "search" => search::run(stage, input).await,
        "write_file" => write::write(stage, input).await,
        "edit_file" => edit::run(stage, input).await,
        "delete_file" => write::delete(stage, input),
        "rename_file" => write::rename(stage, input).await,
        // The caller adds the result.
        catalogue::CHECK | catalogue::READ_SKILL => Ok(ToolSuccess { content: String::new(), summary: String::new(), size: 0 }),
        _ => Err(unknown(&[], tool).into()),
    }
}

fn known(tools: &[&ToolSpec], tool: &str) -> Result<(), Refusal> {
    if tools.iter().any(|spec| spec.name == tool) { Ok(()) } else { Err(unknown(tools, tool)) }
}

fn unknown(tools: &[&ToolSpec], tool: &str) -> Refusal {
    let names: Vec<&str> = tools.iter().map(|spec| spec.name).collect();
    let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Refusal::new("UNKNOWN_TOOL", format!("there is no tool {tool:?}; there are {there_are}"))
}

/// The change of a file that a call asks for.
fn effect(stage: &Stage<'_>, tool: &str, input: &Value) -> Option<FileEffect> {
    let path = |name: &str| input.get(name).and_then(Value::as_str).map(|path| paths::resolve(stage, path));
    let (operation, path, from) = match tool {
        "write_file" => (FileOperation::Write, path("path").or_else(|| opened(input.as_str()?))?, None),
        "edit_file" => (FileOperation::Edit, path("path")?, None),
        "delete_file" => (FileOperation::Delete, path("path")?, None),
        "rename_file" => (FileOperation::Rename, path("new_path")?, Some(path("path")?)),
        _ => return None,
    };
    Some(FileEffect { path, from, operation, size: 0 })
}

/// The file that viewers have seen opened, for arguments that are not valid JSON.
fn opened(arguments: &str) -> Option<String> {
    InputStream::new("write_file").push(arguments).into_iter().find_map(|event| match event {
        input::InputEvent::Opened { path } => Some(path),
        input::InputEvent::Text(_) | input::InputEvent::Json(_) => None,
    })
}

/// The text of a failure for the model.
fn failure_text(failure: &Failure) -> String {
    let mut text = format!("{}: {}.", failure.reason, failure.message);
    if failure.nearest_line > 0 {
        text.push_str(&format!(" The nearest lines, from line {}:\n{}", failure.nearest_line, failure.nearest_region));
    }
    text
}

/// "1 line", "2 lines".
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
