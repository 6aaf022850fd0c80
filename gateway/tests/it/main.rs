//! The gateway through its production `serve`, on free ports, without the other services. agent-streaming is a script that fails where a
//! test needs it. Tests with all services are in the journeys.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod abuse;
mod accept;
mod account;
mod bodies;
mod chat;
mod coding;
mod harness;
mod heads;
mod hosts;
mod problems;
mod script;
mod shares;
mod sign_in;
mod stream;
mod system;
