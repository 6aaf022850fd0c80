//! Mails: what they say, how they are written, and how they leave the process.
//!
//! A call that causes a mail inserts a row into `mail_queue` in its own transaction. A task of each replica claims rows, decides whether and
//! what to send, makes the token of the link, and sends. A row holds no token, so neither does a copy of the database. A mail is sent at
//! least once.

pub(crate) mod deliver;
pub(crate) mod from;
pub(crate) mod message;
pub(crate) mod outbox;
pub(crate) mod queue;
pub(crate) mod schedule;
pub(crate) mod sender;
pub(crate) mod settings;
pub(crate) mod words;
