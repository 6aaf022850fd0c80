//! What a worker is asked, and what it answers. The messages are private to Backlot: both sides come from one build. What an answer has can be
//! kept, and then a later build must not use it: see [`Request::release`].

pub mod edit;
pub mod facts;
pub mod finding;
pub mod outline;
pub mod packages;
pub mod site;
pub mod tools;

pub use edit::{Change, EditAnswer, EditRequest, Independent};
pub use facts::Facts;
pub use finding::{Finding, Place};
pub use outline::{OutlineAnswer, OutlineRequest};
pub use packages::{PackageModule, PackagesAnswer, PackagesRequest};
pub use site::{SiteAnswer, SiteFile, SiteRequest};
pub use tools::{Tool, ToolOutput};

use bytes::Bytes;

/// One tree to compile.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Every file of the tree, with contents as far as they are needed. See [`Answer::wanted`].
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<File>,
    /// Encoded [`Facts`] of modules that an earlier answer had, so that they need not be compiled again. One with another key is ignored.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub known: Vec<Bytes>,
    /// Addresses of the packages' modules.
    #[prost(message, repeated, tag = "3")]
    pub packages: Vec<Package>,
    /// The path of the page's folder, which begins and ends with `/`. Empty is `/`.
    #[prost(string, tag = "4")]
    pub base: String,
    /// Checks every file, and not only those that the page reaches.
    #[prost(bool, tag = "5")]
    pub check_all: bool,
    /// `production`, or empty for `development`.
    #[prost(string, tag = "6")]
    pub mode: String,
    /// Compilers that are packages. See [`Answer::wanted_tools`].
    #[prost(message, repeated, tag = "7")]
    pub tools: Vec<Tool>,
    /// Browsers get the files as they are. The tree is only checked, and has no page in the answer.
    #[prost(bool, tag = "8")]
    pub is_plain: bool,
    /// Answers of tools that an earlier answer had, so that the tools need not run again.
    #[prost(message, repeated, tag = "9")]
    pub tool_outputs: Vec<ToolOutput>,
    /// The name of the compiler's build. It is part of the keys of modules, so that no other build uses them. Empty if none is kept.
    #[prost(string, tag = "10")]
    pub release: String,
    /// Specifiers of tools that cannot be had. No answer wants them, and what needs one of them is not checked.
    #[prost(string, repeated, tag = "11")]
    pub absent_tools: Vec<String>,
}

/// A file of the tree.
#[derive(Clone, PartialEq, prost::Message)]
pub struct File {
    /// The path from the root of the project, without `/` at its start.
    #[prost(string, tag = "1")]
    pub path: String,
    /// The name of the content: two files with one id have the same bytes.
    #[prost(string, tag = "2")]
    pub id: String,
    /// In bytes.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub content: Option<Bytes>,
}

/// A specifier that a package provides, such as `react/jsx-runtime`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Package {
    #[prost(string, tag = "1")]
    pub specifier: String,
    #[prost(string, tag = "2")]
    pub url: String,
    /// The names that its module exports, sorted. Empty if they are not known.
    #[prost(string, repeated, tag = "3")]
    pub exports: Vec<String>,
}

/// A compiled tree.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// The page; empty if an error or an absent content stands in its way. An undefined name does not.
    #[prost(string, tag = "1")]
    pub page: String,
    /// Errors first, both kinds sorted by file and place. At most [`finding::MAX_FINDINGS`].
    #[prost(message, repeated, tag = "2")]
    pub findings: Vec<Finding>,
    /// Modules that this answer compiled. To be kept by key.
    #[prost(message, repeated, tag = "3")]
    pub modules: Vec<Module>,
    /// What the page loads.
    #[prost(message, repeated, tag = "4")]
    pub resources: Vec<Resource>,
    /// Specifiers of packages that the modules import, sorted.
    #[prost(string, repeated, tag = "5")]
    pub bare: Vec<String>,
    /// Paths whose contents the request lacks. The request is repeated with them and with the modules of this answer.
    #[prost(string, repeated, tag = "6")]
    pub wanted: Vec<String>,
    /// A page with the errors, in place of `page`. Empty if there is a page, or if contents or tools are
    /// wanted.
    #[prost(string, tag = "7")]
    pub error_page: String,
    /// Specifiers of tools that the request lacks, sorted. The request is repeated with them, as with [`Self::wanted`].
    #[prost(string, repeated, tag = "8")]
    pub wanted_tools: Vec<String>,
    /// Modules whose addresses are all that the answer has of their contents, apart from their facts. See [`EditRequest`].
    #[prost(message, repeated, tag = "9")]
    pub independent: Vec<Independent>,
    /// Paths of the files that decide about the options of the modules.
    #[prost(string, repeated, tag = "10")]
    pub configuration: Vec<String>,
    /// Answers of tools that are of use to a request with other files. To be kept by key.
    #[prost(message, repeated, tag = "11")]
    pub tool_outputs: Vec<ToolOutput>,
}

/// A compiled module: what the browser gets, and what the page has to know of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Module {
    #[prost(message, optional, tag = "1")]
    pub facts: Option<Facts>,
    /// Its address is [`Facts::url`].
    #[prost(string, tag = "2")]
    pub code: String,
    /// Its address is [`Facts::url`] and `.map`. Empty if there is none.
    #[prost(string, tag = "3")]
    pub map: String,
}

/// What an address below the base answers. Modules are no resources: their address is in their facts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// Without the base, such as `@a/ID.png`.
    #[prost(string, tag = "1")]
    pub url: String,
    /// A file of the tree whose bytes are the answer, or empty.
    #[prost(string, tag = "2")]
    pub path: String,
    /// A generated text, if `path` is empty.
    #[prost(string, tag = "3")]
    pub text: String,
}
