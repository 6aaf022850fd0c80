//! Everything that writes files or begins and ends a turn. A write that meets another one on the way is tried again ([`attempt`]).
//!
//! - [`stage`]: the tree that a change set makes; [`objects`]: the git objects of its commit.
//! - [`request`]: what the saves of a person have in common: [`save`], [`resolve`]. [`create`] makes an empty project.
//! - [`begin`], [`turn`], [`end`]: a turn of an agent.

pub(crate) mod attempt;
pub(crate) mod begin;
pub(crate) mod create;
pub(crate) mod end;
pub(crate) mod lock;
pub(crate) mod objects;
pub(crate) mod quota;
pub(crate) mod request;
pub(crate) mod resolve;
pub(crate) mod save;
pub(crate) mod stage;
pub(crate) mod turn;
