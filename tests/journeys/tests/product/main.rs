//! What people and their programs do with a cluster. Each journey starts one of its own in this process.
//!
//! - Accounts: [`sessions`], [`sites`].
//! - Turns: [`story`], [`resume`], [`limits`]. Those through the clients of providers are in `tests/providers.rs`.
//! - Projects: [`conflicts`], [`preconditions`], [`coding`], [`previews`].

mod coding;
mod conflicts;
mod limits;
mod preconditions;
mod previews;
mod resume;
mod sessions;
mod sites;
mod story;
