//! Writes the event log, and tells other replicas about new events.

pub(crate) mod doorbell;
pub(crate) mod journal;
pub(crate) mod partitions;
