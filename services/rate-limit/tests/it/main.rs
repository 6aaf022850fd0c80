//! rate-limit through its RPCs: the production `serve` on a free port, with a real Redis where a test needs one.

mod access;
mod bad_input;
mod check;
mod degraded;
mod harness;
