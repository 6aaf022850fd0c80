//! The handlers: each reads the request, calls one RPC and writes the response.

pub(crate) mod account_pages;
pub(crate) mod agents;
pub(crate) mod agui;
pub(crate) mod archives;
pub(crate) mod auth;
mod change;
pub(crate) mod chat;
pub(crate) mod checks;
pub(crate) mod conflicts;
pub(crate) mod contents;
pub(crate) mod email;
pub(crate) mod files;
pub(crate) mod forks;
pub(crate) mod history;
pub(crate) mod imports;
mod load;
pub(crate) mod messages;
pub(crate) mod project_events;
pub(crate) mod projects;
pub(crate) mod sessions;
pub(crate) mod sites;
pub(crate) mod system;
pub(crate) mod templates;
mod turn_stream;
pub(crate) mod turns;
pub(crate) mod usage;
