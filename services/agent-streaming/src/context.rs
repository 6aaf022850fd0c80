//! What the model gets of a project and of its conversation. Everything here is pure, and computed with integers: the same files,
//! conversation and request always have the same plan. In reading order:
//!
//! - [`tokens`]: the tokenizer that counts.
//! - [`imports`]: which files refer to which.
//! - [`rank`]: how relevant each file is for a request.
//! - [`choose`]: what the model gets of each file under a budget. [`show`]: how it looks.
//! - [`fold`]: which turns of the conversation become one line each.

pub(crate) mod choose;
pub(crate) mod fold;
mod imports;
pub(crate) mod rank;
pub(crate) mod show;
pub(crate) mod tokens;
