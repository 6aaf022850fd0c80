//! Drives turns. A [`worker`] claims a turn, [`run`] executes it, [`step`] executes one of its steps, [`attempt`] requests the model,
//! [`recorder`] writes the events, [`final_check`] checks the
//! files, and [`commit`] ends the turn. The [`outbox`] tells project-storage about turns that failed or were
//! cancelled.

pub(crate) mod attempt;
pub(crate) mod commit;
mod final_check;
pub(crate) mod outbox;
mod recorder;
pub(crate) mod run;
pub(crate) mod step;
pub(crate) mod worker;
