//! How much of a quantity is held, in total and by each holder, and who waits for more.

use std::{collections::HashMap, net::IpAddr};

use proto::id::UserId;
use tokio::sync::oneshot;

use super::{Bound, Exhausted};

#[derive(Debug, Default)]
pub(super) struct State {
    /// Held by all holders together.
    pub(super) held: usize,
    pub(super) by_account: HashMap<Key, usize>,
    pub(super) queue: Queue,
}

/// An account of a holder, with its limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    pub(super) key: Key,
    pub(super) bound: Bound,
    pub(super) limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Connection(u64),
    /// A network and the length of its prefix.
    Network(IpAddr, u8),
    Person(UserId),
}

/// The waiters in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: Vec<Waiter>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    accounts: Vec<Account>,
    amount: usize,
    granted: oneshot::Sender<()>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

impl State {
    pub(super) fn held_by(&self, account: &Account) -> usize {
        self.by_account.get(&account.key).copied().unwrap_or_default()
    }

    /// The first of the accounts whose limit does not allow `more`.
    pub(super) fn exhausted_account(&self, accounts: &[Account], more: usize) -> Option<Exhausted> {
        let full = accounts.iter().find(|account| self.held_by(account).saturating_add(more) > account.limit)?;
        Some(Exhausted { by: full.bound, limit: full.limit })
    }

    pub(super) fn add(&mut self, accounts: &[Account], more: usize) {
        self.held += more;
        self.add_to_accounts(accounts, more);
    }

    /// Adds an amount that `held` already includes.
    pub(super) fn add_to_accounts(&mut self, accounts: &[Account], more: usize) {
        for account in accounts {
            *self.by_account.entry(account.key).or_default() += more;
        }
    }

    pub(super) fn subtract(&mut self, accounts: &[Account], less: usize) {
        self.held -= less;
        for account in accounts {
            if let Some(amount) = self.by_account.get_mut(&account.key) {
                *amount -= less;
                if *amount == 0 {
                    self.by_account.remove(&account.key);
                }
            }
        }
    }
}

impl State {
    /// Adds a waiter for an amount. Returns its ticket, and the receiver that is notified when the amount was granted.
    pub(super) fn enqueue(&mut self, accounts: &[Account], amount: usize) -> (u64, oneshot::Receiver<()>) {
        let (granted, receiver) = oneshot::channel();
        let ticket = self.queue.next_ticket;
        self.queue.next_ticket += 1;
        self.queue.waiters.push(Waiter { ticket, accounts: accounts.to_vec(), amount, granted });
        (ticket, receiver)
    }

    /// Removes a waiter. Returns false if it is not in the queue, because its amount was granted.
    pub(super) fn dequeue(&mut self, ticket: u64) -> bool {
        let index = self.queue.waiters.iter().position(|waiter| waiter.ticket == ticket);
        index.map(|index| self.queue.waiters.remove(index)).is_some()
    }

    /// Grants free amounts. Of the waiters whose own limits allow it, the one that holds least is next, then the oldest, so that many
    /// requests of one address or person do not delay others. A small amount does not overtake the next waiter.
    pub(super) fn grant(&mut self, total: usize) {
        while let Some(index) = self.next_waiter() {
            let Waiter { ref accounts, amount, .. } = self.queue.waiters[index];
            if self.held.saturating_add(amount) > total {
                return;
            }
            let accounts = accounts.clone();
            self.add(&accounts, amount);
            // The receiver exists, because a waiter leaves the queue under the same lock.
            _ = self.queue.waiters.remove(index).granted.send(());
        }
    }

    fn next_waiter(&self) -> Option<usize> {
        let is_allowed = |waiter: &Waiter| self.exhausted_account(&waiter.accounts, waiter.amount).is_none();
        let held = |accounts: &[Account]| accounts.iter().map(|account| self.held_by(account)).max().unwrap_or_default();
        let candidates = self.queue.waiters.iter().enumerate().filter(|(_, waiter)| is_allowed(waiter));
        candidates.min_by_key(|(_, waiter)| (held(&waiter.accounts), waiter.ticket)).map(|(index, _)| index)
    }
}
