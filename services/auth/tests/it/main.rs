//! auth through its RPCs: the production `serve` on a free port, with its own database and the real rate-limit. One file per group of
//! RPCs.

mod admin;
mod audit;
mod harness;
mod keys;
mod limits;
mod password_change;
mod refresh_tokens;
mod revocations;
mod session_list;
mod sessions;
mod sign_in;
mod sign_out;
mod sign_up;
mod spellings;
