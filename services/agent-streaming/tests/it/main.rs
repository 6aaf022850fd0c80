//! Tests of the service through its generated client, with the production `serve`, the real project-storage and rate-limit, and a private
//! PostgreSQL and Redis. Only the model is a fake.

#![allow(clippy::unwrap_used, reason = "a failed test should panic")]

mod access;
mod arguments;
mod cancel;
mod checks;
mod failures;
mod gate;
mod harness;
mod history;
mod metadata;
mod model;
mod parts;
mod recovery;
mod second;
mod start;
mod stream;
