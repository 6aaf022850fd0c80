//! The service through its generated client: the production `serve`, several replicas of it where a test needs them, beside the
//! real project-storage and rate-limit, on a private PostgreSQL and Redis; only the model is played.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod access;
mod arguments;
mod cancel;
mod failures;
mod gate;
mod harness;
mod history;
mod model;
mod recovery;
mod second;
mod start;
mod stream;
