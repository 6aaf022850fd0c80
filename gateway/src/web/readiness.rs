//! The health of the services, for the probe `/readyz`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{client::ServiceChannel, context::Context, identity::Caller, postgres};
use futures::future::join_all;
use tokio::sync::Mutex;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::upstream::Upstream;

/// How long a service may take to answer.
const CALL_TIME: Duration = Duration::from_secs(1);
/// How long a response is used.
const CACHE_TIME: Duration = Duration::from_millis(250);

/// The last health of the services. However many probes there are, the services are asked at most four times a second.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Services)>>);

/// Each service's name and health.
type Services = Arc<Vec<(Caller, Health)>>;

/// Whether the gateway can serve requests with these services. Without compile only previews that are compiled fail.
pub(crate) fn is_ready(services: &[(Caller, Health)]) -> bool {
    services.iter().all(|(service, health)| *health == Health::Serving || *service == Caller::Compile)
}

impl Readiness {
    pub(crate) async fn of(&self, upstream: &Upstream) -> Services {
        let mut known = self.0.lock().await;
        if let Some((since, health)) = &*known
            && since.elapsed() < CACHE_TIME
        {
            return Arc::clone(health);
        }
        let health = Arc::new(health(upstream).await);
        *known = Some((Instant::now(), Arc::clone(&health)));
        health
    }
}

/// What a service reports of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Serving,
    /// It answers but cannot work without this engine.
    Missing(&'static str),
    /// It does not answer, or it is draining.
    Unavailable,
}

async fn health(upstream: &Upstream) -> Vec<(Caller, Health)> {
    join_all(upstream.services().map(|(service, channel)| async move { (service, health_of(channel).await) })).await
}

async fn health_of(channel: ServiceChannel) -> Health {
    let mut client = HealthClient::new(channel);
    let check = async {
        match status(&mut client, "").await {
            Some(ServingStatus::Serving) => Health::Serving,
            Some(_) if status(&mut client, postgres::ENGINE).await == Some(ServingStatus::NotServing) => Health::Missing(postgres::ENGINE),
            _ => Health::Unavailable,
        }
    };
    tokio::time::timeout(CALL_TIME, check).await.unwrap_or(Health::Unavailable)
}

async fn status(client: &mut HealthClient<ServiceChannel>, service: &str) -> Option<ServingStatus> {
    let request = Context::background().request(HealthCheckRequest { service: service.to_owned() });
    Some(client.check(request).await.ok()?.into_inner().status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compile_may_be_away() {
        let of = |auth, compile| [(Caller::Auth, auth), (Caller::Compile, compile)];
        assert!(is_ready(&of(Health::Serving, Health::Unavailable)));
        assert!(is_ready(&of(Health::Serving, Health::Missing(postgres::ENGINE))));
        assert!(!is_ready(&of(Health::Unavailable, Health::Serving)));
    }
}
