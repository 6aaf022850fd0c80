//! The public API, used as browsers and programs do. Each journey starts its own cluster in this process.
//!
//! - Accounts: [`accounts`], [`sessions`], [`access_ends`], [`sites`].
//! - Turns: [`story`], [`turns`], [`resume`], [`limits`]; `tests/providers.rs` has the turns through the clients of model providers.
//! - Projects: [`conflicts`], [`preconditions`], [`coding`], [`previews`], [`compiled`], [`published`], [`checks`], [`files`], [`contents`], [`search`], [`messages`],
//!   [`templates`], [`archives`].

mod access_ends;
mod accounts;
mod archives;
mod checks;
mod coding;
mod compiled;
mod conflicts;
mod contents;
mod deletes;
mod events;
mod files;
mod forks;
mod guidance;
mod history;
mod limits;
mod messages;
mod modes;
mod preconditions;
mod previews;
mod published;
mod resume;
mod search;
mod sessions;
mod sites;
mod story;
mod templates;
mod turns;
mod undo;
