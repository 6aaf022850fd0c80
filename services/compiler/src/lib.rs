//! Compiles a tree of source files to a page that a browser runs, and says what is wrong with it. Everything that parses the text of a
//! stranger is here. The executable `backlot-compiler` reads one request from its input, writes one answer, and ends; it can open no file
//! and no connection. Other crates start it with `compiler-client`; none depends on this crate.
//!
//! - [`tree`]: the files by path. `tree/resolve` finds the file that a specifier names: `tsconfig.json`, aliases, extensions.
//! - [`module`]: one file to one ECMAScript module, as a function of content, path and options. The code never names the hash of another
//!   file: relative specifiers become absolute ones, and an import map in the page gives them addresses.
//! - [`graph`]: the modules that the page reaches, and what is wrong with them as a whole. [`page`]: `index.html`.
//! - [`packages`]: the packages that a project imports, bundled to modules. [`site`]: the page, its modules and its packages as few small
//!   files.
//! - `advice`: what to use instead of what a browser cannot run.
//! - [`outline`]: what files declare and import, in many languages. [`symbols`]: where it is noted.
//! - [`tool`]: compilers that exist only in JavaScript, such as Svelte's, in an engine.
//! - [`compile`]: a request to an answer. [`edit`]: modules of an answer whose contents have changed. [`worker`]: the process and its limits.
//!   [`panics`]: those of libraries.

mod advice;
pub mod compile;
pub mod edit;
mod environment;
mod graph;
mod module;
pub mod outline;
pub mod packages;
mod page;
mod panics;
mod project;
pub mod site;
mod symbols;
mod tool;
mod tree;
pub mod worker;

pub(crate) use compiler_client::text;
