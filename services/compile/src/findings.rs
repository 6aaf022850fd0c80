//! Findings of the compiler as answers have them.

use compiler_client::message::finding::MAX_FINDINGS;
use proto::compile::Finding;

/// Sorted by file and place, as far as an answer has room.
pub(crate) fn sorted<'f>(findings: impl Iterator<Item = &'f compiler_client::message::Finding>) -> Vec<Finding> {
    let mut findings: Vec<_> = findings.map(finding).collect();
    findings.sort_by(|a, b| (&a.file, a.line, a.column, &a.code).cmp(&(&b.file, b.line, b.column, &b.code)));
    findings.truncate(MAX_FINDINGS);
    findings
}

fn finding(finding: &compiler_client::message::Finding) -> Finding {
    let finding = finding.clone();
    Finding {
        code: finding.code,
        file: finding.file,
        line: finding.line,
        column: finding.column,
        message: finding.message,
        frame: finding.frame,
        help: finding.help,
        is_warning: finding.is_warning,
    }
}
