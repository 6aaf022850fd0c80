//! The check before a turn commits. Its outcome is in the log, so that a later worker does the same.

use std::sync::Arc;

use proto::agent_streaming::{ChecksFinished, ChecksStatus, turn_event::Kind};

use super::{
    recorder::{Recorder, RunError},
    step::{StepRunner, add_findings},
};
use crate::{
    check::findings::Checks,
    model::provider::ModelRequest,
    turn::{Failure, Reason, Turn},
    workspace::overlay::Overlay,
};

/// What follows the last step of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Commit,
    /// The model has the findings, and corrects them.
    Correct,
}

/// The checks of one turn.
#[derive(Debug, Default)]
pub(super) struct FinalCheck {
    /// The model has got findings before. It gets them once.
    is_returned: bool,
    /// The outcome that the log has after the last step.
    recorded: Option<ChecksFinished>,
}

impl FinalCheck {
    /// Takes a check that the log has.
    pub(super) fn replay(&mut self, request: &mut Arc<ModelRequest>, checks: ChecksFinished) -> Next {
        if checks.is_returned {
            self.is_returned = true;
            add_findings(request, &checks);
            return Next::Correct;
        }
        self.recorded = Some(checks);
        Next::Commit
    }

    /// Whether the model was done before, and corrects what a check has found.
    pub(super) fn is_correcting(&self) -> bool {
        self.is_returned
    }

    /// Checks the staged files. `may_continue`: the model may take another step.
    ///
    /// # Errors
    /// The request asked for clean files, and they are not.
    pub(super) async fn run(
        &mut self,
        recorder: &mut Recorder<'_>,
        runner: &StepRunner<'_>,
        (overlay, request): (&mut Overlay, &mut Arc<ModelRequest>),
        may_continue: bool,
    ) -> Result<Next, RunError> {
        if let Some(checks) = self.recorded.take() {
            return Ok(decide(runner.turn, &checks)?);
        }
        if overlay.changes().is_empty() {
            return Ok(Next::Commit);
        }
        let checks = runner.check(overlay).await;
        if checks == Checks::NoSources {
            return Ok(Next::Commit);
        }
        let is_returned = !self.is_returned && may_continue && checks.has_errors_of(runner.turn.require_clean_files);
        let checks = checks.into_event("", is_returned);
        recorder.push(Kind::ChecksFinished(checks.clone())).await?;
        if !is_returned {
            return Ok(decide(runner.turn, &checks)?);
        }
        self.is_returned = true;
        add_findings(request, &checks);
        Ok(Next::Correct)
    }
}

/// Whether a turn with these findings commits.
fn decide(turn: &Turn, checks: &ChecksFinished) -> Result<Next, Failure> {
    if !turn.require_clean_files {
        return Ok(Next::Commit);
    }
    // Errors come first, so that the event has one if there is any.
    let error = checks.findings.iter().find(|finding| !finding.is_warning);
    match (checks.status(), error) {
        (ChecksStatus::Unavailable | ChecksStatus::Unspecified, _) => {
            Err(Failure::new(Reason::ChecksUnavailable, "the request asked for files without errors, and the files could not be checked"))
        }
        (ChecksStatus::Findings, Some(error)) => {
            let text = format!("the request asked for files without errors; {} line {}: {}", error.file, error.line, error.message);
            Err(Failure::new(Reason::FilesNotClean, text))
        }
        _ => Ok(Next::Commit),
    }
}

#[cfg(test)]
mod tests {
    use proto::agent_streaming::CheckFinding;

    use super::*;

    #[test]
    fn a_turn_that_asked_for_clean_files_commits_no_others() {
        let warning = CheckFinding { is_warning: true, ..CheckFinding::default() };
        let found = |findings: &[CheckFinding]| Checks::Found(findings.to_vec());
        for (checks, reason) in [
            (Checks::NoSources, None),
            (Checks::Unavailable, Some(Reason::ChecksUnavailable)),
            (found(&[]), None),
            (found(std::slice::from_ref(&warning)), None),
            (found(&[warning, CheckFinding::default()]), Some(Reason::FilesNotClean)),
        ] {
            let checks = checks.into_event("", false);
            let turn = Turn { require_clean_files: true, ..crate::testing::draft() };
            assert_eq!(decide(&turn, &checks).err().map(|failure| failure.reason), reason, "{checks:?}");
            assert_eq!(decide(&crate::testing::draft(), &checks), Ok(Next::Commit));
        }
    }
}
