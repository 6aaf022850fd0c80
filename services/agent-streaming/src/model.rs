//! The models: which there are, what they are told, and what they answer.

pub(crate) mod agents;
pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod prompt;
pub(crate) mod provider;
