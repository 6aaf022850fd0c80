//! Models: agents, prompts, the messages of the conversation, and providers.

pub(crate) mod agents;
pub(crate) mod conversation;
pub(crate) mod front_matter;
pub(crate) mod guidance;
pub(crate) mod json;
pub(crate) mod marks;
pub(crate) mod message;
pub(crate) mod mode;
pub(crate) mod prompt;
pub(crate) mod provider;
pub(crate) mod size;
pub(crate) mod skills;
