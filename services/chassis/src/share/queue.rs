//! Those who wait for a part of a quantity, and who of them is next.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Account, Bound, Exhausted, Held, Share};

/// Who waits, in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    accounts: Vec<Account>,
    amount: usize,
    granted: oneshot::Sender<()>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Held {
    /// Waits for an amount. The ticket takes it back.
    pub(super) fn enqueue(&mut self, accounts: &[Account], amount: usize) -> (u64, oneshot::Receiver<()>) {
        let (granted, receiver) = oneshot::channel();
        let ticket = self.queue.tickets;
        self.queue.tickets += 1;
        self.queue.waiting.push(Waiting { ticket, accounts: accounts.to_vec(), amount, granted });
        (ticket, receiver)
    }

    /// Answers whether the ticket still waited. If not, its amount was granted.
    pub(super) fn dequeue(&mut self, ticket: u64) -> bool {
        let place = self.queue.waiting.iter().position(|waiting| waiting.ticket == ticket);
        place.map(|place| self.queue.waiting.remove(place)).is_some()
    }

    /// Grants what is free. Of those whose own bounds allow it, whoever holds least is next, then whoever came first, so that
    /// nobody is delayed by the many requests of one address or person. Nobody passes the next one by wanting less.
    pub(super) fn grant(&mut self, total: usize) {
        while let Some(place) = self.next() {
            let Waiting { ref accounts, amount, .. } = self.queue.waiting[place];
            if self.all.saturating_add(amount) > total {
                return;
            }
            let accounts = accounts.clone();
            self.add(&accounts, amount);
            // Whoever stops waiting dequeues under the same lock, so the receiver is there.
            _ = self.queue.waiting.remove(place).granted.send(());
        }
    }

    fn next(&self) -> Option<usize> {
        let is_allowed = |waiting: &Waiting| self.own_bound(&waiting.accounts, waiting.amount).is_none();
        let holds = |accounts: &[Account]| accounts.iter().map(|account| self.of(account)).max().unwrap_or_default();
        let candidates = self.queue.waiting.iter().enumerate().filter(|(_, waiting)| is_allowed(waiting));
        candidates.min_by_key(|(_, waiting)| (holds(&waiting.accounts), waiting.ticket)).map(|(place, _)| place)
    }
}

/// A place in the queue, which is left when dropped.
pub(super) struct Place<'a> {
    share: &'a mut Share,
    ticket: u64,
    amount: usize,
    is_left: bool,
}

impl<'a> Place<'a> {
    pub(super) fn of(share: &'a mut Share, ticket: u64, amount: usize) -> Self {
        Self { share, ticket, amount, is_left: false }
    }

    /// The share has grown, or a bound did not allow it.
    pub(super) fn leave(mut self) -> Result<(), Exhausted> {
        self.close().map_or(Ok(()), Err)
    }

    fn close(&mut self) -> Option<Exhausted> {
        self.is_left = true;
        let shares = Arc::clone(&self.share.of);
        let mut held = shares.lock();
        if !held.dequeue(self.ticket) {
            self.share.amount += self.amount;
            return None;
        }
        let bound = shares.bound(&held, &self.share.accounts, self.amount);
        // The next one may want less.
        held.grant(shares.total);
        Some(bound.unwrap_or(Exhausted { by: Bound::All, limit: shares.total }))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_left && self.close().is_none() {
            // It was granted, and nobody has seen it.
            self.share.shrink(self.amount);
        }
    }
}
