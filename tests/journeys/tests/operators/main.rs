//! The interfaces of operators: accounts, agents, logs, metrics and readiness, traces, roles in separate processes, secrets and keys that are
//! replaced, hostile texts, packages without a network, and a connection pooler.

mod admin;
mod agents;
mod hostile_calls;
mod hostile_texts;
mod operations;
mod poolers;
mod refusals;
mod roles;
mod rotation;
mod trace;
mod vendor;
mod vendored_apps;
