//! What a publication of a site answers.

use serde::{Deserialize, Serialize};

use super::site::{Deployment, Site};

/// The most findings of a publication.
pub(crate) const MAX_FINDINGS: usize = 200;

/// What a publication has made.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    /// The site as the publication left it.
    pub(crate) site: Site,
    pub(crate) deployment: Deployment,
    /// Sorted as compile sorts them.
    pub(crate) findings: Vec<Finding>,
}

/// A fault in a file that does not stop the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// A stable code.
    pub(crate) code: String,
    /// The path of the file.
    pub(crate) file: String,
    /// From 1; 0 if the whole file is meant.
    pub(crate) line: u32,
    /// From 1, in characters; 0 if the whole line is meant.
    pub(crate) column: u32,
    /// A sentence for a person.
    pub(crate) message: String,
    /// The line with its neighbours; can be empty.
    pub(crate) frame: String,
    /// What to do; can be empty.
    pub(crate) help: String,
    pub(crate) is_warning: bool,
}
