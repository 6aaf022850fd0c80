//! A quantity that everybody shares (slots, connections, bytes in memory), and how much of it one connection, one address and one
//! person may hold, so that nobody can take it all.

mod percent;
mod queue;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use proto::{
    error::{ErrorCode, Fault},
    id::UserId,
};
use tokio::time::Instant;
use tonic::{Status, body::Body};

pub use self::percent::Percent;
use self::queue::{Place, Queue};

/// On whose account something is held. What is absent bounds nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holder {
    /// The number of a connection.
    pub connection: Option<u64>,
    pub address: Option<IpAddr>,
    pub person: Option<UserId>,
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The quantity is used up.
    All,
    Connection,
    /// Also the wider networks around an IPv6 address.
    Address,
    Person,
}

/// What was wanted is more than is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The bound that was reached.
    pub by: Bound,
    /// What it allows.
    pub limit: usize,
}

impl Exhausted {
    /// The refusal that a client sees: UNAVAILABLE where everybody has to wait, RESOURCE_EXHAUSTED where the client itself holds
    /// too much. `what` is in the plural: `requests in work`.
    #[must_use]
    pub fn fault(self, service: &str, what: &str) -> Fault {
        let whose = match self.by {
            Bound::All => {
                let fault = Fault::new(service, ErrorCode::Unavailable, "OVERLOADED", format!("too many {what}; try again"));
                return fault.retry_after(RETRY_AFTER);
            }
            Bound::Connection => "connection",
            Bound::Address => "address",
            Bound::Person => "person",
        };
        let text = format!("one {whose} may have at most {} {what}; try again", self.limit);
        Fault::new(service, ErrorCode::RateLimited, "SHARE_EXHAUSTED", text)
            .with("limit", self.limit.to_string())
            .with("per", whose)
            .retry_after(RETRY_AFTER)
    }
}

const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// A bounded quantity.
#[derive(Debug)]
pub struct Shares {
    total: usize,
    percent: Percent,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by: HashMap<Key, usize>,
    queue: Queue,
}

impl Held {
    fn of(&self, account: &Account) -> usize {
        self.by.get(&account.key).copied().unwrap_or_default()
    }

    /// The holder's own bound that does not allow more.
    fn own_bound(&self, accounts: &[Account], more: usize) -> Option<Exhausted> {
        let full = accounts.iter().find(|account| self.of(account).saturating_add(more) > account.limit)?;
        Some(Exhausted { by: full.bound, limit: full.limit })
    }

    fn add(&mut self, accounts: &[Account], more: usize) {
        self.all += more;
        for account in accounts {
            *self.by.entry(account.key).or_default() += more;
        }
    }
}

/// Where a holder's part is counted, and how much it may be.
#[derive(Debug, Clone, Copy)]
struct Account {
    key: Key,
    bound: Bound,
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Connection(u64),
    /// With the length of its prefix.
    Network(IpAddr, u8),
    Person(UserId),
}

impl Shares {
    /// `total` of something, of which one holder has at most so many percent, and one at the least.
    #[must_use]
    pub fn new(total: usize, percent: Percent) -> Arc<Self> {
        Arc::new(Self { total, percent, held: Mutex::default() })
    }

    /// Takes an amount now, or nothing.
    ///
    /// # Errors
    /// The first bound that does not allow it.
    pub fn try_take(self: &Arc<Self>, holder: &Holder, amount: usize) -> Result<Share, Exhausted> {
        let mut share = Share { of: Arc::clone(self), accounts: self.accounts(holder), amount: 0 };
        share.try_grow(amount)?;
        Ok(share)
    }

    /// How much is held at present, by everybody.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
        for (network, prefix) in holder.address.map(networks).unwrap_or_default() {
            // The wider a network, the more, up to half as much again, and half of what is left to others stays theirs. So two
            // networks do not reach all unless an address by itself has more than a third.
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

    /// The bound that does not allow so much to anybody, however little is held.
    fn never(&self, accounts: &[Account], amount: usize) -> Option<Exhausted> {
        self.bound(&Held::default(), accounts, amount)
    }

    /// The bound that does not allow more.
    fn bound(&self, held: &Held, accounts: &[Account], more: usize) -> Option<Exhausted> {
        let all = || (held.all.saturating_add(more) > self.total).then_some(Exhausted { by: Bound::All, limit: self.total });
        held.own_bound(accounts, more).or_else(all)
    }
}

/// What a holder has of a quantity; given back when dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    accounts: Vec<Account>,
    amount: usize,
}

impl Share {
    /// Takes more now, or nothing.
    ///
    /// # Errors
    /// The first bound that does not allow it.
    pub fn try_grow(&mut self, more: usize) -> Result<(), Exhausted> {
        let mut held = self.of.lock();
        if let Some(exhausted) = self.of.bound(&held, &self.accounts, more) {
            return Err(exhausted);
        }
        held.add(&self.accounts, more);
        self.amount += more;
        Ok(())
    }

    /// Takes more, when others have given enough back. Of those who wait, whoever holds least is first. Who will need more than a
    /// part takes all of it at once: two who hold a part each and wait for the rest wait for each other.
    ///
    /// # Errors
    /// The bound that did not allow it until then.
    pub async fn grow(&mut self, more: usize, until: Instant) -> Result<(), Exhausted> {
        let shares = Arc::clone(&self.of);
        let (ticket, granted) = {
            let mut held = shares.lock();
            if let Some(exhausted) = shares.never(&self.accounts, more) {
                return Err(exhausted);
            }
            if held.queue.is_empty() && shares.bound(&held, &self.accounts, more).is_none() {
                held.add(&self.accounts, more);
                self.amount += more;
                return Ok(());
            }
            let (ticket, granted) = held.enqueue(&self.accounts, more);
            held.grant(shares.total);
            (ticket, granted)
        };
        let place = Place::of(self, ticket, more);
        // What is granted in the last moment is found by `leave`.
        _ = tokio::time::timeout_at(until, granted).await;
        place.leave()
    }

    /// Counts what is held for another holder too.
    ///
    /// # Errors
    /// The bound of that holder that does not allow it; then nothing has changed.
    pub fn also(&mut self, holder: &Holder) -> Result<(), Exhausted> {
        let is_new = |account: &Account| self.accounts.iter().all(|known| known.key != account.key);
        let accounts: Vec<_> = self.of.accounts(holder).into_iter().filter(is_new).collect();
        let mut held = self.of.lock();
        if let Some(exhausted) = held.own_bound(&accounts, self.amount) {
            return Err(exhausted);
        }
        for account in &accounts {
            *held.by.entry(account.key).or_default() += self.amount;
        }
        drop(held);
        self.accounts.extend(accounts);
        Ok(())
    }

    /// Gives a part back.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.amount);
        if less == 0 {
            return;
        }
        self.amount -= less;
        let mut held = self.of.lock();
        held.all -= less;
        for account in &self.accounts {
            if let Some(amount) = held.by.get_mut(&account.key) {
                *amount -= less;
                if *amount == 0 {
                    held.by.remove(&account.key);
                }
            }
        }
        if !held.queue.is_empty() {
            held.grant(self.of.total);
        }
    }

    #[must_use]
    pub fn amount(&self) -> usize {
        self.amount
    }

    /// A body that holds the share until it has ended or is dropped.
    #[must_use]
    pub fn until_end_of(self, body: Body) -> Body {
        Body::new(Holding { body, _share: self })
    }
}

struct Holding {
    body: Body,
    _share: Share,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.amount);
    }
}

/// The networks that an address is counted in: an IPv4 address is its own, an IPv6 address stands for its /64, and its holder may
/// well have the /56 or the /48.
#[must_use]
pub fn networks(address: IpAddr) -> Vec<(IpAddr, u8)> {
    match address.to_canonical() {
        IpAddr::V4(v4) => vec![(IpAddr::V4(v4), 32)],
        IpAddr::V6(v6) => [64, 56, 48].map(|prefix| (IpAddr::V6(network(v6, prefix)), prefix)).to_vec(),
    }
}

fn network(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - u32::from(prefix))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn holder(connection: u64, address: &str) -> Holder {
        Holder { connection: Some(connection), address: Some(address.parse().unwrap()), person: None }
    }

    fn take(shares: &Arc<Shares>, holder: Holder, amount: usize) -> Result<Share, Bound> {
        shares.try_take(&holder, amount).map_err(|e| e.by)
    }

    #[test]
    fn each_bound_holds_by_itself() {
        let shares = Shares::new(100, Percent { address: 50, ..Percent::default() });
        let one = take(&shares, holder(1, "192.0.2.1"), 25).unwrap();
        assert_eq!(take(&shares, holder(1, "192.0.2.1"), 1).unwrap_err(), Bound::Connection);
        let two = take(&shares, holder(2, "192.0.2.1"), 25).unwrap();
        assert_eq!(take(&shares, holder(3, "192.0.2.1"), 1).unwrap_err(), Bound::Address);
        let person = Holder { person: Some(UserId::generate()), ..Holder::default() };
        assert_eq!(two.amount(), 25);
        let three = take(&shares, person, 25).unwrap();
        assert_eq!(take(&shares, person, 1).unwrap_err(), Bound::Person);
        let four = take(&shares, holder(4, "192.0.2.4"), 25).unwrap();
        assert_eq!(take(&shares, holder(5, "192.0.2.5"), 1).unwrap_err(), Bound::All);
        drop((one, two, three, four));
        assert_eq!((shares.held(), shares.lock().by.len()), (0, 0));
    }

    #[test]
    fn wider_networks_of_ipv6_are_counted_and_never_have_all() {
        let shares = Shares::new(100, Percent { connection: 100, address: 40, person: 100 });
        let most = |prefix: &dyn Fn(u32) -> String| {
            let mut kept = Vec::new();
            for at in 0..200 {
                kept.extend(take(&shares, holder(u64::from(at), &prefix(at)), 1));
            }
            kept.len()
        };
        assert_eq!(most(&|at| format!("2001:db8::{at:x}")), 40);
        assert_eq!(most(&|at| format!("2001:db8:0:{at:x}::1")), 50);
        assert_eq!(most(&|at| format!("2001:db8:0:{at:x}00::1")), 60);
        assert_eq!(most(&|at| format!("2001:db8:{at:x}::1")), 100);
        assert_eq!(most(&|_| "::ffff:192.0.2.1".to_owned()), 40);
    }

    #[test]
    fn two_addresses_leave_something_to_others() {
        let networks: [fn(u32) -> String; 4] = [
            |_| "192.0.2.1".to_owned(),
            |at| format!("2001:db8::{at:x}"),
            |at| format!("2001:db8:0:{at:x}::1"),
            |at| format!("2001:db8:0:{at:x}00::1"),
        ];
        for network in networks {
            let shares = Shares::new(1000, Percent::default());
            let another = |at| network(at).replace("2001:db8", "2001:db9").replace("192.0.2.1", "192.0.2.2");
            let mut kept = Vec::new();
            for at in 0..1000 {
                kept.extend([network(at % 200), another(at % 200)].map(|address| take(&shares, holder(at.into(), &address), 1)));
            }
            let held: usize = kept.iter().flatten().map(Share::amount).sum();
            assert!((600..1000).contains(&held), "{held} of 1000 by {}", network(1));
            take(&shares, holder(5000, "192.0.2.3"), 1).expect("some is left");
        }
    }

    /// Of many bodies, each takes all that it can be, then arrives, waits for nobody and gives it back: all are through in the end,
    /// whoever they are of.
    #[tokio::test]
    async fn whoever_takes_all_at_once_is_never_waited_for_in_a_circle() {
        for seed in 0..50_u64 {
            let shares = Shares::new(100, Percent::default());
            // Numbers that look like chance and are the same each time.
            let mut state = seed;
            let mut next = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let people: Vec<_> = (0..6).map(|_| UserId::generate()).collect();
            let bodies = (0..60).map(|connection| {
                let address = Some(format!("192.0.2.{}", next(4)).parse().unwrap());
                let person = Some(people[usize::try_from(next(6)).unwrap()]);
                let (amount, steps) = (usize::try_from(1 + next(25)).unwrap(), next(100));
                let shares = Arc::clone(&shares);
                async move {
                    let mut share = shares.try_take(&Holder { connection: Some(connection), address, person }, 0).unwrap();
                    share.grow(amount, Instant::now() + Duration::from_secs(600)).await.unwrap();
                    for _ in 0..steps {
                        tokio::task::yield_now().await;
                    }
                }
            });
            futures::future::join_all(bodies).await;
            assert_eq!((shares.held(), shares.lock().queue.is_empty()), (0, true), "seed {seed}");
        }
    }

    #[tokio::test]
    async fn what_nobody_may_have_is_not_waited_for() {
        let shares = Shares::new(100, Percent::default());
        let mut share = take(&shares, holder(1, "192.0.2.1"), 0).unwrap();
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(share.grow(26, later).await.unwrap_err(), Exhausted { by: Bound::Connection, limit: 25 });
        let mut share = take(&shares, Holder::default(), 0).unwrap();
        assert_eq!(share.grow(101, later).await.unwrap_err(), Exhausted { by: Bound::All, limit: 100 });
    }

    #[tokio::test]
    async fn what_is_given_back_goes_to_those_who_wait() {
        let shares = Shares::new(10, Percent { connection: 100, address: 100, person: 100 });
        let mut first = take(&shares, Holder::default(), 8).unwrap();
        let mut second = take(&shares, Holder::default(), 0).unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(second.grow(4, soon).await.unwrap_err().by, Bound::All);
        let later = Instant::now() + Duration::from_secs(60);
        let (grown, ()) = tokio::join!(second.grow(4, later), async { first.shrink(2) });
        grown.unwrap();
        assert_eq!((first.amount(), second.amount(), shares.held()), (6, 4, 10));
    }

    #[tokio::test]
    async fn whoever_holds_least_is_next_and_then_whoever_came_first() {
        let shares = Shares::new(4, Percent { connection: 100, address: 75, person: 75 });
        let later = Instant::now() + Duration::from_secs(60);
        let of = |address: &str| Holder { address: Some(address.parse().unwrap()), person: Some(UserId::generate()), connection: None };
        let order = Mutex::new(Vec::new());
        let wait = async |name: &'static str, address: &str| {
            let mut share = shares.try_take(&of(address), 0).unwrap();
            share.grow(1, later).await.unwrap();
            order.lock().unwrap().push(name);
            share
        };
        let held = ["192.0.2.2", "192.0.2.1", "192.0.2.1", "192.0.2.1"].map(|address| shares.try_take(&of(address), 1).unwrap());
        let free = async {
            for share in held {
                drop(share);
                // Those who wait run in between.
                tokio::task::yield_now().await;
            }
        };
        let (a, b, c, d, ()) =
            tokio::join!(wait("1a", "192.0.2.1"), wait("1b", "192.0.2.1"), wait("3", "192.0.2.3"), wait("4", "192.0.2.4"), free);
        assert_eq!(*order.lock().unwrap(), ["3", "4", "1a", "1b"]);
        drop((a, b, c, d));
        let held = shares.lock();
        assert_eq!((held.all, held.by.len(), held.queue.is_empty()), (0, 0, true));
    }

    #[tokio::test]
    async fn nobody_passes_the_next_one_by_wanting_less() {
        let shares = Shares::new(10, Percent { connection: 100, address: 100, person: 100 });
        let mut first = take(&shares, Holder::default(), 8).unwrap();
        let (mut large, mut small) = (take(&shares, Holder::default(), 0).unwrap(), take(&shares, Holder::default(), 0).unwrap());
        let later = Instant::now() + Duration::from_secs(60);
        let mut waiting = Box::pin(large.grow(6, later));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(small.grow(1, soon).await.unwrap_err().by, Bound::All);
        first.shrink(4);
        waiting.await.unwrap();
        assert_eq!((shares.held(), large.amount()), (10, 6));
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_nothing() {
        let shares = Shares::new(10, Percent { connection: 100, address: 100, person: 100 });
        let later = Instant::now() + Duration::from_secs(60);
        for is_granted in [false, true] {
            let mut first = take(&shares, Holder::default(), 10).unwrap();
            let (mut second, mut third) = (take(&shares, Holder::default(), 0).unwrap(), take(&shares, Holder::default(), 0).unwrap());
            let mut waiting = Box::pin(second.grow(6, later));
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            let mut next = Box::pin(third.grow(2, later));
            assert!(futures::poll!(next.as_mut()).is_pending());
            first.shrink(if is_granted { 6 } else { 2 });
            drop(waiting);
            next.await.unwrap();
            assert_eq!((second.amount(), third.amount()), (0, 2));
            drop((first, second, third));
            assert_eq!((shares.held(), shares.lock().queue.is_empty()), (0, true), "granted: {is_granted}");
        }
    }
}
