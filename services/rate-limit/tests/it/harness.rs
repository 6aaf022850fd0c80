//! Starts the service, and clients of it.

use std::time::Duration;

use chassis::{
    client::{ServiceChannel, connect},
    config::Env,
    context::Context,
    identity::Caller,
    secret::ClusterSecret,
};
use proto::{
    error::Fault,
    rate_limit::{CheckRequest, CheckResponse, PolicyCheck, PolicyDecision, rate_limit_service_client::RateLimitServiceClient},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a secret that only this test's services share";

pub(crate) type Client = RateLimitServiceClient<ServiceChannel>;

pub(crate) struct Running {
    uri: http::Uri,
    shutdown: CancellationToken,
    served: Option<JoinHandle<Result<(), rate_limit::ServeError>>>,
}

/// Starts the service with these settings. The timeout of Redis is long, because a busy machine must not degrade it.
pub(crate) async fn start(settings: &[(&str, &str)]) -> Running {
    start_with_timeout(settings, "20s").await
}

/// Starts the service with these settings and this timeout of Redis.
pub(crate) async fn start_with_timeout(settings: &[(&str, &str)], redis_timeout: &str) -> Running {
    chassis::install_crypto();
    let listener = chassis::testing::listener().await;
    let uri = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("uri");
    let mut env =
        Env::of(settings.iter().copied().chain([("BACKLOT_CLUSTER_SECRET", SECRET), ("BACKLOT_RATE_LIMIT_REDIS_TIMEOUT", redis_timeout)]));
    let config = rate_limit::Config::read(&mut env);
    env.check().expect("settings");
    let shutdown = CancellationToken::new();
    let served = chassis::task::spawn(rate_limit::serve(config, listener, shutdown.clone()));
    Running { uri, shutdown, served: Some(served) }
}

impl Running {
    pub(crate) fn client(&self, caller: Caller) -> Client {
        Client::new(connect(caller, Caller::RateLimit, &self.uri, &ClusterSecret::of_bytes(SECRET.as_bytes())))
    }

    /// Stops the service and asserts that it ends in time and without an error.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let served = self.served.take().expect("running");
        tokio::time::timeout(Duration::from_secs(60), served).await.expect("in time").expect("no panic").expect("no error");
    }

    pub(crate) fn uri(&self) -> &http::Uri {
        &self.uri
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) fn one_unit(policy: &str, subject: &str) -> PolicyCheck {
    PolicyCheck { policy: policy.to_owned(), subject: subject.to_owned(), cost: None }
}

pub(crate) fn units(policy: &str, subject: &str, units: u32) -> PolicyCheck {
    PolicyCheck { cost: Some(units), ..one_unit(policy, subject) }
}

pub(crate) async fn check(client: &mut Client, checks: Vec<PolicyCheck>) -> Result<CheckResponse, Fault> {
    let request = Context::background().request(CheckRequest { checks });
    client.check(request).await.map(tonic::Response::into_inner).map_err(|status| Fault::from_status(&status))
}

pub(crate) fn seconds(wire: Option<&pbjson_types::Duration>) -> f64 {
    let wire = wire.expect("a duration");
    std::time::Duration::new(wire.seconds.try_into().expect("not negative"), wire.nanos.try_into().expect("not negative")).as_secs_f64()
}

pub(crate) fn names(decisions: &[PolicyDecision]) -> Vec<&str> {
    decisions.iter().map(|d| d.policy.as_str()).collect()
}
