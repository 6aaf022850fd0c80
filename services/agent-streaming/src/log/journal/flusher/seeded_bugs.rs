//! Seeded bugs of the flusher.

use chassis::seeded_bug;

use super::{Flusher, Item};
use crate::watch::tail;

impl Flusher {
    /// Delivers a batch to viewers before it is written.
    pub(super) fn deliver_before_commit(&self, batch: &[Item]) {
        if seeded_bug::is("deliver-before-commit") {
            batch.iter().for_each(|item| tail::deliver(&self.tails, item.append.turn, item.append.first_seq, item.events.clone()));
        }
    }
}
