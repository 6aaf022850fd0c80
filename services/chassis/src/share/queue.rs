//! An entry in the queue of those who wait for a part of a quantity.

use std::sync::Arc;

use super::{Bound, Exhausted, Share};

/// An entry in the queue. Dropping it leaves the queue and gives back an amount that was granted.
pub(super) struct QueueEntry<'a> {
    share: &'a mut Share,
    ticket: u64,
    amount: usize,
    has_left: bool,
}

impl<'a> QueueEntry<'a> {
    pub(super) fn new(share: &'a mut Share, ticket: u64, amount: usize) -> Self {
        Self { share, ticket, amount, has_left: false }
    }

    /// Leaves the queue.
    ///
    /// # Errors
    /// The amount was not granted.
    pub(super) fn leave(mut self) -> Result<(), Exhausted> {
        self.remove()
    }

    fn remove(&mut self) -> Result<(), Exhausted> {
        self.has_left = true;
        let shares = Arc::clone(&self.share.shares);
        let mut state = shares.lock();
        if !state.dequeue(self.ticket) {
            self.share.amount += self.amount;
            return Ok(());
        }
        let exhausted = shares.exhausted(&state, &self.share.accounts, self.amount);
        // The next waiter may need less.
        state.grant(shares.total);
        Err(exhausted.unwrap_or(Exhausted { by: Bound::All, limit: shares.total }))
    }
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        if !self.has_left && self.remove().is_ok() {
            // The amount was granted, but the caller was dropped.
            self.share.shrink(self.amount);
        }
    }
}
