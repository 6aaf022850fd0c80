//! The rules for the source, as tests. An exception stands beside its rule, with the reason.

mod circles;
mod dependencies;
mod documents;
mod reasons;
mod sizes;
mod skeleton;
mod territories;
