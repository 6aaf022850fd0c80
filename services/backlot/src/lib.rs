//! The executable `backlot`. It only starts the other crates. In reading order:
//!
//! - [`cli`]: the commands and their exit codes; [`settings`]: the settings of each command, which are also in its `--help`.
//! - [`role`]: the roles; [`process`]: one of them as a process; [`up`]: all of them in one process, with a private PostgreSQL if
//!   no other is configured.
//! - `admin`: accounts and the audit log.
//! - `certs`: certificates of the roles.
//! - `vendor`: npm packages for machines without a network.
//! - [`token`]: caller tokens and keys for operators; [`health`]: the probe of container images; `memory`: the allocator.

mod admin;
mod agents;
mod certs;
pub mod cli;
pub mod health;
#[cfg(feature = "jemalloc")]
mod memory;
mod operator;
pub mod process;
pub mod role;
pub mod settings;
pub mod token;
pub mod up;
mod vendor;
