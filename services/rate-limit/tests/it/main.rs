//! The service through its own `serve`, on port 0, with a real Redis where Redis matters.

mod access;
mod bad_input;
mod check;
mod degraded;
mod harness;
