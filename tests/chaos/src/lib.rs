//! A cluster under faults: its promises must hold whatever is killed, stopped, disconnected or lost.
//!
//! - [`command`]: `make chaos`; [`run`]: the rounds of a run; [`round`]: one scenario from its clients to its [`verdict`]; [`report`]:
//!   the output.
//! - [`deployment`]: replicas, engines and links; [`proxy`]: one link.
//! - [`nemesis`], [`aimed`], [`failpoints`]: random faults, faults at a chosen moment, and a fault at every statement.
//! - [`ask`], [`model`], [`client`], [`crowd`]: prompts, the model's answers, and the clients that follow them.
//! - [`editor`], [`commits`]: people who work on the same project, and commits that are sent twice.
//! - [`record`], [`gather`], [`check`]: what everybody saw, what is left, and the rules for both.
//! - [`bugs`]: seeded bugs, which the rounds must find.

pub mod aimed;
pub mod ask;
pub mod bugs;
pub mod check;
pub mod client;
pub mod command;
pub mod commits;
pub mod crowd;
pub mod deployment;
pub mod editor;
pub mod failpoints;
pub mod gather;
pub mod model;
pub mod nemesis;
pub mod proxy;
pub mod record;
pub mod report;
pub mod round;
pub mod run;
pub mod verdict;
