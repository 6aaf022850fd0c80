//! Chat protocols over the events of a turn: the AI SDK's UI message stream and AG-UI. Both write the same parts of an answer.

pub(crate) mod agui;
pub(crate) mod ai_sdk;
pub(crate) mod conversation;
mod messages;
mod parts;
mod values;
