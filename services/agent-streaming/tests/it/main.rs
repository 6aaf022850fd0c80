//! Tests of the service through its generated client, with the production `serve`, the real project-storage and rate-limit, and a private
//! PostgreSQL and Redis. Only the model is a fake.

#![allow(clippy::unwrap_used, reason = "a failed test should panic")]

mod access;
mod agents;
mod arguments;
mod cancel;
mod checks;
mod context;
mod ended_sessions;
mod failures;
mod foreign;
mod harness;
mod history;
mod injection;
mod instructions;
mod metadata;
mod model;
mod modes;
mod parts;
mod provider_keys;
mod recovery;
mod resealed_keys;
mod restricted_keys;
mod second;
mod selection;
mod staged;
mod start;
mod stream;
