//! Starts the services of a test, and clients that call auth as the gateway, as another service or as a program.

use std::{net::IpAddr, sync::Arc, time::Duration};

use chassis::{
    client::{self, ServiceChannel},
    config::Env,
    context::Context,
    identity::Caller,
    secret::ClusterSecret,
    task,
    testing::{self, TestDatabase},
};
use proto::{
    auth::{
        CreateAccessTokenRequest, CreateAccessTokenResponse, CreateRefreshTokenRequest, CreateRefreshTokenResponse, GetSessionRequest,
        GetSessionResponse, ListSessionsRequest, Session, SignInRequest, SignInResponse, SignOutRequest, SignUpRequest, SignUpResponse,
        auth_service_client::AuthServiceClient,
    },
    error::Fault,
};
use rate_limit::Policies;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, transport::Channel};

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const SECRET: &str = "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7";
const WIDE_LIMITS: &str = "policies: [{name: auth, limit: 10000, window: 1s}, {name: auth-account, limit: 10000, window: 1s}, \
                     {name: auth-guess, limit: 10000, window: 1s}, {name: auth-stuffing, limit: 10000, window: 1s}, \
                     {name: service-accounts, limit: 10000, window: 1s}, {name: general, limit: 10000, window: 1s}]";

/// A database and rate-limit, for any number of replicas of auth.
pub(crate) struct Cluster {
    pub(crate) database: TestDatabase,
    rate_limit_url: String,
    _rate_limit: DropGuard,
}

/// Settings of one replica besides [`CHEAP`].
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a>(pub(crate) &'a [(&'a str, &'a str)]);

const CHEAP: [(&str, &str); 3] =
    [("BACKLOT_ARGON2_MEMORY_KIB", "64"), ("BACKLOT_ARGON2_ITERATIONS", "1"), ("BACKLOT_INSECURE_HASHES", "1")];

/// A running replica. It stops when it and all its clients are dropped.
pub(crate) struct Replica {
    pub(crate) uri: http::Uri,
    pub(crate) stop: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<Result<(), auth::ServeError>>,
    running: Arc<DropGuard>,
}

impl Cluster {
    /// With limits that no test reaches.
    pub(crate) async fn start() -> Self {
        Self::with_policies(Policies::shipped().with(WIDE_LIMITS).expect("policies")).await
    }

    pub(crate) async fn with_policies(policies: Policies) -> Self {
        let database = testing::postgres(&auth::testing::MIGRATOR).await;
        let listener = testing::listener().await;
        let rate_limit_url = format!("http://{}", listener.local_addr().expect("address"));
        let mut env = Env::of([("BACKLOT_CLUSTER_SECRET", SECRET)]);
        let mut config = rate_limit::Config::read(&mut env);
        config.policies = policies;
        let stop = CancellationToken::new();
        task::spawn(rate_limit::serve(config, listener, stop.clone()));
        Self { database, rate_limit_url, _rate_limit: stop.drop_guard() }
    }

    pub(crate) async fn auth(&self) -> Replica {
        self.auth_with(Settings(&[])).await
    }

    pub(crate) async fn auth_with(&self, settings: Settings<'_>) -> Replica {
        let base = [
            ("BACKLOT_AUTH_DATABASE_URL", self.database.url.as_str()),
            ("BACKLOT_CLUSTER_SECRET", SECRET),
            ("BACKLOT_RATE_LIMIT_URL", self.rate_limit_url.as_str()),
            ("BACKLOT_DATABASE_CONNECTIONS", "4"),
        ];
        let mut env = Env::of(base.iter().chain(&CHEAP).chain(settings.0).copied());
        let config = auth::Config::read(&mut env);
        env.check().expect("settings");
        let listener = testing::listener().await;
        let uri = format!("http://{}", listener.local_addr().expect("address")).parse().expect("uri");
        let stop = CancellationToken::new();
        let served = task::spawn(auth::serve(config, listener, stop.clone()));
        Replica { uri, stop: stop.clone(), served, running: Arc::new(stop.drop_guard()) }
    }
}

/// A client of one replica that calls for a client address.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) client: AuthServiceClient<ServiceChannel>,
    context: Context,
    _running: Arc<DropGuard>,
}

impl Replica {
    /// Calls as the gateway, for a client at 192.0.2.1.
    pub(crate) fn gateway(&self) -> Client {
        self.gateway_for("192.0.2.1")
    }

    pub(crate) fn gateway_for(&self, address: &str) -> Client {
        self.called_by(Caller::Gateway, Some(address.parse().expect("address")))
    }

    pub(crate) fn called_by(&self, caller: Caller, client_address: Option<IpAddr>) -> Client {
        self.client(caller, client_address, &ClusterSecret::of_bytes(SECRET.as_bytes()))
    }

    /// Calls with another cluster secret, for a client at 192.0.2.1.
    pub(crate) fn with_secret(&self, caller: Caller, secret: &ClusterSecret) -> Client {
        self.client(caller, Some("192.0.2.1".parse().expect("address")), secret)
    }

    fn client(&self, caller: Caller, client_address: Option<IpAddr>, secret: &ClusterSecret) -> Client {
        Client {
            client: AuthServiceClient::new(client::connect(caller, Caller::Auth, &self.uri, secret)),
            context: Context { client_address, ..Context::background() },
            _running: Arc::clone(&self.running),
        }
    }

    /// Calls without a caller token, as a program does.
    pub(crate) fn direct(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(Channel::builder(self.uri.clone()).connect_lazy())
    }
}

impl Client {
    /// The same connection, for a client at another address.
    pub(crate) fn at(&self, address: &str) -> Self {
        let client_address = Some(address.parse().expect("address"));
        Self { context: Context { client_address, ..self.context.clone() }, ..self.clone() }
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        self.context.request(message)
    }

    pub(crate) async fn sign_up(&self, email: &str, password: &str) -> Result<SignUpResponse, Box<Fault>> {
        let message = SignUpRequest { email: email.into(), password: password.into(), display_name: String::new(), ..Default::default() };
        answer(self.client.clone().sign_up(self.request(message)).await)
    }

    /// Signs up. Returns the access token of the session.
    pub(crate) async fn signed_up(&self, email: &str) -> String {
        let account = self.sign_up(email, PASSWORD).await.expect("account");
        self.exchange(&account.session_token).await.expect("token").access_token
    }

    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Result<SignInResponse, Box<Fault>> {
        let message = SignInRequest { email: email.into(), password: password.into(), ..Default::default() };
        answer(self.client.clone().sign_in(self.request(message)).await)
    }

    pub(crate) async fn sign_out(&self, session_token: &str) -> Result<(), Box<Fault>> {
        let message = SignOutRequest { session_token: session_token.into() };
        answer(self.client.clone().sign_out(self.request(message)).await).map(drop)
    }

    pub(crate) async fn exchange(&self, session_token: &str) -> Result<CreateAccessTokenResponse, Box<Fault>> {
        let message = CreateAccessTokenRequest { session_token: session_token.into(), ..Default::default() };
        answer(self.client.clone().create_access_token(self.request(message)).await)
    }

    pub(crate) async fn exchange_key(&self, key: &str) -> Result<CreateAccessTokenResponse, Box<Fault>> {
        let message = CreateAccessTokenRequest { api_key: key.into(), ..Default::default() };
        answer(self.client.clone().create_access_token(self.request(message)).await)
    }

    /// A request with an access token.
    pub(crate) fn authorized<T>(&self, message: T, access_token: &str) -> Request<T> {
        with_token(self.request(message), access_token)
    }

    pub(crate) async fn sessions(&self, access_token: &str) -> Result<Vec<Session>, Box<Fault>> {
        let request = self.authorized(ListSessionsRequest {}, access_token);
        answer(self.client.clone().list_sessions(request).await).map(|answer| answer.sessions)
    }

    /// Starts a program.
    pub(crate) async fn refresh_token(&self, access_token: &str) -> Result<CreateRefreshTokenResponse, Box<Fault>> {
        let request = self.authorized(CreateRefreshTokenRequest::default(), access_token);
        answer(self.client.clone().create_refresh_token(request).await)
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<CreateAccessTokenResponse, Box<Fault>> {
        let message = CreateAccessTokenRequest { refresh_token: refresh_token.into(), ..Default::default() };
        answer(self.client.clone().create_access_token(self.request(message)).await)
    }

    pub(crate) async fn session(&self, access_token: &str) -> Result<GetSessionResponse, Box<Fault>> {
        answer(self.client.clone().get_session(with_token(self.request(GetSessionRequest {}), access_token)).await)
    }
}

/// Adds an access token to the request.
pub(crate) fn with_token<T>(mut request: Request<T>, access_token: &str) -> Request<T> {
    request.metadata_mut().insert("authorization", format!("Bearer {access_token}").parse().expect("text"));
    request
}

/// The secret with another last character.
pub(crate) fn mistyped(secret: &str) -> String {
    let mut other = secret.to_owned();
    let last = other.pop().expect("not empty");
    other.push(if last == 'A' { 'B' } else { 'A' });
    other
}

pub(crate) fn answer<T>(result: Result<Response<T>, Status>) -> Result<T, Box<Fault>> {
    result.map(Response::into_inner).map_err(|status| Box::new(Fault::from_status(&status)))
}

/// The output of a future that must end within a minute.
pub(crate) async fn within_a_minute<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}
