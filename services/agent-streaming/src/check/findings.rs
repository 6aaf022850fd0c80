//! The rules of findings: which are new, which are kept in the log, and what the model reads.

use std::collections::HashMap;

use prost::Message as _;
use proto::{
    agent_streaming::{CheckFinding, ChecksFinished, ChecksStatus},
    error::Fault,
};

use crate::{turn::event::cut, workspace::tools::count};

/// Findings of one event.
const MAX_FINDINGS: usize = 20;
/// Bytes of the findings of one event, so that it stays below the limit of events.
const MAX_BYTES: usize = 32 * 1024;
/// Bytes of the texts of a finding.
const CODE_BYTES: usize = 64;
const FILE_BYTES: usize = 1_000;
const TEXT_BYTES: usize = 1_000;
const FRAME_BYTES: usize = 2_000;

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Checks {
    /// The tree has no file that can be checked.
    NoSources,
    /// Compile did not answer.
    Unavailable,
    /// Errors first, both kinds sorted by file and place.
    Found(Vec<CheckFinding>),
}

impl Checks {
    /// The outcome of a conversation with compile. Why it failed is logged, and not told to everybody.
    pub(crate) fn of(found: Result<Vec<CheckFinding>, Fault>) -> Self {
        match found {
            Ok(findings) => Self::Found(findings),
            Err(fault) => {
                tracing::warn!(reason = fault.reason, "files could not be checked: {fault}");
                Self::Unavailable
            }
        }
    }

    pub(crate) fn status(&self) -> ChecksStatus {
        match self {
            Self::NoSources => ChecksStatus::NotCompiled,
            Self::Unavailable => ChecksStatus::Unavailable,
            Self::Found(findings) if findings.is_empty() => ChecksStatus::Clean,
            Self::Found(_) => ChecksStatus::Findings,
        }
    }

    pub(crate) fn into_findings(self) -> Vec<CheckFinding> {
        match self {
            Self::Found(findings) => findings,
            Self::NoSources | Self::Unavailable => Vec::new(),
        }
    }

    /// Whether there are errors that the base does not have, or with `any` errors at all.
    pub(crate) fn has_errors_of(&self, any: bool) -> bool {
        matches!(self, Self::Found(findings) if findings.iter().any(|finding| !finding.is_warning && (any || finding.is_new)))
    }

    /// The event of the check, with as many findings as fit: new errors first, then other errors, then warnings.
    pub(crate) fn into_event(self, call_id: &str, is_returned: bool) -> ChecksFinished {
        let status = self.status().into();
        let mut findings = self.into_findings();
        let total = u32::try_from(findings.len()).unwrap_or(u32::MAX);
        findings.sort_by_key(|finding| (finding.is_warning, !finding.is_new));
        let mut room = MAX_BYTES;
        findings = findings.into_iter().take(MAX_FINDINGS).map(shortened).collect();
        findings.retain(|finding| {
            let bytes = finding.encoded_len() + 8;
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        ChecksFinished { status, findings, total, call_id: call_id.to_owned(), is_returned }
    }
}

fn shortened(mut finding: CheckFinding) -> CheckFinding {
    cut(&mut finding.code, CODE_BYTES);
    cut(&mut finding.file, FILE_BYTES);
    cut(&mut finding.message, TEXT_BYTES);
    cut(&mut finding.help, TEXT_BYTES);
    cut(&mut finding.frame, FRAME_BYTES);
    finding
}

/// Marks the findings that the base does not have. Lines above a finding may have changed, so its place does not count. Of equal findings in
/// a file those beyond the number of the base are new. `origins` has the paths in the base of files that were moved.
pub(crate) fn mark_new(findings: &mut [CheckFinding], base: &[CheckFinding], origins: &HashMap<String, String>) {
    let key = |finding: &CheckFinding, file: &str| (finding.code.clone(), file.to_owned(), finding.message.clone());
    let mut known = HashMap::<_, usize>::new();
    for finding in base {
        *known.entry(key(finding, &finding.file)).or_default() += 1;
    }
    for finding in findings {
        let file = origins.get(&finding.file).unwrap_or(&finding.file);
        let left = known.get_mut(&key(finding, file)).filter(|left| **left > 0);
        finding.is_new = left.is_none();
        if let Some(left) = left {
            *left -= 1;
        }
    }
}

/// One line for viewers.
pub(crate) fn summary(checks: &ChecksFinished) -> String {
    match checks.status() {
        ChecksStatus::Clean => "no findings".to_owned(),
        ChecksStatus::Findings => count(checks.total as usize, "finding"),
        ChecksStatus::NotCompiled => "the project has no file that can be checked".to_owned(),
        ChecksStatus::Unavailable | ChecksStatus::Unspecified => "the files could not be checked".to_owned(),
    }
}

/// The result of the tool `check` for the model.
pub(crate) fn result(checks: &ChecksFinished) -> String {
    match checks.status() {
        ChecksStatus::Clean => "The check found nothing.".to_owned(),
        ChecksStatus::Findings => format!("The check found this:\n{}", list(checks)),
        ChecksStatus::NotCompiled => "The project has no file that can be checked: no page, script, style sheet or JSON.".to_owned(),
        ChecksStatus::Unavailable | ChecksStatus::Unspecified => {
            "The files cannot be checked now. Continue without the check, and do not call it again.".to_owned()
        }
    }
}

/// What the model reads if its changes bring errors.
pub(crate) fn request(checks: &ChecksFinished) -> String {
    format!(
        "This is an automatic message. Before your changes are saved they were checked, and the check found errors. Correct them now with the \
         tools, with the smallest changes that suffice. If a finding is no fault, leave it and say so in one sentence. Do not repeat your \
         earlier answer.\n\n{}",
        list(checks)
    )
}

fn list(checks: &ChecksFinished) -> String {
    let mut text = String::new();
    for finding in &checks.findings {
        let kind = if finding.is_warning { "warning" } else { "error" };
        let place = match (finding.line, finding.column) {
            (0, _) => finding.file.clone(),
            (line, 0) => format!("{}:{line}", finding.file),
            (line, column) => format!("{}:{line}:{column}", finding.file),
        };
        text.push_str(&format!("\n{place}: {kind} {}: {}\n", finding.code, finding.message));
        for more in [&finding.frame, &finding.help] {
            if !more.is_empty() {
                text.push_str(more.trim_end());
                text.push('\n');
            }
        }
    }
    let left = (checks.total as usize).saturating_sub(checks.findings.len());
    if left > 0 {
        text.push_str(&format!("\n[and {}]\n", count(left, "more finding")));
    }
    text
}

#[cfg(test)]
mod tests;
