//! What operators see and set: logs, metrics and readiness, traces, roles as processes of their own, and a connection pooler.

mod operations;
mod poolers;
mod roles;
mod trace;
