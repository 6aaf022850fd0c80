//! Packages of a page.

use compiler_client::message::{Finding, Package};

/// What a page gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PagePackages {
    pub(crate) packages: Vec<Package>,
    pub(crate) findings: Vec<Finding>,
    /// The names of the outputs.
    pub(crate) outputs: Vec<String>,
    /// A later build can have another result.
    pub(crate) is_temporary: bool,
}

impl PagePackages {
    /// Whether the page cannot run.
    pub(crate) fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| !finding.is_warning)
    }
}
