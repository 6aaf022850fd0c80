//! Findings of the compiler as answers have them.

use compiler_client::message::finding::listed;
use proto::compile::Finding;

/// Errors first, both kinds sorted by file and place, as far as an answer has room.
pub(crate) fn sorted<'f>(findings: impl Iterator<Item = &'f compiler_client::message::Finding>) -> Vec<Finding> {
    listed(findings.cloned().collect()).into_iter().map(finding).collect()
}

fn finding(finding: compiler_client::message::Finding) -> Finding {
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

#[cfg(test)]
mod tests {
    use compiler_client::message::finding::MAX_FINDINGS;

    use super::*;

    #[test]
    fn warnings_of_the_files_hide_no_error_of_the_packages() {
        let finding =
            |file: &str, is_warning| compiler_client::message::Finding { file: file.to_owned(), is_warning, ..Default::default() };
        let warnings = vec![finding("a.ts", true); MAX_FINDINGS + 5];
        let sorted = sorted(warnings.iter().chain(&[finding("package.json", false)]));
        assert_eq!((sorted.len(), sorted[0].file.as_str(), sorted[0].is_warning), (MAX_FINDINGS, "package.json", false));
    }
}
