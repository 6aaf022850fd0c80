//! The rules for the source, as tests. Each rule lists its exceptions with their reasons.

mod circles;
mod dependencies;
mod documents;
mod reasons;
mod sizes;
mod skeleton;
mod territories;
