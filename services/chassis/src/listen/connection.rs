//! The state of a connection, and all connections of a listener.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    pace::{Activity, Traffic},
    penalty::{Penalties, Penalty},
};
use crate::{
    network::client_networks,
    share::{Exhausted, Holder, Share, Shares},
    tls::Peer,
};

/// A connection. Each of its requests has it as an extension.
#[derive(Debug, Clone)]
pub struct Connection(pub(super) Arc<State>);

#[derive(Debug)]
pub(super) struct State {
    number: u64,
    peer: SocketAddr,
    /// Whether the peer is a proxy, so that the connection carries many clients.
    proxied: bool,
    /// What TLS has proved about the peer. Unset while the connection is new.
    pub(super) tls_peer: OnceLock<Peer>,
    /// Whether the peer has shown a valid caller token.
    trusted: AtomicBool,
    /// The penalty of this connection.
    penalty: AtomicU64,
    max_penalty: usize,
    /// The penalty of the client's address.
    pub(super) address_penalty: Arc<Penalty>,
    /// Cancelled when a new connection of the address replaces this one.
    pub(super) replaced: CancellationToken,
    /// Cancelled when the penalty exceeds its limit. Nothing more is read then.
    pub(super) banned: CancellationToken,
    pub(super) activity: watch::Sender<Activity>,
    pub(super) traffic: Traffic,
}

/// The order in which connections are replaced if an address has too many: first idle ones, then busy ones, never those of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Idle,
    Busy,
    Protected,
}

impl Connection {
    pub(super) fn new(number: u64, peer: SocketAddr, max_penalty: usize, address_penalty: Arc<Penalty>, proxied: bool) -> Self {
        Self(Arc::new(State {
            number,
            peer,
            proxied,
            tls_peer: OnceLock::new(),
            trusted: AtomicBool::new(false),
            penalty: AtomicU64::new(0),
            max_penalty,
            address_penalty,
            replaced: CancellationToken::new(),
            banned: CancellationToken::new(),
            activity: watch::Sender::new(Activity::default()),
            traffic: Traffic::default(),
        }))
    }

    /// A number that is unique in this process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// What TLS has proved about the peer.
    #[must_use]
    pub fn tls_peer(&self) -> Peer {
        self.0.tls_peer.get().copied().unwrap_or(Peer::Plain)
    }

    /// Marks the peer as a service of the cluster. The connection is not closed when it is idle, resets streams, or could be replaced.
    pub fn trust(&self) {
        self.0.trusted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.0.trusted.load(Ordering::Relaxed)
    }

    /// Whether the connection carries the requests of many clients. It is not throttled or closed because of one of them.
    pub(super) fn is_shared(&self) -> bool {
        self.0.proxied || self.is_trusted()
    }

    /// Adds one to the penalties of the connection and of its address: the client has abandoned a request or sent one above a limit.
    pub fn add_penalty(&self) {
        let penalty = self.0.penalty.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_shared() {
            return;
        }
        self.0.address_penalty.add(1, Instant::now());
        if usize::try_from(penalty).is_ok_and(|penalty| penalty > self.0.max_penalty) {
            self.0.banned.cancel();
        }
    }

    /// Whether requests are read slowly because of the penalty of the address.
    pub(super) fn is_throttled(&self) -> bool {
        !self.is_shared() && self.0.address_penalty.exceeds_limit()
    }

    fn rank(&self) -> Rank {
        match (self.is_trusted(), self.0.activity.borrow().open) {
            (true, _) => Rank::Protected,
            (false, 0) => Rank::Idle,
            (false, _) => Rank::Busy,
        }
    }
}

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    /// By number, so the oldest is first.
    open: Mutex<BTreeMap<u64, Connection>>,
    shares: Arc<Shares>,
    max_penalty: usize,
    penalties: Penalties,
}

/// A connection and its share. Dropping it removes the connection.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) connection: Connection,
    all: Arc<Connections>,
    _share: Share,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.all.lock().remove(&self.connection.number());
    }
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let shares = Shares::new(limits.connections, limits.percent);
        Arc::new(Self { open: Mutex::default(), shares, max_penalty: limits.resets, penalties: Penalties::new(limits) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new connection. If its address has the most connections that it may have, the new one replaces the oldest idle one of
    /// the same address, so that a client that opens many connections closes only its own.
    ///
    /// # Errors
    /// No connection of the address can be replaced, or the replaced one was not closed until `until`.
    pub(super) async fn register(
        self: &Arc<Self>,
        peer: SocketAddr,
        address: Option<IpAddr>,
        until: Instant,
    ) -> Result<Registration, Exhausted> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let (number, penalty) = (NUMBER.fetch_add(1, Ordering::Relaxed), self.penalties.of(peer.ip()));
        let connection = Connection::new(number, peer, self.max_penalty, penalty, address.is_none());
        let mut share = self.shares.try_take(&Holder { address, ..Holder::default() }, 0)?;
        if let Err(exhausted) = share.try_grow(1) {
            let Some(oldest) = self.replaceable(peer.ip()) else { return Err(exhausted) };
            oldest.0.replaced.cancel();
            share.grow(1, until).await?;
        }
        self.lock().insert(connection.number(), connection.clone());
        Ok(Registration { connection, all: Arc::clone(self), _share: share })
    }

    fn replaceable(&self, address: IpAddr) -> Option<Connection> {
        let open = self.lock();
        let oldest = |network| {
            let is_candidate = |c: &&Connection| client_networks(c.peer().ip()).contains(&network) && !c.0.replaced.is_cancelled();
            let ranked = open.values().filter(is_candidate).map(|c| (c.rank(), c)).filter(|(rank, _)| *rank < Rank::Protected);
            ranked.min_by_key(|(rank, c)| (*rank, c.number())).map(|(_, c)| c.clone())
        };
        // The narrowest network first: a connection less in it is also one less in the wider networks, and neighbours keep theirs.
        client_networks(address).into_iter().find_map(oldest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Env;

    async fn connect(all: &Arc<Connections>, address: &str) -> Result<Registration, Exhausted> {
        let peer = SocketAddr::new(address.parse().unwrap(), 1);
        all.register(peer, Some(peer.ip()), Instant::now() + Duration::from_millis(20)).await
    }

    #[test]
    fn a_shared_connection_is_not_throttled_or_closed() {
        for (proxied, trusted) in [(false, false), (true, false), (false, true)] {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let penalty = Penalties::new(&Limits::read(&mut Env::of([("BACKLOT_MAX_RESETS", "100")]))).of(peer.ip());
            let connection = Connection::new(1, peer, 100, penalty, proxied);
            if trusted {
                connection.trust();
            }
            (0..200).for_each(|_| connection.add_penalty());
            let shared = proxied || trusted;
            assert_eq!((connection.is_throttled(), connection.0.banned.is_cancelled()), (!shared, !shared));
        }
    }

    #[tokio::test]
    async fn a_client_with_too_many_connections_loses_only_its_own() {
        let mut env = Env::of([("BACKLOT_MAX_CONNECTIONS", "10"), ("BACKLOT_SHARE_ADDRESS", "40")]);
        let all = Connections::new(&Limits::read(&mut env));
        let neighbour = connect(&all, "2001:db8:0:2::1").await.unwrap();
        let mut held = Vec::new();
        for at in 1..=4 {
            held.push(connect(&all, &format!("2001:db8:0:1::{at}")).await.unwrap());
        }
        let is_closed = |registration: &Registration| registration.connection.0.replaced.is_cancelled();
        // The replaced connection is still registered here, so the new one fails.
        assert!(connect(&all, "2001:db8:0:1::5").await.is_err());
        assert_eq!(held.iter().map(is_closed).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(!is_closed(&neighbour));
        held[1].connection.trust();
        assert!(connect(&all, "2001:db8:0:1::6").await.is_err());
        assert_eq!(held.iter().map(is_closed).collect::<Vec<_>>(), [true, false, true, false]);
    }
}
