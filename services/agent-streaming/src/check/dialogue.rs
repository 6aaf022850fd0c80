//! What a conversation with compile sends: the first message, the list of files, and contents in the order of their ids.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chassis::context::Context;
use futures::{SinkExt as _, channel::mpsc, future::BoxFuture};
use proto::{
    build_input::{batches, lists, parts},
    compile::{
        CheckTreeRequest, Content, Files, Mode, OutlineTreeRequest, Start, check_tree_request as check, outline_tree_request as outline,
    },
    error::{ErrorCode, Fault},
    id::UserId,
};

use super::tree::SourceTree;
use crate::error::SERVICE;

/// Reads contents of the files of a tree.
pub(crate) trait Contents: Send {
    /// The contents of files, in the order of the paths.
    fn read<'a>(&'a mut self, paths: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Bytes>, Fault>>;
}

/// A part of a conversation.
pub(crate) enum Part {
    Start(Start),
    Files(Files),
    Content(Content),
}

macro_rules! message {
    ($request:ident, $parts:ident) => {
        impl From<Part> for $request {
            fn from(part: Part) -> Self {
                let part = match part {
                    Part::Start(start) => $parts::Part::Start(start),
                    Part::Files(files) => $parts::Part::Files(files),
                    Part::Content(content) => $parts::Part::Content(content),
                };
                Self { part: Some(part) }
            }
        }
    };
}

message!(CheckTreeRequest, check);
message!(OutlineTreeRequest, outline);

/// Answers the questions of compile about a tree.
pub(crate) struct Dialogue<'a, M> {
    tree: &'a SourceTree,
    contents: &'a mut dyn Contents,
    messages: mpsc::Sender<M>,
}

impl<'a, M: From<Part>> Dialogue<'a, M> {
    /// A dialogue whose first message is sent, and the stream of its messages. `person` has the share of the limits that is used.
    ///
    /// # Errors
    /// No tree of git can have these files.
    pub(crate) fn start(tree: &'a SourceTree, person: UserId, contents: &'a mut dyn Contents) -> Result<(Self, mpsc::Receiver<M>), Fault> {
        let tree_id = tree.id().ok_or_else(|| invalid("the tree has no id"))?;
        let start = Start { tree_id, base_path: String::new(), mode: Mode::Development.into(), person_id: person.to_string() };
        let (mut messages, stream) = mpsc::channel(1);
        // The channel is empty.
        let _ = messages.try_send(Part::Start(start).into());
        Ok((Self { tree, contents, messages }, stream))
    }

    /// Answers `need_tree`.
    pub(crate) async fn send_tree(&mut self) {
        for list in lists(self.tree.list()) {
            self.send(Part::Files(list)).await;
        }
    }

    /// Answers `need_contents`. At most a batch of contents is in memory.
    ///
    /// # Errors
    /// A content is not available, or the tree does not have it.
    pub(crate) async fn send_contents(&mut self, ids: Vec<String>) -> Result<(), Fault> {
        let tree = self.tree;
        let (sizes, known) = (tree.sizes(), tree.paths());
        for batch in batches(ids, &sizes) {
            let paths: Option<Vec<&str>> = batch.iter().map(|id| known.get(id.as_str()).copied()).collect();
            let paths = paths.ok_or_else(|| invalid("compile asked for a content that the tree does not have"))?;
            let read = self.contents.read(&paths).await?;
            for (id, content) in batch.iter().zip(read) {
                for part in parts(id, content) {
                    self.send(Part::Content(part)).await;
                }
            }
        }
        Ok(())
    }

    /// Sends a part of the answer. If the call has ended, its error arrives with the next question.
    async fn send(&mut self, part: Part) {
        let _ = self.messages.send(part.into()).await;
    }
}

/// The context of a conversation that takes at most `time`.
pub(crate) fn context(time: Duration) -> Context {
    Context { deadline: Some(Instant::now() + time), ..Context::background() }
}

/// Ends a conversation with a fault after `time`. `what` names it.
///
/// # Errors
/// Those of the conversation, and TIMEOUT.
pub(crate) async fn limited<T>(what: &str, time: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = |_| Err(Fault::new(SERVICE, ErrorCode::Timeout, "TIMEOUT", format!("{what} took longer than {time:?}")));
    tokio::time::timeout(time, work).await.unwrap_or_else(late)
}

/// Compile has answered something that the contract does not have.
pub(crate) fn invalid(text: &str) -> Fault {
    Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", text)
}
