//! Drives turns. A [`worker`] claims a turn, [`run`] executes it, [`step`] executes one of its steps, [`attempt`] requests the model,
//! [`recorder`] writes the events, [`final_check`] checks the files, and [`commit`] ends the turn. [`base`] reads the base revision,
//! [`instructions`] what the turn is told, and [`prompt`] plans what the model gets of the files. The
//! [`outbox`] tells project-storage about turns that failed or were cancelled.

pub(crate) mod attempt;
pub(crate) mod base;
pub(crate) mod commit;
mod final_check;
pub(crate) mod instructions;
pub(crate) mod outbox;
mod prompt;
mod recorder;
pub(crate) mod run;
pub(crate) mod step;
pub(crate) mod worker;
