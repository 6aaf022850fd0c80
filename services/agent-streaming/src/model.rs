//! Models: agents, prompts, the history of a conversation, and providers.

pub(crate) mod agents;
pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod prompt;
pub(crate) mod provider;
