//! Following auth's stream of ended sessions over a connection: what ended before, and a connection that is silent.
#![cfg(feature = "testing")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chassis::{
    client,
    identity::Caller,
    revocations::{Revocations, SILENCE},
    task,
    testing::{self, Gate, Issuer, canary::Stopwatch, eventually},
};
use proto::id::SessionId;
use tokio_util::sync::{CancellationToken, DropGuard};

const SOON: Duration = Duration::from_secs(60);

/// Follows the service at this address until the guard is dropped.
fn follow(uri: &http::Uri) -> (Arc<Revocations>, DropGuard) {
    chassis::install_crypto();
    let auth = client::connect(Caller::AgentStreaming, Caller::Auth, uri, &testing::secret());
    let (revocations, stop) = (Arc::new(Revocations::new(Caller::AgentStreaming)), CancellationToken::new());
    task::spawn(Arc::clone(&revocations).follow(auth, stop.clone()));
    (revocations, stop.drop_guard())
}

#[tokio::test]
async fn what_ended_before_the_start_is_refused() {
    let (issuer, ended, live) = (Issuer::start().await, SessionId::generate(), SessionId::generate());
    issuer.end(ended);
    let (revocations, _stop) = follow(&issuer.uri);
    // The first check waits for the ends of the last minutes.
    let fault = revocations.check(ended).await.expect_err("ended");
    assert_eq!((fault.domain.as_str(), fault.reason.as_str()), ("agent-streaming.backlot.dev", "SESSION_ENDED"));
    revocations.check(live).await.expect("open");
    issuer.end(live);
    tokio::time::timeout(SOON, revocations.until_ended(live)).await.expect("reported");
}

/// auth of a release before may not know a service that follows it. Its refusal is no list of ended sessions.
#[tokio::test]
async fn while_auth_refuses_to_be_followed_no_token_is_accepted() {
    let issuer = Issuer::start().await;
    issuer.deny_followers(true);
    let (revocations, _stop) = follow(&issuer.uri);
    let fault = revocations.check(SessionId::generate()).await.expect_err("unknown");
    assert_eq!((fault.reason.as_str(), revocations.is_known()), ("UNAVAILABLE", false));
    issuer.deny_followers(false);
    eventually(SOON, || async { revocations.until_known().await.ok() }).await;
}

#[tokio::test]
async fn a_silent_connection_is_down_and_ends_arrive_after_it() {
    let issuer = Issuer::start().await;
    let address: SocketAddr = issuer.uri.authority().expect("an address").as_str().parse().expect("an address");
    let gate = Gate::before(address).await;
    let (revocations, _stop) = follow(&gate.uri.parse::<http::Uri>().expect("a URL"));
    let up = || async { revocations.epoch() };
    let before = eventually(SOON, up).await;

    gate.hold();
    let silent = Stopwatch::start();
    eventually(SOON, || async { revocations.epoch().is_none().then_some(()) }).await;
    // The last heartbeat may have come as the gate was held.
    assert!(silent.elapsed() < SILENCE + Duration::from_secs(1), "{:?}", silent.elapsed());
    let (missed, known) = (SessionId::generate(), SessionId::generate());
    issuer.end(missed);
    assert!(!revocations.has_ended(missed), "the connection is held");
    revocations.check(known).await.expect("tokens are accepted by their signature");

    gate.open();
    tokio::time::timeout(SOON, revocations.until_ended(missed)).await.expect("reported");
    assert_ne!(eventually(SOON, up).await, before, "what was cached before is not used");
}
