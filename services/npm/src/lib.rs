//! npm packages without Node: what npm would install for a project, and the files of a package.
//!
//! The crate reads texts and bytes and has no network and no disk. The caller gives a [`Registry`] for packuments and tarballs, which
//! decides where they come from. An address in a lock file or a packument is never used. No script of a package is ever run.
//!
//! - [`manifest`]: `package.json`. [`spec`]: the right side of a dependency. [`semver`]: versions and ranges as npm reads them.
//! - [`lock`]: lock files of npm, pnpm and yarn.
//! - [`packument`]: the versions of a package, and npm's choice among them. `fetch`: reads the packuments that an answer needs.
//!   [`excerpt`]: versions that are kept without their registry.
//! - [`mod@resolve`]: the tree that npm would make. [`tree`]: its form.
//! - [`mod@install`]: the files of a tree. [`tarball`]: checks and unpacks a package. [`integrity`]: hashes of tarballs.
//! - [`finding`]: what a person should know. [`known`]: packages that cannot work in a browser, and what to use instead.
//! - [`error`]: why something is refused. [`limits`]: how much is read. `steps`: counts work.
//!   `name`: names of packages. `lenient`: fields of any type.

pub mod error;
pub mod excerpt;
mod fetch;
pub mod finding;
pub mod install;
pub mod integrity;
pub mod known;
mod lenient;
pub mod limits;
pub mod lock;
pub mod manifest;
mod name;
pub mod packument;
pub mod registry;
pub mod resolve;
pub mod semver;
pub mod spec;
mod steps;
pub mod tarball;
pub mod tree;

pub use self::{
    error::Error,
    excerpt::Excerpt,
    finding::{Code, Finding},
    install::{Installed, install},
    integrity::Integrity,
    limits::Limits,
    lock::Lock,
    manifest::PackageJson,
    registry::{Registry, RegistryError},
    resolve::{Options, Platform, Resolution, resolve},
    tree::{Package, Tree},
};
