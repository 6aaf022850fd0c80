//! The tools that a model works with, over the staged tree. A tool that refuses says why and what to do instead: the same
//! words go to the model, which tries again, and to the people who watch.
//!
//! Read [`execute`] first, then [`catalogue`] (what the model is told), one file per kind of tool, [`arguments`] (what a model
//! means by the arguments of a call), and [`input`] (what a viewer sees while they still stream).

mod arguments;
pub(crate) mod catalogue;
mod edit;
pub(crate) mod input;
mod nearest;
mod paths;
pub(crate) mod read;
mod search;
mod write;

use proto::agent_streaming::FileOperation;
use serde_json::Value;

pub(crate) use self::arguments::repair;
pub(crate) use self::{catalogue::specs, input::InputStream};
pub(crate) use crate::workspace::overlay::BaseError;
use crate::{
    model::provider::ToolSpec,
    workspace::overlay::{BaseFiles, Overlay, Refusal},
};

/// What a tool did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolOutcome {
    /// For the model.
    pub content: String,
    /// One line for people.
    pub summary: String,
    /// Set when the tool refused; the staged tree is as before.
    pub failure: Option<Failure>,
    /// What the call did, or (with a failure) meant to do, to a file; absent for tools that only look, and where the arguments
    /// name no path.
    pub file: Option<FileEffect>,
}

/// Why a tool refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The word of `tool.failed`.
    pub reason: &'static str,
    pub message: String,
    /// For edits: the lines that come nearest to what was not found.
    pub nearest_region: String,
    /// The number of the first of them, from 1; 0 without any.
    pub nearest_line: u32,
}

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEffect {
    /// After a rename the new path.
    pub path: String,
    /// The path before a rename.
    pub from: Option<String>,
    pub operation: FileOperation,
    /// Bytes after it; 0 after a deletion and after a failure.
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

/// What a tool that worked has to say.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) content: String,
    pub(crate) summary: String,
    /// Bytes of the file that was changed.
    pub(crate) size: u32,
}

impl Done {
    /// For people and for the model in the same words.
    pub(crate) fn saying(summary: String, size: u32) -> Self {
        Self { content: format!("{summary}."), summary, size }
    }
}

/// The tree and where its unread part comes from.
pub(crate) struct Stage<'a> {
    pub(crate) overlay: &'a mut Overlay,
    pub(crate) base: &'a dyn BaseFiles,
}

/// Carries out one call, whose arguments were repaired. The model may call the tools that it was told of, and no other.
///
/// # Errors
/// The base revision could not be read; everything else is an outcome.
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
            Ok(ToolOutcome { content: done.content, summary: done.summary, failure: None, file })
        }
        Err(Stop::Failed(failure)) => {
            Ok(ToolOutcome { content: told(&failure), summary: failure.message.clone(), failure: Some(failure), file })
        }
        Err(Stop::Base(error)) => Err(*error),
    }
}

async fn run(stage: &mut Stage<'_>, tool: &str, input: &Value) -> Result<Done, Stop> {
    match tool {
        "list_files" => read::list(stage, input),
        "read_file" => read::file(stage, input).await,
        "search" => search::run(stage, input).await,
        "write_file" => write::write(stage, input).await,
        "edit_file" => edit::run(stage, input).await,
        "delete_file" => write::delete(stage, input),
        "rename_file" => write::rename(stage, input).await,
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

/// What a call means to do to a file, from its arguments and the paths that there are.
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

/// The file that arguments which are not whole JSON have opened before the eyes of a viewer.
fn opened(arguments: &str) -> Option<String> {
    InputStream::new("write_file").push(arguments).into_iter().find_map(|event| match event {
        input::InputEvent::Opened { path } => Some(path),
        input::InputEvent::Text(_) | input::InputEvent::Json(_) => None,
    })
}

/// A failure in the words for the model.
fn told(failure: &Failure) -> String {
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
