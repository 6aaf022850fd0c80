//! The runtime of QuickJS for tools, and what it says when it fails.

use rquickjs::{CaughtError, Runtime};

/// Bytes that all values of an engine may have.
const MEMORY: usize = 192 << 20;
/// Bytes of stack. The thread of a worker has more.
const STACK: usize = 8 << 20;
/// Bytes that are allocated before the first search for unused values. Most inputs need fewer.
const FIRST_COLLECTION: usize = 96 << 20;

/// Why a tool has no result: a sentence.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure(pub(crate) String);

/// A runtime with the limits.
///
/// # Errors
/// There is no memory.
pub(super) fn runtime() -> rquickjs::Result<Runtime> {
    let runtime = Runtime::new()?;
    runtime.set_memory_limit(MEMORY);
    runtime.set_max_stack_size(STACK);
    runtime.set_gc_threshold(FIRST_COLLECTION);
    Ok(runtime)
}

pub(super) fn broken(error: rquickjs::Error) -> Failure {
    Failure(error.to_string())
}

/// What the engine says.
pub(super) fn failure(error: &CaughtError<'_>) -> Failure {
    let message = match error {
        CaughtError::Exception(exception) => exception.message().unwrap_or_default(),
        CaughtError::Value(value) => value.as_string().and_then(|text| text.to_string().ok()).unwrap_or_default(),
        // A promise that nothing settles.
        CaughtError::Error(rquickjs::Error::WouldBlock) => "it waits for something that never happens".to_owned(),
        CaughtError::Error(error) => error.to_string(),
    };
    Failure(match message.as_str() {
        "out of memory" | "" => "it needs too much memory".to_owned(),
        "Maximum call stack size exceeded" | "stack overflow" => "it is nested too deeply".to_owned(),
        other => other.to_owned(),
    })
}
