//! The conversation with compile: it asks for the files and contents that it does not know, and answers with findings.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chassis::context::Context;
use futures::{SinkExt as _, channel::mpsc, future::BoxFuture};
use proto::{
    agent_streaming as pb,
    build_input::{batches, lists, parts},
    compile::{CheckTreeRequest, Finding, Mode, Start, check_tree_request::Part, check_tree_response},
    error::{ErrorCode, Fault},
    id::UserId,
};

use super::tree::SourceTree;
use crate::{
    error::SERVICE,
    upstream::{Upstream, fault},
};

/// How long a check may take, with the files that compile asks for.
const CHECK_TIME: Duration = Duration::from_secs(60);

/// Reads contents of the files of a tree.
pub(crate) trait Contents: Send {
    /// The contents of files, in the order of the paths.
    fn read<'a>(&'a mut self, paths: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Bytes>, Fault>>;
}

type Sender = mpsc::Sender<CheckTreeRequest>;

/// The findings of a tree, sorted by file and place. `person` has the share of the limits that is used.
///
/// # Errors
/// Compile or a content is not available, or the check was refused or took too long.
pub(crate) async fn findings(
    upstream: &Upstream,
    tree: &SourceTree,
    person: UserId,
    contents: &mut dyn Contents,
) -> Result<Vec<pb::CheckFinding>, Fault> {
    let limited = tokio::time::timeout(CHECK_TIME, unlimited(upstream, tree, person, contents)).await;
    limited
        .unwrap_or_else(|_| Err(Fault::new(SERVICE, ErrorCode::Timeout, "TIMEOUT", format!("the check took longer than {CHECK_TIME:?}"))))
}

async fn unlimited(
    upstream: &Upstream,
    tree: &SourceTree,
    person: UserId,
    contents: &mut dyn Contents,
) -> Result<Vec<pb::CheckFinding>, Fault> {
    let tree_id = tree.id().ok_or_else(|| invalid("the tree has no id"))?;
    let start = Start { tree_id, base_path: String::new(), mode: Mode::Development.into(), person_id: person.to_string() };
    let (mut messages, stream) = mpsc::channel(1);
    send(&mut messages, Part::Start(start)).await;
    let context = Context { deadline: Some(Instant::now() + CHECK_TIME), ..Context::background() };
    let call = upstream.compile().check_tree(context.stream_request(stream)).await;
    let mut answers = call.map_err(|status| fault(&status))?.into_inner();
    while let Some(answer) = answers.message().await.map_err(|status| fault(&status))? {
        match answer.part {
            Some(check_tree_response::Part::NeedTree(_)) => {
                for list in lists(tree.list()) {
                    send(&mut messages, Part::Files(list)).await;
                }
            }
            Some(check_tree_response::Part::NeedContents(need)) => send_contents(tree, contents, need.blob_ids, &mut messages).await?,
            Some(check_tree_response::Part::Findings(found)) => return Ok(found.findings.into_iter().map(finding).collect()),
            None => return Err(invalid("compile asked for something that is not known")),
        }
    }
    Err(invalid("compile ended the stream without findings"))
}

/// Sends contents in the order of their ids. At most a batch of them is in memory.
async fn send_contents(tree: &SourceTree, contents: &mut dyn Contents, ids: Vec<String>, messages: &mut Sender) -> Result<(), Fault> {
    let (sizes, known) = (tree.sizes(), tree.paths());
    for batch in batches(ids, &sizes) {
        let paths: Option<Vec<&str>> = batch.iter().map(|id| known.get(id.as_str()).copied()).collect();
        let paths = paths.ok_or_else(|| invalid("compile asked for a content that the tree does not have"))?;
        let read = contents.read(&paths).await?;
        for (id, content) in batch.iter().zip(read) {
            for part in parts(id, content) {
                send(messages, Part::Content(part)).await;
            }
        }
    }
    Ok(())
}

/// Sends a part of the answer. If the call has ended, its error arrives with the next question.
async fn send(messages: &mut Sender, part: Part) {
    let _ = messages.send(CheckTreeRequest { part: Some(part) }).await;
}

fn invalid(text: &str) -> Fault {
    Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", text)
}

fn finding(finding: Finding) -> pb::CheckFinding {
    pb::CheckFinding {
        code: finding.code,
        file: finding.file,
        line: finding.line,
        column: finding.column,
        message: finding.message,
        frame: finding.frame,
        help: finding.help,
        is_warning: finding.is_warning,
        is_new: false,
    }
}
