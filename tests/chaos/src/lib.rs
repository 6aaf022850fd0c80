//! The cluster under faults: what it promises must hold whatever is killed, stopped, cut or lost.
//!
//! - [`script`], [`client`], [`crowd`]: what is asked, what the model answers, and the good clients who watch.
//! - [`nemesis`], [`aimed`], [`failpoints`]: who breaks what, by chance, at a chosen moment, and at every statement.
//! - [`editor`]: who works on the same project as the agent.
//! - [`commits`]: who sends a commit twice.
//! - [`record`], [`gather`], [`check`]: what everybody saw, what is left, and what must hold of it.
//! - [`round`]: one scenario from its crowd to its verdict; [`run`]: the rounds of a run; [`report`] for people.
//! - [`command`]: what `make chaos` runs, by its settings.
//! - [`deployment`]: the replicas, engines and links of a cluster under faults; [`proxy`]: one link.
//! - [`planted`]: bugs on purpose, which the rounds must find.

pub mod aimed;
pub mod check;
pub mod client;
pub mod command;
pub mod commits;
pub mod crowd;
pub mod deployment;
pub mod editor;
pub mod failpoints;
pub mod gather;
pub mod nemesis;
pub mod planted;
pub mod proxy;
pub mod record;
pub mod report;
pub mod round;
pub mod run;
pub mod script;
