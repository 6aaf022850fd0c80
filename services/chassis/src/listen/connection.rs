//! One connection as its requests see it, and all connections of a listener by address.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    pace::{Load, Traffic},
    waste::{Waste, Wastes},
};
use crate::share::{Exhausted, Holder, Share, Shares, networks};

/// A connection as requests see it: an extension of each of them.
#[derive(Debug, Clone)]
pub struct Connection(pub(super) Arc<State>);

#[derive(Debug)]
pub(super) struct State {
    number: u64,
    peer: SocketAddr,
    /// It comes from a proxy and carries many clients.
    proxied: bool,
    /// Its other end has shown that it is of the cluster.
    trusted: AtomicBool,
    /// Requests that the client gave up before their answer was whole, or sent too many of.
    wasted: AtomicU64,
    most_wasted: usize,
    /// Of its address.
    pub(super) waste: Arc<Waste>,
    /// Cancelled when another connection of the address gets its place.
    pub(super) replaced: CancellationToken,
    /// Cancelled when too many requests were wasted; nothing more is read then.
    pub(super) spent: CancellationToken,
    pub(super) load: watch::Sender<Load>,
    pub(super) traffic: Traffic,
}

/// What is closed first when an address has too many connections: without a request, then with one, and never the cluster's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Idle,
    Busy,
    Kept,
}

impl Connection {
    pub(super) fn new(number: u64, peer: SocketAddr, most_wasted: usize, waste: Arc<Waste>, proxied: bool) -> Self {
        Self(Arc::new(State {
            number,
            peer,
            proxied,
            trusted: AtomicBool::new(false),
            wasted: AtomicU64::new(0),
            most_wasted,
            waste,
            replaced: CancellationToken::new(),
            spent: CancellationToken::new(),
            load: watch::Sender::new(Load::default()),
            traffic: Traffic::default(),
        }))
    }

    /// Unique in this process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// The other end is of the cluster: it may idle and reset streams as it likes, and is not closed for others.
    pub fn trust(&self) {
        self.0.trusted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.0.trusted.load(Ordering::Relaxed)
    }

    /// It carries the requests of many, so that it is not slowed or closed for what one of them does.
    pub(super) fn is_shared(&self) -> bool {
        self.0.proxied || self.is_trusted()
    }

    /// Counts a wasted request: the client gave it up, or sent it above its limit.
    pub fn count_wasted(&self) {
        let count = self.0.wasted.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_shared() {
            return;
        }
        self.0.waste.add(1, Instant::now());
        if usize::try_from(count).is_ok_and(|count| count > self.0.most_wasted) {
            self.0.spent.cancel();
        }
    }

    /// Whether its address is read slowly.
    pub(super) fn is_slowed(&self) -> bool {
        !self.is_shared() && self.0.waste.is_large()
    }

    fn rank(&self) -> Rank {
        match (self.is_trusted(), self.0.load.borrow().open) {
            (true, _) => Rank::Kept,
            (false, 0) => Rank::Idle,
            (false, _) => Rank::Busy,
        }
    }
}

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    /// By number, which is by age.
    open: Mutex<BTreeMap<u64, Connection>>,
    shares: Arc<Shares>,
    most_wasted: usize,
    wastes: Wastes,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) connection: Connection,
    all: Arc<Connections>,
    _share: Share,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.all.lock().remove(&self.connection.number());
    }
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let shares = Shares::new(limits.connections, limits.percent);
        Arc::new(Self { open: Mutex::default(), shares, most_wasted: limits.resets, wastes: Wastes::new(limits) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a new connection a place. Where its address has all that it may have, its oldest idle connection is closed for it,
    /// so that whoever opens many is the one that loses them.
    ///
    /// # Errors
    /// No connection of the address can be closed, or none was in time.
    pub(super) async fn register(
        self: &Arc<Self>,
        peer: SocketAddr,
        address: Option<IpAddr>,
        until: Instant,
    ) -> Result<Registered, Exhausted> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let (number, waste) = (NUMBER.fetch_add(1, Ordering::Relaxed), self.wastes.of(peer.ip()));
        let connection = Connection::new(number, peer, self.most_wasted, waste, address.is_none());
        let mut share = self.shares.try_take(&Holder { address, ..Holder::default() }, 0)?;
        if let Err(exhausted) = share.try_grow(1) {
            let Some(oldest) = self.replaceable(peer.ip()) else { return Err(exhausted) };
            oldest.0.replaced.cancel();
            share.grow(1, until).await?;
        }
        self.lock().insert(connection.number(), connection.clone());
        Ok(Registered { connection, all: Arc::clone(self), _share: share })
    }

    fn replaceable(&self, address: IpAddr) -> Option<Connection> {
        let open = self.lock();
        let oldest = |network| {
            let candidates = open.values().filter(|c| networks(c.peer().ip()).contains(&network) && !c.0.replaced.is_cancelled());
            let ranked = candidates.map(|c| (c.rank(), c)).filter(|(rank, _)| *rank < Rank::Kept);
            ranked.min_by_key(|(rank, c)| (*rank, c.number())).map(|(_, c)| c.clone())
        };
        // The narrowest network first: a place there is one in each network around it, and neighbours lose nothing.
        networks(address).into_iter().find_map(oldest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Env;

    async fn connect(all: &Arc<Connections>, address: &str) -> Result<Registered, Exhausted> {
        let peer = SocketAddr::new(address.parse().unwrap(), 1);
        all.register(peer, Some(peer.ip()), Instant::now() + Duration::from_millis(20)).await
    }

    #[test]
    fn a_connection_of_many_is_not_slowed_or_closed() {
        for (proxied, trusted) in [(false, false), (true, false), (false, true)] {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let waste = Wastes::new(&Limits::read(&mut Env::of([("BACKLOT_MAX_RESETS", "100")]))).of(peer.ip());
            let connection = Connection::new(1, peer, 100, waste, proxied);
            if trusted {
                connection.trust();
            }
            (0..200).for_each(|_| connection.count_wasted());
            let shared = proxied || trusted;
            assert_eq!((connection.is_slowed(), connection.0.spent.is_cancelled()), (!shared, !shared));
        }
    }

    #[tokio::test]
    async fn whoever_opens_many_connections_loses_its_own() {
        let mut env = Env::of([("BACKLOT_MAX_CONNECTIONS", "10"), ("BACKLOT_SHARE_ADDRESS", "40")]);
        let all = Connections::new(&Limits::read(&mut env));
        let neighbour = connect(&all, "2001:db8:0:2::1").await.unwrap();
        let mut held = Vec::new();
        for at in 1..=4 {
            held.push(connect(&all, &format!("2001:db8:0:1::{at}")).await.unwrap());
        }
        let is_closed = |registered: &Registered| registered.connection.0.replaced.is_cancelled();
        // Nobody gives the place of the closed connection back here, so the new one does not get it in time.
        assert!(connect(&all, "2001:db8:0:1::5").await.is_err());
        assert_eq!(held.iter().map(is_closed).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(!is_closed(&neighbour));
        held[1].connection.trust();
        assert!(connect(&all, "2001:db8:0:1::6").await.is_err());
        assert_eq!(held.iter().map(is_closed).collect::<Vec<_>>(), [true, false, true, false]);
    }
}
