//! The gateway through its production `serve`, on ports of its own. What needs the other services is in the journeys; here
//! agent-streaming is a script, because it must break in chosen places.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod abuse;
mod accept;
mod bodies;
mod chat;
mod coding;
mod drift;
mod harness;
mod heads;
mod hosts;
mod problems;
mod script;
mod shares;
mod stream;
mod system;
