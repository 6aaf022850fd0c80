//! What the page and the checks have to know of a module, without its code.

use super::{Finding, Place};

/// Facts of one module. They are a function of the path, the content, the options and the release of the compiler, as the key is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Facts {
    /// Empty if the module depends on the other files of the page, too: it is written anew for each page.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The path of the file, without the query.
    #[prost(string, tag = "2")]
    pub path: String,
    #[prost(enumeration = "Kind", tag = "3")]
    pub kind: i32,
    /// The address of the code below the base, such as `@m/HASH.js`. Empty if the file has errors.
    #[prost(string, tag = "4")]
    pub url: String,
    /// What is wrong with the file alone.
    #[prost(message, repeated, tag = "5")]
    pub findings: Vec<Finding>,
    #[prost(message, repeated, tag = "6")]
    pub imports: Vec<Import>,
    #[prost(string, repeated, tag = "7")]
    pub exports: Vec<String>,
    /// Specifiers of `export * from`.
    #[prost(string, repeated, tag = "8")]
    pub stars: Vec<String>,
    /// The exports are not known: the file is no ECMAScript module.
    #[prost(bool, tag = "9")]
    pub is_open: bool,
    /// Names that the file uses and does not define, without those of every environment.
    #[prost(message, repeated, tag = "10")]
    pub undefined: Vec<Named>,
    /// Names that the file defines for all others: properties of `window`, and what a declaration file declares.
    #[prost(string, repeated, tag = "11")]
    pub globals: Vec<String>,
    /// Names of modules that a declaration file declares.
    #[prost(string, repeated, tag = "12")]
    pub ambient: Vec<String>,
    /// Names read from an import, for CSS modules.
    #[prost(message, repeated, tag = "13")]
    pub members: Vec<Member>,
    #[prost(message, repeated, tag = "14")]
    pub globs: Vec<Glob>,
    /// Aliases that a configuration of Vite sets.
    #[prost(message, repeated, tag = "15")]
    pub aliases: Vec<Alias>,
    /// The text with a mark for each address, if the kind is `SHEET` or `WORKER`. For a site, that of every style sheet.
    #[prost(string, tag = "16")]
    pub marked: String,
    /// The style sheets in a file of Svelte or Vue. Each is a module of its own.
    #[prost(message, repeated, tag = "17")]
    pub styles: Vec<Style>,
    /// The style sheet needs Tailwind, and `marked` is its text.
    #[prost(bool, tag = "18")]
    pub is_tailwind: bool,
    /// Words that can be classes of Tailwind, one a line, if the project has it.
    #[prost(string, tag = "19")]
    pub words: String,
    /// What its SCSS and Sass read, sorted: paths of files of the project, with its own, and specifiers of the sheets of packages. Their
    /// contents are part of the key. Empty for a module without SCSS and Sass.
    #[prost(string, repeated, tag = "20")]
    pub reads: Vec<String>,
    /// Exports that are types alone, which the code does not have.
    #[prost(string, repeated, tag = "21")]
    pub types: Vec<String>,
    /// Those of `undefined` that are components of JSX, such as `<Name />`.
    #[prost(string, repeated, tag = "22")]
    pub components: Vec<String>,
    /// Names that JSX calls after it is compiled and that the file does not define, such as `React` of `React.createElement`.
    #[prost(message, repeated, tag = "23")]
    pub jsx: Vec<Named>,
}

/// A style sheet in a file of Svelte or Vue.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Style {
    /// Its rules as the framework's compiler scopes them, in the lines where they are in the file.
    #[prost(string, tag = "1")]
    pub text: String,
    /// As the specifier of the module names it, such as `?0.css`.
    #[prost(string, tag = "2")]
    pub query: String,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// What its name says: a script, a style sheet, JSON.
    Module = 0,
    /// A module with the text of the file.
    Raw = 1,
    /// A module with the address of the file.
    Address = 2,
    /// A module with the text of the style sheet.
    Inline = 3,
    /// A style sheet for a `<link>`.
    Sheet = 4,
    /// A script that a worker runs.
    Worker = 5,
}

/// One import of a module.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Import {
    /// As the file writes it.
    #[prost(string, tag = "1")]
    pub written: String,
    /// As the code writes it: absolute from the root of the project, or as written. Not set for a reference that is no import.
    #[prost(string, tag = "2")]
    pub specifier: String,
    #[prost(message, optional, tag = "3")]
    pub place: Option<Place>,
    /// The names that it reads, with their places.
    #[prost(message, repeated, tag = "4")]
    pub names: Vec<Named>,
    /// Loaded later, so it is not preloaded.
    #[prost(bool, tag = "5")]
    pub is_dynamic: bool,
    /// A file that CSS, HTML or `new URL` refers to.
    #[prost(bool, tag = "6")]
    pub is_reference: bool,
    /// The mark in `Facts::marked`.
    #[prost(string, tag = "7")]
    pub mark: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub place: Option<Place>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Member {
    #[prost(string, tag = "1")]
    pub specifier: String,
    #[prost(message, optional, tag = "2")]
    pub named: Option<Named>,
}

/// A call of `import.meta.glob`, or an address with variables, which the page answers from the tree.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Glob {
    /// The specifier of the generated module.
    #[prost(string, tag = "1")]
    pub specifier: String,
    /// Absolute from the root of the project; `!` at the start excludes.
    #[prost(string, repeated, tag = "2")]
    pub patterns: Vec<String>,
    #[prost(bool, tag = "3")]
    pub is_eager: bool,
    /// The export that is imported, or empty for the module.
    #[prost(string, tag = "4")]
    pub import: String,
    /// With its `?`, or empty.
    #[prost(string, tag = "5")]
    pub query: String,
    /// Keys are relative to this folder, or absolute if it is not set.
    #[prost(string, optional, tag = "6")]
    pub folder: Option<String>,
    /// What the generated module exports.
    #[prost(enumeration = "GlobForm", tag = "7")]
    pub form: i32,
    /// The mark of the generated module in `Facts::marked`, if the script of a worker has the call.
    #[prost(string, tag = "8")]
    pub mark: String,
}

/// The default export of the module of a [`Glob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum GlobForm {
    /// An object with the files by their keys.
    Files = 0,
    /// A function from the text of an `import()` to a promise of the module.
    Import = 1,
    /// A function from the first argument of `new URL` to the address.
    Address = 2,
}

/// A prefix of specifiers, and the path from the root of the project that replaces it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Alias {
    #[prost(string, tag = "1")]
    pub from: String,
    #[prost(string, tag = "2")]
    pub to: String,
}
