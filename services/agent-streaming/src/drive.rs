//! Who drives a turn. In the order of the contract: a [`worker`] takes a turn; [`run`] is the turn, [`step`] one of its steps,
//! [`attempt`] a call of the model, [`commit`] the end. The [`outbox`] tells project-storage of turns that ended without files.

pub(crate) mod attempt;
pub(crate) mod commit;
pub(crate) mod outbox;
pub(crate) mod run;
pub(crate) mod step;
pub(crate) mod worker;
