//! The interfaces of operators: accounts, agents, logs, metrics and readiness, traces, roles in separate processes, packages without a network, and
//! a connection pooler.

mod admin;
mod agents;
mod operations;
mod poolers;
mod roles;
mod trace;
mod vendor;
