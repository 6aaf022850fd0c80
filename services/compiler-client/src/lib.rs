//! Starts the compiler of previews (`backlot-compiler`) as a child process, sends it one request, and bounds what it may use. This crate
//! has none of the compiler's dependencies.
//!
//! - [`message`]: the request and the answer. [`frame`]: how they travel.
//! - [`text`]: findings at places of a text. [`error_page`]: what a person sees if errors stop the page.
//! - [`worker`]: one process for one request. A crash, a loop and a full memory are typed errors.
//! - `resident`: the memory of a worker.
//! - [`session`]: a process that asks back before it answers, as the one that fetches packages does.

pub mod error_page;
pub mod frame;
pub mod message;
mod resident;
pub mod session;
pub mod text;
pub mod worker;
