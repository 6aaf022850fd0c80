//! A shared quantity (slots, connections, bytes in memory), with limits for one connection, one address and one person, so that no
//! client can take all of it.

mod body;
mod exhausted;
mod percent;
mod queue;
mod state;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::id::UserId;
use tokio::time::Instant;
use tonic::body::Body;

use self::{
    body::BodyWithShare,
    queue::QueueEntry,
    state::{Account, Key, State},
};
pub use self::{
    exhausted::{Bound, Exhausted},
    percent::Percent,
};
use crate::network::client_networks;

/// The holder of a share. An absent part has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holder {
    /// The number of the connection.
    pub connection: Option<u64>,
    pub address: Option<IpAddr>,
    pub person: Option<UserId>,
}

/// A shared quantity.
#[derive(Debug)]
pub struct Shares {
    total: usize,
    percent: Percent,
    state: Mutex<State>,
}

impl Shares {
    /// A quantity of `total`. One holder may have `percent` of it, but always at least one.
    #[must_use]
    pub fn new(total: usize, percent: Percent) -> Arc<Self> {
        Arc::new(Self { total, percent, state: Mutex::default() })
    }

    /// Takes an amount without waiting.
    ///
    /// # Errors
    /// The first bound that does not allow the amount. Nothing was taken.
    pub fn try_take(self: &Arc<Self>, holder: &Holder, amount: usize) -> Result<Share, Exhausted> {
        let mut share = Share { shares: Arc::clone(self), accounts: self.accounts(holder), amount: 0 };
        share.try_grow(amount)?;
        Ok(share)
    }

    /// The amount that all holders have together.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().held
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, percent: u8) -> usize {
        (self.total.saturating_mul(percent.into()) / 100).max(1)
    }

    fn accounts(&self, holder: &Holder) -> Vec<Account> {
        let mut accounts = Vec::new();
        if let Some(connection) = holder.connection {
            let limit = self.part(self.percent.connection);
            accounts.push(Account { key: Key::Connection(connection), bound: Bound::Connection, limit });
        }
        if let Some(person) = holder.person {
            accounts.push(Account { key: Key::Person(person), bound: Bound::Person, limit: self.part(self.percent.person) });
        }
        for (network, prefix) in holder.address.map(client_networks).unwrap_or_default() {
            // Wider networks have up to one and a half times the limit of an address, and leave at least half of the rest to others. So
            // two networks cannot hold everything unless the limit of an address is more than a third.
            let address = self.part(self.percent.address);
            let more = address.min(self.total.saturating_sub(address));
            let limit = match prefix {
                56 => address + more / 4,
                48 => address + more / 2,
                _ => address,
            };
            accounts.push(Account { key: Key::Network(network, prefix), bound: Bound::Address, limit });
        }
        accounts
    }

    /// The bound that does not allow the amount even if nothing is held.
    fn impossible(&self, accounts: &[Account], amount: usize) -> Option<Exhausted> {
        self.exhausted(&State::default(), accounts, amount)
    }

    /// The first bound that does not allow `more`: those of the accounts, then the total.
    fn exhausted(&self, state: &State, accounts: &[Account], more: usize) -> Option<Exhausted> {
        let all = || (state.held.saturating_add(more) > self.total).then_some(Exhausted { by: Bound::All, limit: self.total });
        state.exhausted_account(accounts, more).or_else(all)
    }
}

/// An amount that a holder has taken. Dropping it gives the amount back.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    accounts: Vec<Account>,
    amount: usize,
}

impl Share {
    /// Takes more without waiting.
    ///
    /// # Errors
    /// The first bound that does not allow the amount. Nothing was taken.
    pub fn try_grow(&mut self, more: usize) -> Result<(), Exhausted> {
        let mut state = self.shares.lock();
        if let Some(exhausted) = self.shares.exhausted(&state, &self.accounts, more) {
            return Err(exhausted);
        }
        state.add(&self.accounts, more);
        self.amount += more;
        Ok(())
    }

    /// Takes more, and waits until there is enough. The holder with the least is served first. A holder that needs several parts must
    /// take them at once, because holders that keep a part and wait for the rest can deadlock.
    ///
    /// # Errors
    /// The bound that did not allow the amount until then. Nothing was taken.
    pub async fn grow(&mut self, more: usize, until: Instant) -> Result<(), Exhausted> {
        let shares = Arc::clone(&self.shares);
        let (ticket, granted) = {
            let mut state = shares.lock();
            if let Some(exhausted) = shares.impossible(&self.accounts, more) {
                return Err(exhausted);
            }
            if state.queue.is_empty() && shares.exhausted(&state, &self.accounts, more).is_none() {
                state.add(&self.accounts, more);
                self.amount += more;
                return Ok(());
            }
            let (ticket, granted) = state.enqueue(&self.accounts, more);
            state.grant(shares.total);
            (ticket, granted)
        };
        let entry = QueueEntry::new(self, ticket, more);
        // `leave` also finds an amount that was granted at the last moment.
        _ = tokio::time::timeout_at(until, granted).await;
        entry.leave()
    }

    /// Counts the amount for another holder too.
    ///
    /// # Errors
    /// The bound of that holder that does not allow the amount. Nothing has changed.
    pub fn add_holder(&mut self, holder: &Holder) -> Result<(), Exhausted> {
        let is_new = |account: &Account| self.accounts.iter().all(|known| known.key != account.key);
        let accounts: Vec<_> = self.shares.accounts(holder).into_iter().filter(is_new).collect();
        let mut state = self.shares.lock();
        if let Some(exhausted) = state.exhausted_account(&accounts, self.amount) {
            return Err(exhausted);
        }
        state.add_to_accounts(&accounts, self.amount);
        drop(state);
        self.accounts.extend(accounts);
        Ok(())
    }

    /// Gives a part back, at most the whole amount.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.amount);
        if less == 0 {
            return;
        }
        self.amount -= less;
        let mut state = self.shares.lock();
        state.subtract(&self.accounts, less);
        if !state.queue.is_empty() {
            state.grant(self.shares.total);
        }
    }

    #[must_use]
    pub fn amount(&self) -> usize {
        self.amount
    }

    /// A body that holds the share until it is dropped.
    #[must_use]
    pub fn attach_to(self, body: Body) -> Body {
        Body::new(BodyWithShare { body, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.amount);
    }
}

#[cfg(test)]
mod tests;
