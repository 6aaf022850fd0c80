//! auth as its callers see it: the production `serve` on a free port, a database of its own, the real rate-limit beside it.
//! One file per group of RPCs; the harness stands below them.

mod keys;
mod limits;
mod revocations;
mod sessions;
mod sign_in;
mod sign_out;
mod sign_up;
mod spellings;

mod harness;
