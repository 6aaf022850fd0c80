//! TLS between roles: which callers a listener accepts, which roles a client accepts, the change from plain connections, and renewals.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use chassis::{
    client::{CALLER_HEADER, connect},
    clock,
    config::Env,
    context::Context,
    identity::{Caller, Signer},
    secret::ClusterSecret,
    server::{Config, Rule, Scope, Server, Size::Ordinary},
    task,
    testing::{self, Issuer},
    tls::{Files, LoadError, Mode, Peer, Tls, uri_of},
    verifier::{Keys, Verifier},
};
use hyper_util::rt::TokioIo;
use proto::{
    auth::Plan,
    error::Fault,
    id::UserId,
    rate_limit::{
        CheckRequest, CheckResponse, ListPoliciesRequest, ListPoliciesResponse,
        rate_limit_service_client::RateLimitServiceClient,
        rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
    },
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer as Authority, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

const DAY: i64 = 86_400;
const RULES: &[Rule] = &[
    Rule { rpc: "Check", callers: &[Caller::Gateway, Caller::AgentStreaming], user: false, scope: Scope::Internal, size: Ordinary },
    Rule { rpc: "ListPolicies", callers: &[Caller::Gateway, Caller::Direct], user: false, scope: Scope::Open, size: Ordinary },
];

struct Probe;

#[tonic::async_trait]
impl RateLimitService for Probe {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse::default()))
    }

    async fn list_policies(&self, _: Request<ListPoliciesRequest>) -> Result<Response<ListPoliciesResponse>, Status> {
        Ok(Response::new(ListPoliciesResponse::default()))
    }
}

/// A CA, and a folder with its certificate.
struct Ca {
    folder: TempDir,
    authority: Authority<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Pair(String, String);

impl Ca {
    fn new() -> Self {
        chassis::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, authority: Authority::new(params, key) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate with these URIs that expires in `days`. It has the DNS name of every role.
    fn pair(&self, uris: &[&str], days: i64) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = Caller::NAMED.iter().map(|role| role.name()).chain(["localhost"]).map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = clock::now() - Duration::from_secs(10 * DAY.unsigned_abs());
        params.not_after = clock::now() + time::Duration::days(days);
        Pair(params.signed_by(&key, &self.authority).unwrap().pem(), key.serialize_pem())
    }

    /// Writes the certificate of a role.
    fn write(&self, role: Caller, Pair(certificate, key): &Pair) -> Files {
        let files = Files::of(self.path(), role);
        fs::write(&files.key, key).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&files.certificate, certificate).unwrap();
        files
    }

    /// A new certificate of a role.
    fn of(&self, role: Caller) -> Files {
        self.write(role, &self.pair(&[&uri_of(role)], 90))
    }

    fn tls(&self, mode: Mode, role: Caller) -> Option<Arc<Tls>> {
        (mode != Mode::Off).then(|| Arc::new(Tls::load(mode, role, self.of(role)).unwrap()))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path().join("ca.pem")).unwrap()).unwrap();
        roots
    }

    /// The TLS of a program that checks the server's DNS name, with or without a certificate.
    fn program(&self, pair: Option<&Pair>) -> ClientConfig {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(Pair(certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

/// rate-limit with a certificate; it stops when it is dropped.
struct Running {
    uri: http::Uri,
    address: std::net::SocketAddr,
    _stop: DropGuard,
}

async fn serve(tls: Option<Arc<Tls>>) -> Running {
    let listener = testing::listener().await;
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (_, keys) = tokio::sync::watch::channel(Vec::new());
    let verifier = Verifier::new(Caller::RateLimit, &testing::secret().with_tls(tls), Keys::Local(keys));
    let server = Server::new(Caller::RateLimit, Config::read(&mut Env::of([("BACKLOT_REFLECTION", "false")])), Arc::new(verifier), RULES);
    task::spawn(server.add_service(RateLimitServiceServer::new(Probe)).serve(listener, stop.clone()));
    Running { uri: format!("http://{address}").parse().unwrap(), address, _stop: stop.drop_guard() }
}

/// Calls `Check` as a role.
async fn check(me: Caller, tls: Option<Arc<Tls>>, server: &Running) -> Result<(), Status> {
    let channel = connect(me, Caller::RateLimit, &server.uri, &testing::secret().with_tls(tls));
    RateLimitServiceClient::new(channel).check(Context::background().request(CheckRequest::default())).await.map(drop)
}

/// A channel of a program with a TLS configuration of its own; plain if there is none.
fn channel(config: Option<ClientConfig>, server: &Running) -> Channel {
    let (address, config) = (server.address, config.map(Arc::new));
    let connector = service_fn(move |_: http::Uri| {
        let config = config.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            Ok::<_, std::io::Error>(TokioIo::new(match config {
                None => tokio_util::either::Either::Left(stream),
                Some(config) => {
                    let stream = TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await?;
                    tokio_util::either::Either::Right(stream)
                }
            }))
        }
    });
    Endpoint::from(server.uri.clone()).connect_with_connector_lazy(connector)
}

/// Calls `Check` with a text as the caller token.
async fn check_with(config: Option<ClientConfig>, token: Option<&str>, server: &Running) -> Result<(), Status> {
    let mut request = Request::new(CheckRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert(CALLER_HEADER, token.parse().unwrap());
    }
    RateLimitServiceClient::new(channel(config, server)).check(request).await.map(drop)
}

fn caller_token(from: Caller, to: Caller) -> String {
    Signer::new(from, &testing::secret()).sign(to, None).unwrap()
}

fn reason(result: Result<(), Status>) -> String {
    match result {
        Ok(()) => "accepted".to_owned(),
        // Every refusal of a service has details.
        Err(status) if status.details().is_empty() => "no connection".to_owned(),
        Err(status) => Fault::from_status(&status).reason,
    }
}

#[tokio::test]
async fn a18_only_the_role_of_a_caller_token_can_use_it() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = serve(ca.tls(Mode::Require, Caller::RateLimit)).await;
    let good = caller_token(Caller::Gateway, Caller::RateLimit);
    let pair = |role| ca.pair(&[&uri_of(role)], 90);
    let (gateway, compile) = (pair(Caller::Gateway), pair(Caller::Compile));
    let issuer = Issuer::start().await;
    let user = issuer.token(UserId::generate(), Plan::Pro);
    let elsewhere = caller_token(Caller::Gateway, Caller::Auth);
    let reflected = caller_token(Caller::RateLimit, Caller::Gateway);
    let now = clock::now().unix_timestamp().unsigned_abs();
    let ends = |exp| testing::caller_token_until(&testing::secret(), Caller::Gateway, Caller::RateLimit, exp);
    // Services tolerate a clock difference of half a minute.
    let (ended, tolerated) = (ends(now - 31), ends(now));
    for token in [&good, &tolerated] {
        assert_eq!(reason(check_with(Some(ca.program(Some(&gateway))), Some(token), &server).await), "accepted");
    }
    let cases = [
        ("without TLS", None, Some(&good), "no connection"),
        ("no certificate", Some(ca.program(None)), Some(&good), "TOKEN_INVALID"),
        ("the certificate of another role", Some(ca.program(Some(&compile))), Some(&good), "TOKEN_INVALID"),
        ("the certificate of the callee", Some(ca.program(Some(&pair(Caller::RateLimit)))), Some(&good), "TOKEN_INVALID"),
        ("the certificate of an operator", Some(ca.program(Some(&pair(Caller::Operator)))), Some(&good), "TOKEN_INVALID"),
        ("an expired certificate", Some(ca.program(Some(&ca.pair(&[&uri_of(Caller::Gateway)], -1)))), Some(&good), "no connection"),
        ("another CA", Some(ca.program(Some(&other.pair(&[&uri_of(Caller::Gateway)], 90)))), Some(&good), "no connection"),
        ("no name", Some(ca.program(Some(&ca.pair(&[], 90)))), Some(&good), "TOKEN_INVALID"),
        (
            "two names",
            Some(ca.program(Some(&ca.pair(&[&uri_of(Caller::Gateway), &uri_of(Caller::Auth)], 90)))),
            Some(&good),
            "TOKEN_INVALID",
        ),
        ("another cluster", Some(ca.program(Some(&ca.pair(&["spiffe://other/gateway"], 90)))), Some(&good), "TOKEN_INVALID"),
        ("a longer name", Some(ca.program(Some(&ca.pair(&["spiffe://backlot/gateway/x"], 90)))), Some(&good), "TOKEN_INVALID"),
        ("a user token as caller token", Some(ca.program(Some(&gateway))), Some(&user), "TOKEN_INVALID"),
        ("an expired caller token", Some(ca.program(Some(&gateway))), Some(&ended), "TOKEN_INVALID"),
        ("a token for another service", Some(ca.program(Some(&gateway))), Some(&elsewhere), "TOKEN_INVALID"),
        ("a reflected token", Some(ca.program(Some(&pair(Caller::RateLimit)))), Some(&reflected), "TOKEN_INVALID"),
        ("a reflected token of the caller", Some(ca.program(Some(&gateway))), Some(&reflected), "TOKEN_INVALID"),
        ("no caller token", Some(ca.program(Some(&gateway))), None, "CALLER_DENIED"),
    ];
    for (what, config, token, expected) in cases {
        assert_eq!(reason(check_with(config, token.map(String::as_str), &server).await), expected, "{what}");
    }
}

#[tokio::test]
async fn a18_no_changed_caller_token_is_accepted() {
    let (_, keys) = tokio::sync::watch::channel(Vec::new());
    let verifier = Verifier::new(Caller::RateLimit, &testing::secret(), Keys::Local(keys));
    let mut env = Env::of([("BACKLOT_ROLE_KEYS", testing::secret().bundle(Caller::Gateway).unwrap())]);
    let of_role_keys = Signer::new(Caller::Gateway, &ClusterSecret::read(&mut env, Caller::Gateway)).sign(Caller::RateLimit, None).unwrap();
    let accepted = |peer, token: &str| verifier.caller_of(peer, token).is_ok();
    for (good, has_two_signatures) in [(caller_token(Caller::Gateway, Caller::RateLimit), true), (of_role_keys, false)] {
        assert!(accepted(Peer::Role(Caller::Gateway), &good));
        for role in Caller::NAMED.into_iter().filter(|role| *role != Caller::Gateway) {
            assert!(!accepted(Peer::Role(role), &good) && !accepted(Peer::Unnamed, &good), "{role:?}");
        }
        for token in changed(&good) {
            // Of two signatures one covers the claims alone: the rest of the header says nothing that counts.
            let is_same = has_two_signatures && token.split('.').nth(1) == good.split('.').nth(1);
            assert!(is_same || !accepted(Peer::Role(Caller::Gateway), &token), "{token}");
        }
    }
}

/// The token with another character at each place, with a missing or a doubled one, and each cut.
fn changed(good: &str) -> impl Iterator<Item = String> {
    (0..good.len()).flat_map(move |at| {
        let (before, after) = (&good[..at], &good[at + 1..]);
        let others = b"ABZaz09-_.=".iter().map(|byte| char::from(*byte)).filter(move |c| !good[at..].starts_with(*c));
        let others = others.map(move |c| format!("{before}{c}{after}"));
        others.chain([format!("{before}{after}"), format!("{}{}", &good[..=at], &good[at..]), before.to_owned()])
    })
}

#[tokio::test]
async fn a_program_without_a_certificate_may_call_what_is_open_to_it() {
    let ca = Ca::new();
    let server = serve(ca.tls(Mode::Require, Caller::RateLimit)).await;
    let list =
        async |config| RateLimitServiceClient::new(channel(config, &server)).list_policies(ListPoliciesRequest::default()).await.map(drop);
    assert_eq!(reason(list(Some(ca.program(None))).await), "accepted");
    assert_eq!(reason(list(None).await), "no connection");
    assert_eq!(reason(list(Some(Ca::new().program(None))).await), "no connection", "the program does not know the CA");
}

#[tokio::test]
async fn a_client_accepts_only_the_role_that_it_calls() {
    let (ca, other) = (Ca::new(), Ca::new());
    let gateway = || ca.tls(Mode::Require, Caller::Gateway);
    let right = serve(ca.tls(Mode::Require, Caller::RateLimit)).await;
    assert_eq!(reason(check(Caller::Gateway, gateway(), &right).await), "accepted");
    for (what, tls) in [
        ("another role", ca.tls(Mode::Require, Caller::Compile)),
        ("another CA", other.tls(Mode::Require, Caller::RateLimit)),
        ("no TLS", None),
    ] {
        let server = serve(tls).await;
        assert_eq!(reason(check(Caller::Gateway, gateway(), &server).await), "no connection", "{what}");
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_whose_certificate_has_expired() {
    let ca = Ca::new();
    let Pair(certificate, key) = ca.pair(&[&uri_of(Caller::RateLimit)], -1);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
    let listener = testing::listener().await;
    let address = listener.local_addr().unwrap();
    let accepting = task::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(socket).await.map(drop)
    });
    let running = Running { uri: format!("http://{address}").parse().unwrap(), address, _stop: CancellationToken::new().drop_guard() };
    let result = check(Caller::Gateway, ca.tls(Mode::Require, Caller::Gateway), &running).await;
    assert_eq!(reason(result), "no connection");
    let error = accepting.await.unwrap().expect_err("the client ends the handshake").to_string();
    assert!(error.contains("CertificateExpired"), "{error}");
}

#[tokio::test]
async fn roles_of_neighbouring_steps_understand_each_other() {
    let ca = Ca::new();
    let steps = [Mode::Off, Mode::Accept, Mode::Prefer, Mode::Require];
    for (at, server_mode) in steps.into_iter().enumerate() {
        let server = serve(ca.tls(server_mode, Caller::RateLimit)).await;
        for (other, client_mode) in steps.into_iter().enumerate() {
            let result = check(Caller::Gateway, ca.tls(client_mode, Caller::Gateway), &server).await;
            if at.abs_diff(other) <= 1 {
                assert_eq!(reason(result), "accepted", "{client_mode:?} to {server_mode:?}");
            }
        }
        let plain = check(Caller::Gateway, None, &server).await;
        assert_eq!(plain.is_ok(), server_mode != Mode::Require, "without TLS to {server_mode:?}");
    }
}

/// The certificate that a server shows on a new connection.
async fn shown(ca: &Ca, server: &Running) -> CertificateDer<'static> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(ca.program(None))).connect(name, stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let ca = Ca::new();
    let (rate_limit, gateway) = (ca.tls(Mode::Require, Caller::RateLimit), ca.tls(Mode::Require, Caller::Gateway));
    let server = serve(rate_limit).await;
    let mut open =
        RateLimitServiceClient::new(connect(Caller::Gateway, Caller::RateLimit, &server.uri, &testing::secret().with_tls(gateway.clone())));
    let mut call = async || open.check(Context::background().request(CheckRequest::default())).await.map(drop);
    assert_eq!(reason(call().await), "accepted");
    let first = shown(&ca, &server).await;

    // The moment between the two files of a renewal.
    let files = Files::of(ca.path(), Caller::RateLimit);
    let next = ca.pair(&[&uri_of(Caller::RateLimit)], 365);
    fs::write(&files.key, &next.1).unwrap();
    assert_eq!(shown(&ca, &server).await, first);
    fs::write(&files.certificate, &next.0).unwrap();
    let second = shown(&ca, &server).await;
    assert_ne!(second, first);

    fs::write(&files.certificate, "not a certificate").unwrap();
    assert_eq!(shown(&ca, &server).await, second, "the last one that can be used stays");
    assert_eq!(reason(call().await), "accepted", "an open connection continues");
    // A client renews the same way: its next connection has the new certificate.
    ca.of(Caller::Gateway);
    assert_eq!(reason(check(Caller::Gateway, gateway, &server).await), "accepted");
}

#[tokio::test]
async fn a_role_does_not_start_with_a_certificate_that_others_would_refuse() {
    let ca = Ca::new();
    let load = |files: &Files| Tls::load(Mode::Require, Caller::Auth, files.clone()).map(drop);
    let good = ca.of(Caller::Auth);
    load(&good).unwrap();
    let with = |pair: &Pair| load(&ca.write(Caller::Auth, pair)).expect_err("refused");
    assert!(matches!(with(&ca.pair(&[&uri_of(Caller::Gateway)], 90)), LoadError::OtherName { .. }));
    assert!(matches!(with(&ca.pair(&[], 90)), LoadError::OtherName { .. }));
    let expired = with(&ca.pair(&[&uri_of(Caller::Auth)], -1));
    assert!(matches!(expired, LoadError::Refused { .. }) && expired.to_string().contains("expired"), "{expired}");
    assert!(matches!(with(&Ca::new().pair(&[&uri_of(Caller::Auth)], 90)), LoadError::Refused { .. }));
    let (mine, other) = (ca.pair(&[&uri_of(Caller::Auth)], 90), ca.pair(&[&uri_of(Caller::Auth)], 90));
    assert!(matches!(with(&Pair(mine.0, other.1)), LoadError::Refused { .. }), "the key of another certificate");
    assert!(matches!(with(&Pair("-".into(), "-".into())), LoadError::Unreadable { .. }));
    let files = ca.of(Caller::Auth);
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(load(&files).expect_err("refused"), LoadError::OpenKey(_)));
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(load(&files).expect_err("refused"), LoadError::Missing(_)));
}
