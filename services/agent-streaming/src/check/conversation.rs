//! The conversation with compile: it asks for the files and contents that it does not know, and answers with findings.

use proto::{
    agent_streaming as pb,
    compile::{Finding, check_tree_response::Part},
    error::Fault,
    id::UserId,
};

use super::{
    dialogue::{Contents, Dialogue, context, invalid, limited},
    tree::SourceTree,
};
use crate::upstream::{Upstream, fault};

/// The findings of a tree, errors first, both kinds sorted by file and place. `person` has the share of the limits that is used.
///
/// # Errors
/// Compile or a content is not available, or the check was refused or took too long.
pub(crate) async fn findings(
    upstream: &Upstream,
    tree: &SourceTree,
    person: UserId,
    contents: &mut dyn Contents,
) -> Result<Vec<pb::CheckFinding>, Fault> {
    limited("the check", upstream.build_timeout(), unlimited(upstream, tree, person, contents)).await
}

async fn unlimited(
    upstream: &Upstream,
    tree: &SourceTree,
    person: UserId,
    contents: &mut dyn Contents,
) -> Result<Vec<pb::CheckFinding>, Fault> {
    let (mut dialogue, stream) = Dialogue::start(tree, person, contents)?;
    let call = upstream.compile().check_tree(context(upstream.build_timeout()).stream_request(stream)).await;
    let mut answers = call.map_err(|status| fault(&status))?.into_inner();
    while let Some(answer) = answers.message().await.map_err(|status| fault(&status))? {
        match answer.part {
            Some(Part::NeedTree(_)) => dialogue.send_tree().await,
            Some(Part::NeedContents(need)) => dialogue.send_contents(need.blob_ids).await?,
            Some(Part::Findings(found)) => return Ok(found.findings.into_iter().map(finding).collect()),
            None => return Err(invalid("compile asked for something that is not known")),
        }
    }
    Err(invalid("compile ended the stream without findings"))
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
