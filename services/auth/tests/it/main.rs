//! auth through its RPCs: the production `serve` on a free port, with its own database and the real rate-limit. One file per group of
//! RPCs.

mod a23;
mod a4;
mod a6;
mod admin;
mod audit;
mod email;
mod harness;
mod keys;
mod limits;
mod mailbox;
mod password_change;
mod refresh_tokens;
mod revocations;
mod session_list;
mod sessions;
mod sign_in;
mod sign_out;
mod sign_up;
mod sign_up_by_mail;
mod smtp;
mod spellings;
