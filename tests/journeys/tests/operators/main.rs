//! The interfaces of operators: logs, metrics and readiness, traces, roles in separate processes, and a connection pooler.

mod operations;
mod poolers;
mod roles;
mod trace;
