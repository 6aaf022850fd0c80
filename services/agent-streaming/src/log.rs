//! The event log as its writers see it, and the bell that tells other replicas of new events.

pub(crate) mod doorbell;
pub(crate) mod journal;
pub(crate) mod partitions;
