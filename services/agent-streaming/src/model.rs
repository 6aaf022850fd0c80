//! Models: agents, prompts, the messages of the conversation, and providers.

pub(crate) mod agents;
pub(crate) mod conversation;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod prompt;
pub(crate) mod provider;
