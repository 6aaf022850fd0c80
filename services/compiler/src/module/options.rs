//! The options of a module.

use std::sync::Arc;

use crate::tool::tailwind::Version;

/// What `tsconfig.json` and `package.json` say, and who compiles. Part of the key of a module.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) jsx: Jsx,
    /// Preact stands in for React.
    pub(crate) has_preact_for_react: bool,
    /// Style sheets join `&` with the text after it, as `postcss-nested` does.
    pub(crate) joins_names: bool,
    /// `experimentalDecorators`.
    pub(crate) has_decorators: bool,
    /// `emitDecoratorMetadata`.
    pub(crate) has_metadata: bool,
    pub(crate) strict_nulls: bool,
    /// `useDefineForClassFields`.
    pub(crate) defines_fields: bool,
    /// `verbatimModuleSyntax`: an import without `type` stays.
    pub(crate) keeps_imports: bool,
    pub(crate) is_production: bool,
    /// The module is part of a bundle: it keeps what the bundler replaces, and a style sheet is a text of its own.
    pub(crate) is_bundled: bool,
    /// The version of Tailwind of the project, which reads the words of all files.
    pub(crate) tailwind: Option<Version>,
    /// A browser gets the file as it is. A script without imports and exports is no module.
    pub(crate) is_plain: bool,
    /// The module can be exchanged in an open page: it has `import.meta.hot`.
    pub(crate) is_hot: bool,
    /// The specifier of the tool with which its functions are registered: React Refresh or Prefresh.
    pub(crate) refresh: Option<&'static str>,
    /// See [`compiler_client::message::Request::release`].
    pub(crate) release: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Jsx {
    /// Functions of `SOURCE/jsx-runtime`.
    Automatic { source: String },
    /// `React.createElement` and `React.Fragment`, or these.
    Classic { factory: Option<String>, fragment: Option<String> },
}
