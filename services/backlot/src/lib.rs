//! The executable `backlot`: it starts the other crates and has no business of its own. In reading order:
//!
//! - [`cli`]: the commands and what `main` exits with; [`settings`]: what each command reads, which is also its `--help`.
//! - [`role`]: the five roles; [`process`]: one of them as a process; [`up`]: all five in one process, with a private PostgreSQL when
//!   none is named.
//! - [`token`]: an operator's caller token; [`health`]: the probe of container images; `memory`: the allocator.

pub mod cli;
pub mod health;
mod memory;
pub mod process;
pub mod role;
pub mod settings;
pub mod token;
pub mod up;
