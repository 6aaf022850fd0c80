//! The rules for the source, as tests. Each rule lists its exceptions with their reasons.

mod circles;
mod defences;
mod dependencies;
mod documents;
mod live_tests;
mod reasons;
mod security;
mod sizes;
mod skeleton;
mod territories;
