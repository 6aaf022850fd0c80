//! The ports of the cluster, all bound before anything is started. If a default port is in use, a free one is taken instead, so that
//! several clusters can run on one machine. A configured address must be free.

use std::{io, net::SocketAddr};

use anyhow::Context as _;
use chassis::config::Env;
use tokio::net::TcpListener;

use crate::{
    role::Role,
    settings::{
        Cluster,
        listen::{GRPC_LISTEN, LISTEN, METRICS_LISTEN, PREVIEW_LISTEN},
    },
};

/// One listener of the cluster.
pub(super) struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    /// The default port, if it is in use and another one was taken.
    pub(super) replaced: Option<u16>,
}

pub(super) struct Listeners {
    pub(super) main: Bound,
    pub(super) preview: Bound,
    pub(super) metrics: Option<Bound>,
    /// In the order of [`Role::SERVICES`].
    pub(super) grpc: [Bound; 5],
}

/// Which of the four addresses are configured.
pub(super) struct ConfiguredListens {
    main: bool,
    preview: bool,
    metrics: bool,
    grpc: bool,
}

impl ConfiguredListens {
    pub(super) fn of(env: &Env) -> Self {
        let is_set = |name| env.is_set(name);
        Self { main: is_set(LISTEN), preview: is_set(PREVIEW_LISTEN), metrics: is_set(METRICS_LISTEN), grpc: is_set(GRPC_LISTEN) }
    }
}

impl Listeners {
    pub(super) async fn bind(cluster: &Cluster, explicit: &ConfiguredListens) -> anyhow::Result<Self> {
        let grpc = |place: u16| {
            let mut address = cluster.grpc;
            if address.port() != 0 {
                address.set_port(address.port() + place);
            }
            bind(GRPC_LISTEN, address, explicit.grpc)
        };
        Ok(Self {
            main: bind(LISTEN, cluster.main, explicit.main).await?,
            preview: bind(PREVIEW_LISTEN, cluster.preview, explicit.preview).await?,
            metrics: match cluster.metrics {
                Some(address) => Some(bind(METRICS_LISTEN, address, explicit.metrics).await?),
                None => None,
            },
            grpc: [grpc(0).await?, grpc(1).await?, grpc(2).await?, grpc(3).await?, grpc(4).await?],
        })
    }

    /// The services with their addresses.
    pub(super) fn services(&self) -> [(Role, SocketAddr); 5] {
        std::array::from_fn(|place| (Role::SERVICES[place], self.grpc[place].address))
    }
}

async fn bind(setting: &'static str, wanted: SocketAddr, explicit: bool) -> anyhow::Result<Bound> {
    let failed = || format!("{setting}: cannot listen on {wanted}");
    let (listener, replaced) = match TcpListener::bind(wanted).await {
        Ok(listener) => (listener, None),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !explicit => {
            (TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await.with_context(failed)?, Some(wanted.port()))
        }
        Err(error) => return Err(error).with_context(failed),
    };
    let address = listener.local_addr().with_context(failed)?;
    Ok(Bound { listener, address, replaced })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_default_port_is_replaced() {
        let other = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let taken = other.local_addr().expect("address");
        let moved = bind(LISTEN, taken, false).await.expect("bound");
        assert_eq!(moved.replaced, Some(taken.port()));
        assert!(moved.address.port() != taken.port() && moved.address.ip() == taken.ip());
        let refusal = bind(LISTEN, taken, true).await.map(|bound| bound.address).expect_err("in use");
        assert_eq!(refusal.to_string(), format!("BACKLOT_LISTEN: cannot listen on {taken}"));
    }

    #[tokio::test]
    async fn port_zero_takes_five_free_ports() {
        let any = [LISTEN, PREVIEW_LISTEN, METRICS_LISTEN, GRPC_LISTEN].map(|name| (name, "127.0.0.1:0"));
        // Without a configured secret one would be created in the current folder.
        let secret = ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7");
        let mut env = Env::of(any.into_iter().chain([secret]));
        let explicit = ConfiguredListens::of(&env);
        let bound = Listeners::bind(&Cluster::read(&mut env), &explicit).await.expect("bound");
        let ports: std::collections::BTreeSet<_> = bound.services().map(|(_, address)| address.port()).into();
        assert!(ports.len() == 5 && !ports.contains(&0), "{ports:?}");
    }
}
