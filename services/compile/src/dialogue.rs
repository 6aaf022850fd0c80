//! The questions of a build to its caller, and the answers.

use std::collections::BTreeSet;

use chassis::share::Share;
use futures::{StreamExt as _, stream::BoxStream};
use proto::{
    compile::{Content, Files, Start},
    error::Violations,
};
use tokio::sync::mpsc;

use crate::{
    error::{Error, SERVICE},
    hash,
    tree::{Limits, Tree},
};

/// Bytes of a part of a content.
pub(crate) const MAX_PART: usize = 1024 * 1024;

/// A message of the caller.
pub(crate) enum Part {
    Start(Start),
    Files(Files),
    Content(Content),
    /// A message without a part.
    Empty,
}

/// A question to the caller.
pub(crate) enum Question {
    Tree,
    /// Contents by their ids.
    Contents(Vec<String>),
}

/// The caller of a build.
pub(crate) struct Dialogue {
    pub(crate) parts: BoxStream<'static, Result<Part, Error>>,
    pub(crate) questions: mpsc::Sender<Question>,
}

impl Dialogue {
    /// The first message.
    ///
    /// # Errors
    /// It is no `start`.
    pub(crate) async fn start(&mut self) -> Result<Start, Error> {
        match self.next().await? {
            Part::Start(start) => Ok(start),
            _ => Err(Error::UnexpectedMessage("the first message must be `start`")),
        }
    }

    /// Asks for the list of files.
    ///
    /// # Errors
    /// The list is invalid, or too large.
    pub(crate) async fn tree(&mut self, limits: &Limits, memory: &mut Share) -> Result<Tree, Error> {
        self.ask(Question::Tree).await?;
        let mut tree = Tree::default();
        loop {
            let Part::Files(files) = self.next().await? else {
                return Err(Error::UnexpectedMessage("`need_tree` must be answered with `files`"));
            };
            hold(memory, tree.add(files.files, limits)?)?;
            if files.is_last {
                return Ok(tree);
            }
        }
    }

    /// Asks for contents, and passes them to the tree. Returns them in the order of the ids.
    ///
    /// # Errors
    /// A content is not the one that was asked for, or they are too large.
    pub(crate) async fn contents(
        &mut self,
        ids: &BTreeSet<String>,
        tree: &Tree,
        limits: &Limits,
        memory: &mut Share,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.ask(Question::Contents(ids.iter().cloned().collect())).await?;
        let mut room = tree.room(limits);
        let mut contents = Vec::with_capacity(ids.len());
        for id in ids {
            let content = self.content(id, room, limits, memory).await?;
            room -= content.len();
            contents.push(content);
        }
        Ok(contents)
    }

    async fn content(&mut self, id: &str, room: usize, limits: &Limits, memory: &mut Share) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        loop {
            let Part::Content(part) = self.next().await? else {
                return Err(Error::UnexpectedMessage("`need_contents` must be answered with `content`"));
            };
            let mut violations = Violations::default();
            if part.blob_id != id {
                violations.add("content.blob_id", format!("must be {id}: contents have the order of the question"));
            }
            if part.data.len() > MAX_PART {
                violations.add("content.data", format!("must have at most {MAX_PART} bytes"));
            }
            violations.check(SERVICE)?;
            if content.len() + part.data.len() > room {
                return Err(Error::TreeTooLarge { what: "bytes in the files that are compiled", limit: limits.bytes });
            }
            hold(memory, part.data.len())?;
            content.extend_from_slice(&part.data);
            if part.is_last {
                break;
            }
        }
        let (content, found) = hash::with_blob_id(content).await;
        if found != id {
            let mut violations = Violations::default();
            violations.add("content.data", format!("must be the content with the git id {id}"));
            violations.check(SERVICE)?;
        }
        Ok(content)
    }

    async fn ask(&mut self, question: Question) -> Result<(), Error> {
        self.questions.send(question).await.map_err(|_| Error::UnexpectedMessage("the caller is gone"))
    }

    async fn next(&mut self) -> Result<Part, Error> {
        self.parts.next().await.unwrap_or(Err(Error::UnexpectedMessage("the stream ended before its question was answered")))
    }
}

/// Counts bytes in memory.
pub(crate) fn hold(memory: &mut Share, bytes: usize) -> Result<(), Error> {
    memory.try_grow(bytes).map_err(|exhausted| Error::exhausted(exhausted, "bytes of source files in memory"))
}
