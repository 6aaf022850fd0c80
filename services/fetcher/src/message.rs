//! What both sides say. The messages are private to Backlot: both sides come from one build.
//!
//! The caller sends a [`Job`]. The process says which document or tarball it wants ([`Artifact`]) and gets one [`Reply`]: the bytes, an error,
//! or the permission to fetch. After the permission it sends the bytes as [`Part`]s and an [`End`], and gets a second reply. The caller may
//! send that one before the end, and the process then fetches no further. The last event is [`Done`].

use bytes::Bytes;

/// The most bytes of an [`Event`].
pub const MAX_EVENT: usize = 64 << 20;
/// The most bytes of the data of a [`Part`] or a [`File`].
pub const MAX_PART: usize = 1 << 20;

/// What a process does.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Job {
    /// The address of the registry. Empty if there is none.
    #[prost(string, tag = "1")]
    pub registry: String,
    #[prost(oneof = "Task", tags = "2, 3, 4")]
    pub task: Option<Task>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Task {
    #[prost(message, tag = "2")]
    Resolve(Resolve),
    #[prost(message, tag = "3")]
    Install(Install),
    #[prost(message, tag = "4")]
    Versions(Versions),
}

/// Finds the versions of a project.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resolve {
    /// The text of `package.json`.
    #[prost(bytes = "bytes", tag = "1")]
    pub manifest: Bytes,
    /// The name of the lock file. Empty if there is none.
    #[prost(string, tag = "2")]
    pub lock_name: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub lock: Bytes,
}

/// Unpacks packages.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Install {
    /// See [`crate::tree`].
    #[prost(bytes = "bytes", tag = "1")]
    pub tree: Bytes,
    /// Paths of the tree.
    #[prost(string, repeated, tag = "2")]
    pub paths: Vec<String>,
}

/// Reads the documents of versions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Versions {
    #[prost(message, repeated, tag = "1")]
    pub versions: Vec<Version>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Version {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
    /// Also fetches its tarball, if a hash of it was published. The caller has it from the parts, and checks it.
    #[prost(bool, tag = "3")]
    pub needs_tarball: bool,
}

/// What the process says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// The number of the request that the first three are about, and of the version that an excerpt is of.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "Content", tags = "2, 3, 4, 5, 6, 7")]
    pub content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Content {
    #[prost(message, tag = "2")]
    Request(Artifact),
    #[prost(message, tag = "3")]
    Part(Part),
    #[prost(message, tag = "4")]
    End(End),
    #[prost(message, tag = "5")]
    File(File),
    #[prost(message, tag = "6")]
    Done(Done),
    /// Of [`Versions`], after the tarball of the version. The first version has the number 0.
    #[prost(message, tag = "7")]
    Excerpt(Excerpt),
}

/// A document or a tarball.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Artifact {
    #[prost(string, tag = "1")]
    pub name: String,
    /// Empty for the document of all versions.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Bytes from the registry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Part {
    /// How many there are.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// The bytes of a tarball. Empty for a document.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// The end of an answer of the registry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct End {
    #[prost(enumeration = "Outcome", tag = "1")]
    pub outcome: i32,
    /// Why it failed.
    #[prost(string, tag = "2")]
    pub problem: String,
    /// Whether there was no connection.
    #[prost(bool, tag = "3")]
    pub is_away: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Outcome {
    Whole = 0,
    NotFound = 1,
    Failed = 2,
}

/// A file of a package. More content of the same file may follow. Of packages with one version and hash, only the first has files.
#[derive(Clone, PartialEq, prost::Message)]
pub struct File {
    /// The path of the package in the tree.
    #[prost(string, tag = "1")]
    pub package: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub content: Bytes,
}

/// The result.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Done {
    /// The result is this error.
    #[prost(message, optional, tag = "1")]
    pub refusal: Option<Refusal>,
    /// Of [`Resolve`]. See [`crate::tree`].
    #[prost(bytes = "bytes", tag = "2")]
    pub tree: Bytes,
    /// Of [`Resolve`]: the versions that were looked at.
    #[prost(message, repeated, tag = "3")]
    pub considered: Vec<Artifact>,
    /// Of [`Install`]: the names of packages that need compiled code, sorted.
    #[prost(string, repeated, tag = "5")]
    pub native: Vec<String>,
}

/// See [`npm::Excerpt`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Excerpt {
    #[prost(string, repeated, tag = "1")]
    pub tags: Vec<String>,
    #[prost(bytes = "bytes", tag = "2")]
    pub document: Bytes,
}

/// See [`crate::refusal`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refusal {
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    #[prost(string, repeated, tag = "2")]
    pub texts: Vec<String>,
    #[prost(uint64, tag = "3")]
    pub limit: u64,
}

/// The variants of [`npm::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    Syntax = 0,
    Field = 1,
    TooLarge = 2,
    NoPackage = 3,
    NoVersion = 4,
    PeerConflict = 5,
    OverrideConflict = 6,
    Registry = 7,
    Integrity = 8,
    Archive = 9,
}

/// What the caller answers to a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(enumeration = "Verdict", tag = "2")]
    pub verdict: i32,
    /// Of [`Verdict::Given`].
    #[prost(bytes = "bytes", tag = "3")]
    pub content: Bytes,
    /// Of [`Verdict::Failed`].
    #[prost(string, tag = "4")]
    pub problem: String,
    /// Of [`Verdict::Fetch`]: addresses with ports. The process asks no name server.
    #[prost(string, repeated, tag = "5")]
    pub addresses: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Verdict {
    /// The process may fetch it.
    Fetch = 0,
    /// What was fetched may be used.
    Accepted = 1,
    /// The caller has it.
    Given = 2,
    NotFound = 3,
    Failed = 4,
}
