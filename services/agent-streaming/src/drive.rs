//! Drives turns. A [`worker`] claims a turn, [`run`] executes it, [`step`] executes one of its steps, [`attempt`] requests the model,
//! [`recorder`] writes the events, and [`commit`] ends the turn. The [`outbox`] tells project-storage about turns that failed or were
//! cancelled.

pub(crate) mod attempt;
pub(crate) mod commit;
pub(crate) mod outbox;
mod recorder;
pub(crate) mod run;
pub(crate) mod step;
pub(crate) mod worker;
