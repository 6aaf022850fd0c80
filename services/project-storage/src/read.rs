//! Reading, as far as the role of the reader goes.

pub(crate) mod cache;
pub(crate) mod conflict;
pub(crate) mod conversation;
pub(crate) mod history;
pub(crate) mod load;
pub(crate) mod member;
pub(crate) mod merge;
pub(crate) mod tree;
pub(crate) mod turn_access;
