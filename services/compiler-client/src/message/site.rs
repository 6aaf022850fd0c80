//! A request to build a site, and its answer.

use bytes::Bytes;

use super::{File, Finding, Request};

/// A tree, and the packages that it imports.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SiteRequest {
    /// `known`, `packages`, `check_all` and `mode` are not used.
    #[prost(message, optional, tag = "1")]
    pub tree: Option<Request>,
    /// As [`super::PackagesRequest::files`].
    #[prost(message, repeated, tag = "2")]
    pub packages: Vec<File>,
}

/// A site. The same request has the same answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SiteAnswer {
    /// Sorted by path. Empty if an error or an absent content stands in the way.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<SiteFile>,
    /// At most [`super::finding::MAX_FINDINGS`].
    #[prost(message, repeated, tag = "2")]
    pub findings: Vec<Finding>,
    /// Paths of the tree whose contents the request lacks. The request is repeated with them.
    #[prost(string, repeated, tag = "3")]
    pub wanted: Vec<String>,
    /// As [`super::Answer::wanted_tools`].
    #[prost(string, repeated, tag = "4")]
    pub wanted_tools: Vec<String>,
}

/// A file of a site.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SiteFile {
    /// Below the folder of the page.
    #[prost(string, tag = "1")]
    pub path: String,
    /// A file of the tree whose bytes are the content, or empty.
    #[prost(string, tag = "2")]
    pub source: String,
    /// The content, if `source` is empty.
    #[prost(bytes = "bytes", tag = "3")]
    pub content: Bytes,
    /// Whether the path has a hash of the content.
    #[prost(bool, tag = "4")]
    pub hashed: bool,
}
