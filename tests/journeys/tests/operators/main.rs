//! What operators see and set: logs, metrics and readiness; traces; roles in their own processes; a connection pooler.

mod operations;
mod poolers;
mod roles;
mod trace;
