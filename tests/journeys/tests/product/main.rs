//! The public API, used as browsers and programs do. Each journey starts its own cluster in this process.
//!
//! - Accounts: [`accounts`], [`sessions`], [`access_ends`], [`session_ends`], [`second_factor`], [`sites`].
//! - Turns: [`story`], [`turns`], [`resume`], [`limits`]; `tests/providers.rs` has the turns through the clients of model providers.
//! - Projects: [`conflicts`], [`preconditions`], [`coding`], [`previews`], [`preview_ends`], [`compiled`], [`published`], [`checks`], [`files`], [`contents`], [`search`], [`messages`],
//!   [`templates`], [`archives`].

mod access_ends;
mod account_ends;
mod accounts;
mod api_keys;
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
mod identities;
mod limits;
mod messages;
mod modes;
mod preconditions;
mod preview_ends;
mod previews;
mod provider_keys;
mod published;
mod resume;
mod search;
mod second_factor;
mod service_accounts;
mod session_ends;
mod sessions;
mod sites;
mod story;
mod templates;
mod turns;
mod undo;
