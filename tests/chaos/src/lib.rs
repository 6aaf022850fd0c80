//! A fault-injection harness: the guarantees of a cluster must hold while processes are killed, stopped and disconnected.
//!
//! - [`command`]: `make chaos`. [`run`]: the rounds of a run. [`round`]: one scenario with its clients and its [`verdict`]. [`report`]: the
//!   output.
//! - [`deployment`]: replicas, engines and links. [`proxy`]: one link.
//! - [`fault_injector`], [`targeted_faults`], [`failpoints`]: random faults, faults at a chosen moment, and a fault at every statement.
//!   [`backoff`]: how often such a round is disturbed. [`reconnects`]: calls reach the replicas that have failpoints left.
//! - [`prompt`], [`model`], [`client`], [`load`]: prompts, the answers of the model, and the clients that follow the turns.
//! - [`editor`], [`commits`]: users who edit the same project, and commits that are sent twice.
//! - [`appender`]: concurrent saves that append to the same files.
//! - [`moderator`], [`operator`]: operators who look after templates, and after accounts and invites. [`outbox`]: the mails of auth.
//! - [`accounts`]: what is left of deleted accounts. [`credentials`]: the refresh tokens of programs. [`known_accounts`]: accounts whose
//!   persons know their state.
//! - [`previews`]: compiled pages, compiled again at each replica.
//! - [`replays`]: the selections of agents, made again.
//! - [`record`], [`collect`], [`stores`], [`check`]: the observations of a round, its results, the contents of the database, and the rules
//!   for all of them.
//! - [`bugs`]: the seeded bugs, which the rounds must find.

pub mod accounts;
pub mod appender;
pub mod backoff;
pub mod bugs;
pub mod check;
pub mod client;
pub mod collect;
pub mod command;
pub mod commits;
pub mod credentials;
pub mod deployment;
pub mod editor;
pub mod failpoints;
pub mod fault_injector;
pub mod known_accounts;
pub mod load;
pub mod model;
pub mod moderator;
pub mod operator;
pub mod outbox;
pub mod previews;
pub mod prompt;
pub mod proxy;
pub mod reconnects;
pub mod record;
pub mod replays;
pub mod report;
pub mod round;
pub mod run;
pub mod stores;
pub mod targeted_faults;
pub mod verdict;
