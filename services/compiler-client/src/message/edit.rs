//! Modules of an earlier answer whose contents have changed. Many edits change neither what a module imports nor what it exports, and then the
//! whole answer is the earlier one with other addresses.

use bytes::Bytes;

use super::{File, Module};

/// A module that may change alone: nothing else reads its file, and nothing that was found names it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Independent {
    #[prost(string, tag = "1")]
    pub path: String,
    /// Those of its facts.
    #[prost(string, tag = "2")]
    pub key: String,
    #[prost(string, tag = "3")]
    pub url: String,
}

/// Compiles independent modules of an answer again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EditRequest {
    /// The changed files, and those of [`super::Answer::configuration`], with their contents.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<File>,
    /// As that of the answer's request.
    #[prost(string, tag = "2")]
    pub mode: String,
    #[prost(message, repeated, tag = "3")]
    pub changes: Vec<Change>,
    /// As that of the answer's request.
    #[prost(string, tag = "4")]
    pub release: String,
}

/// A changed file, as it was.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Change {
    /// The encoded [`super::Facts`] of its module.
    #[prost(bytes = "bytes", tag = "1")]
    pub facts: Bytes,
    /// The name of its content.
    #[prost(string, tag = "2")]
    pub id: String,
}

/// The compiled modules.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EditAnswer {
    /// One for each change, in the same order.
    #[prost(message, repeated, tag = "1")]
    pub modules: Vec<Module>,
    /// An answer for all files would be the earlier one with the addresses of these modules.
    #[prost(bool, tag = "2")]
    pub is_same: bool,
}
