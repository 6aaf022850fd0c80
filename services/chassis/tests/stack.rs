//! The middleware of the gRPC server, and the channel to it, from the view of a client.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chassis::{
    client::{ServiceChannel, connect},
    config::Env,
    context::Context,
    identity::{Caller, Grant},
    server::{Config, Rule, Scope, Server, Size::Ordinary},
    task,
    testing::{self, eventually},
    verifier::{Keys, Verifier},
};
use futures::{Stream, StreamExt as _, future::join_all};
use proto::{
    auth::{
        ConfirmPasswordResetRequest, ConfirmPasswordResetResponse, CreateAccessTokenRequest, CreateAccessTokenResponse, GetKeySetRequest,
        GetKeySetResponse, GetSessionRequest, GetSessionResponse, JsonWebKey, RequestPasswordResetRequest, RequestPasswordResetResponse,
        SendVerificationRequest, SendVerificationResponse, SignInRequest, SignInResponse, SignOutRequest, SignOutResponse, SignUpRequest,
        SignUpResponse, VerifyEmailRequest, VerifyEmailResponse, WatchRevocationsRequest, WatchRevocationsResponse,
        auth_service_client::AuthServiceClient,
        auth_service_server::{AuthService, AuthServiceServer},
    },
    error::Fault,
    id::UserId,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tracing::field::{Field, Visit};

const LIMIT: Duration = Duration::from_secs(20);
const OPEN: &[Caller] = &[Caller::Gateway];
const RULES: &[Rule] = &[
    Rule { rpc: "SignUp", callers: OPEN, user: false, scope: Scope::Open, size: Ordinary },
    Rule { rpc: "SignIn", callers: OPEN, user: false, scope: Scope::Open, size: Ordinary },
    Rule { rpc: "GetKeySet", callers: &[Caller::Gateway, Caller::Direct], user: false, scope: Scope::Open, size: Ordinary },
    Rule { rpc: "GetSession", callers: OPEN, user: true, scope: Scope::Account, size: Ordinary },
    Rule { rpc: "SignOut", callers: &[Caller::Gateway, Caller::Direct], user: true, scope: Scope::AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "WatchRevocations", callers: OPEN, user: false, scope: Scope::Open, size: Ordinary },
];

/// Handlers that panic, never answer, or stream without end.
struct Probe {
    cursor: watch::Receiver<u64>,
}

#[tonic::async_trait]
impl AuthService for Probe {
    type ExportAccountStream = futures::stream::Empty<Result<proto::auth::ExportAccountResponse, Status>>;

    type WatchRevocationsStream = Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    async fn sign_up(&self, _: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        panic!("with hunter2 in it")
    }

    /// Never answers.
    async fn sign_in(&self, _: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        std::future::pending().await
    }

    /// Answers with the milliseconds until its deadline.
    async fn get_key_set(&self, request: Request<GetKeySetRequest>) -> Result<Response<GetKeySetResponse>, Status> {
        let deadline = Context::of(&request).deadline;
        let left = deadline.map_or_else(String::new, |at| at.saturating_duration_since(Instant::now()).as_millis().to_string());
        Ok(Response::new(GetKeySetResponse { keys: vec![JsonWebKey { kid: left, ..JsonWebKey::default() }] }))
    }

    /// Streams every value of the cursor.
    async fn watch_revocations(&self, _: Request<WatchRevocationsRequest>) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        let message = |cursor| Ok(WatchRevocationsResponse { cursor, ..WatchRevocationsResponse::default() });
        Ok(Response::new(Box::pin(WatchStream::new(self.cursor.clone()).map(message))))
    }

    async fn get_session(&self, _: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        Ok(Response::new(GetSessionResponse::default()))
    }

    async fn sign_out(&self, _: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        Ok(Response::new(SignOutResponse::default()))
    }

    async fn create_access_token(&self, _: Request<CreateAccessTokenRequest>) -> Result<Response<CreateAccessTokenResponse>, Status> {
        Ok(Response::new(CreateAccessTokenResponse::default()))
    }

    async fn list_sessions(
        &self,
        _: Request<proto::auth::ListSessionsRequest>,
    ) -> Result<Response<proto::auth::ListSessionsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn revoke_session(
        &self,
        _: Request<proto::auth::RevokeSessionRequest>,
    ) -> Result<Response<proto::auth::RevokeSessionResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn revoke_sessions(
        &self,
        _: Request<proto::auth::RevokeSessionsRequest>,
    ) -> Result<Response<proto::auth::RevokeSessionsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn change_password(
        &self,
        _: Request<proto::auth::ChangePasswordRequest>,
    ) -> Result<Response<proto::auth::ChangePasswordResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn verify_sign_in(
        &self,
        _: Request<proto::auth::VerifySignInRequest>,
    ) -> Result<Response<proto::auth::VerifySignInResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn get_factors(&self, _: Request<proto::auth::GetFactorsRequest>) -> Result<Response<proto::auth::GetFactorsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn start_totp(&self, _: Request<proto::auth::StartTotpRequest>) -> Result<Response<proto::auth::StartTotpResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn confirm_totp(
        &self,
        _: Request<proto::auth::ConfirmTotpRequest>,
    ) -> Result<Response<proto::auth::ConfirmTotpResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn delete_totp(&self, _: Request<proto::auth::DeleteTotpRequest>) -> Result<Response<proto::auth::DeleteTotpResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn create_recovery_codes(
        &self,
        _: Request<proto::auth::CreateRecoveryCodesRequest>,
    ) -> Result<Response<proto::auth::CreateRecoveryCodesResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn start_passkey_ceremony(
        &self,
        _: Request<proto::auth::StartPasskeyCeremonyRequest>,
    ) -> Result<Response<proto::auth::StartPasskeyCeremonyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn create_passkey(
        &self,
        _: Request<proto::auth::CreatePasskeyRequest>,
    ) -> Result<Response<proto::auth::CreatePasskeyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_passkeys(
        &self,
        _: Request<proto::auth::ListPasskeysRequest>,
    ) -> Result<Response<proto::auth::ListPasskeysResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn rename_passkey(
        &self,
        _: Request<proto::auth::RenamePasskeyRequest>,
    ) -> Result<Response<proto::auth::RenamePasskeyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn delete_passkey(
        &self,
        _: Request<proto::auth::DeletePasskeyRequest>,
    ) -> Result<Response<proto::auth::DeletePasskeyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn sign_in_with_passkey(
        &self,
        _: Request<proto::auth::SignInWithPasskeyRequest>,
    ) -> Result<Response<proto::auth::SignInWithPasskeyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn step_up(&self, _: Request<proto::auth::StepUpRequest>) -> Result<Response<proto::auth::StepUpResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn create_refresh_token(
        &self,
        _: Request<proto::auth::CreateRefreshTokenRequest>,
    ) -> Result<Response<proto::auth::CreateRefreshTokenResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn create_api_key(
        &self,
        _: Request<proto::auth::CreateApiKeyRequest>,
    ) -> Result<Response<proto::auth::CreateApiKeyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_api_keys(
        &self,
        _: Request<proto::auth::ListApiKeysRequest>,
    ) -> Result<Response<proto::auth::ListApiKeysResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn delete_api_key(
        &self,
        _: Request<proto::auth::DeleteApiKeyRequest>,
    ) -> Result<Response<proto::auth::DeleteApiKeyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn create_service_account(
        &self,
        _: Request<proto::auth::CreateServiceAccountRequest>,
    ) -> Result<Response<proto::auth::CreateServiceAccountResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_service_accounts(
        &self,
        _: Request<proto::auth::ListServiceAccountsRequest>,
    ) -> Result<Response<proto::auth::ListServiceAccountsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn update_service_account(
        &self,
        _: Request<proto::auth::UpdateServiceAccountRequest>,
    ) -> Result<Response<proto::auth::UpdateServiceAccountResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn delete_service_account(
        &self,
        _: Request<proto::auth::DeleteServiceAccountRequest>,
    ) -> Result<Response<proto::auth::DeleteServiceAccountResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn start_device_sign_in(
        &self,
        _: Request<proto::auth::StartDeviceSignInRequest>,
    ) -> Result<Response<proto::auth::StartDeviceSignInResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn get_device_sign_in(
        &self,
        _: Request<proto::auth::GetDeviceSignInRequest>,
    ) -> Result<Response<proto::auth::GetDeviceSignInResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn decide_device_sign_in(
        &self,
        _: Request<proto::auth::DecideDeviceSignInRequest>,
    ) -> Result<Response<proto::auth::DecideDeviceSignInResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn exchange_device_code(
        &self,
        _: Request<proto::auth::ExchangeDeviceCodeRequest>,
    ) -> Result<Response<proto::auth::ExchangeDeviceCodeResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn record_access_token_use(
        &self,
        _: Request<proto::auth::RecordAccessTokenUseRequest>,
    ) -> Result<Response<proto::auth::RecordAccessTokenUseResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_providers(
        &self,
        _: Request<proto::auth::ListProvidersRequest>,
    ) -> Result<Response<proto::auth::ListProvidersResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn start_provider_sign_in(
        &self,
        _: Request<proto::auth::StartProviderSignInRequest>,
    ) -> Result<Response<proto::auth::StartProviderSignInResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn finish_provider_sign_in(
        &self,
        _: Request<proto::auth::FinishProviderSignInRequest>,
    ) -> Result<Response<proto::auth::FinishProviderSignInResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_identities(
        &self,
        _: Request<proto::auth::ListIdentitiesRequest>,
    ) -> Result<Response<proto::auth::ListIdentitiesResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn unlink_identity(
        &self,
        _: Request<proto::auth::UnlinkIdentityRequest>,
    ) -> Result<Response<proto::auth::UnlinkIdentityResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn delete_account(
        &self,
        _: Request<proto::auth::DeleteAccountRequest>,
    ) -> Result<Response<proto::auth::DeleteAccountResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_account_deletions(
        &self,
        _: Request<proto::auth::ListAccountDeletionsRequest>,
    ) -> Result<Response<proto::auth::ListAccountDeletionsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn acknowledge_account_deletions(
        &self,
        _: Request<proto::auth::AcknowledgeAccountDeletionsRequest>,
    ) -> Result<Response<proto::auth::AcknowledgeAccountDeletionsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn export_account(&self, _: Request<proto::auth::ExportAccountRequest>) -> Result<Response<Self::ExportAccountStream>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn verify_email(&self, _: Request<VerifyEmailRequest>) -> Result<Response<VerifyEmailResponse>, Status> {
        Ok(Response::new(VerifyEmailResponse::default()))
    }

    async fn send_verification(&self, _: Request<SendVerificationRequest>) -> Result<Response<SendVerificationResponse>, Status> {
        Ok(Response::new(SendVerificationResponse::default()))
    }

    async fn request_password_reset(
        &self,
        _: Request<RequestPasswordResetRequest>,
    ) -> Result<Response<RequestPasswordResetResponse>, Status> {
        Ok(Response::new(RequestPasswordResetResponse::default()))
    }

    async fn get_link(&self, _: Request<proto::auth::GetLinkRequest>) -> Result<Response<proto::auth::GetLinkResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn remove_new_factor(
        &self,
        _: Request<proto::auth::RemoveNewFactorRequest>,
    ) -> Result<Response<proto::auth::RemoveNewFactorResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn change_email(
        &self,
        _: Request<proto::auth::ChangeEmailRequest>,
    ) -> Result<Response<proto::auth::ChangeEmailResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn get_email_change(
        &self,
        _: Request<proto::auth::GetEmailChangeRequest>,
    ) -> Result<Response<proto::auth::GetEmailChangeResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn confirm_email_change(
        &self,
        _: Request<proto::auth::ConfirmEmailChangeRequest>,
    ) -> Result<Response<proto::auth::ConfirmEmailChangeResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn confirm_password_reset(
        &self,
        _: Request<ConfirmPasswordResetRequest>,
    ) -> Result<Response<ConfirmPasswordResetResponse>, Status> {
        Ok(Response::new(ConfirmPasswordResetResponse::default()))
    }
}

struct Service {
    uri: http::Uri,
    cursor: watch::Sender<u64>,
    _stop: DropGuard,
}

impl Service {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::with_keys(settings, Vec::new()).await
    }

    /// Accepts the access tokens of these keys.
    async fn with_keys(settings: &[(&str, &str)], keys: Vec<JsonWebKey>) -> Self {
        Self::on(testing::listener().await, settings, keys)
    }

    /// Serves on a listener, which its clients reach over the loopback interface.
    fn on(listener: TcpListener, settings: &[(&str, &str)], keys: Vec<JsonWebKey>) -> Self {
        chassis::install_crypto();
        let config = Config::read(&mut Env::of(settings.iter().copied()));
        let (_, keys) = watch::channel(keys);
        let verifier = Arc::new(Verifier::new(Caller::Auth, &testing::secret(), Keys::Local(keys)));
        let uri = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let (stop, cursor) = (CancellationToken::new(), watch::Sender::new(0));
        let service =
            AuthServiceServer::new(Probe { cursor: cursor.subscribe() }).accept_compressed(tonic::codec::CompressionEncoding::Gzip);
        task::spawn(Server::new(Caller::Auth, config, verifier, RULES).add_service(service).serve(listener, stop.clone()));
        Self { uri, cursor, _stop: stop.drop_guard() }
    }

    fn called_by(&self, caller: Caller) -> AuthServiceClient<ServiceChannel> {
        AuthServiceClient::new(connect(caller, Caller::Auth, &self.uri, &testing::secret()))
    }

    async fn plain(&self) -> tonic::transport::Channel {
        tonic::transport::Endpoint::from(self.uri.clone()).connect().await.unwrap()
    }
}

fn context(time: Duration) -> Context {
    Context { deadline: Some(Instant::now() + time), ..Context::background() }
}

/// A request with this `grpc-timeout`.
fn within<T>(time: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", time.parse().unwrap());
    request
}

fn code_and_reason(status: &Status) -> (Code, String) {
    (status.code(), Fault::from_status(status).reason)
}

#[tokio::test]
async fn a_panic_is_an_internal_error_without_details() {
    let service = Service::start(&[]).await;
    let status = service.called_by(Caller::Gateway).sign_up(SignUpRequest::default()).await.unwrap_err();
    assert_eq!(code_and_reason(&status), (Code::Internal, "INTERNAL".into()));
    assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
    service.called_by(Caller::Gateway).get_key_set(GetKeySetRequest {}).await.expect("the server lives");
}

#[tokio::test]
async fn a_deadline_is_passed_on_less_fifty_milliseconds_and_ends_a_handler() {
    let service = Service::start(&[]).await;
    let mut client = service.called_by(Caller::Gateway);
    let answer = client.get_key_set(context(Duration::from_secs(5)).request(GetKeySetRequest {})).await.unwrap();
    let left: u64 = answer.get_ref().keys[0].kid.parse().unwrap();
    assert!((1_000..=4_950).contains(&left), "{left} ms");
    let answer = client.get_key_set(Context::background().request(GetKeySetRequest {})).await.unwrap();
    assert!(answer.get_ref().keys[0].kid.parse::<u64>().unwrap() <= 10_000, "a call without a deadline gets one");
    let answer = client.get_key_set(Context::background().stream_request(GetKeySetRequest {})).await.unwrap();
    assert_eq!(answer.get_ref().keys[0].kid, "", "a stream without a deadline may last");

    let status = tokio::time::timeout(LIMIT, client.sign_in(within("100m", SignInRequest::default()))).await.unwrap().unwrap_err();
    assert_eq!(code_and_reason(&status), (Code::DeadlineExceeded, "TIMEOUT".into()), "{status:?}");
}

#[tokio::test]
async fn a_deadline_ends_an_open_stream() {
    let service = Service::start(&[]).await;
    assert_stream_ends(service.called_by(Caller::Gateway)).await;
}

/// The deadline leaves a busy machine enough time to open the stream.
async fn assert_stream_ends(mut client: AuthServiceClient<ServiceChannel>) {
    let request = within("2S", WatchRevocationsRequest::default());
    let mut stream = client.watch_revocations(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().cursor, 0);
    let status = tokio::time::timeout(LIMIT, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(code_and_reason(&status), (Code::DeadlineExceeded, "TIMEOUT".into()));
}

/// The servers do not have the middleware, so only the timers of the transport and of the caller apply.
#[tokio::test]
async fn a_deadline_gives_the_same_status_without_the_middleware() {
    chassis::install_crypto();
    let (silent, bare) = (testing::listener().await, testing::listener().await);
    let of = |listener: &tokio::net::TcpListener| {
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        AuthServiceClient::new(connect(Caller::Gateway, Caller::Auth, &uri, &testing::secret()))
    };
    let (mut of_silent, mut of_bare) = (of(&silent), of(&bare));
    let cursor = watch::Sender::new(0);
    let server = tonic::transport::Server::builder().add_service(AuthServiceServer::new(Probe { cursor: cursor.subscribe() }));
    let serving = task::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(bare)));
    for (what, client) in [("silent", &mut of_silent), ("bare", &mut of_bare)] {
        let status = tokio::time::timeout(LIMIT, client.sign_in(within("100m", SignInRequest::default()))).await.unwrap().unwrap_err();
        assert_eq!(code_and_reason(&status), (Code::DeadlineExceeded, "TIMEOUT".into()), "{what}: {status:?}");
    }
    assert_stream_ends(of_bare).await;
    serving.abort();
}

#[tokio::test]
async fn requests_without_a_slot_are_shed() {
    let service = Service::start(&[("BACKLOT_MAX_CONCURRENT_REQUESTS", "1")]).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(
            service
                .called_by(Caller::Gateway)
                .watch_revocations(WatchRevocationsRequest::default())
                .await
                .expect("an open stream has no slot"),
        );
    }
    let mut busy = service.called_by(Caller::Gateway);
    let busy = task::spawn(async move { busy.sign_in(SignInRequest::default()).await });
    let mut stranger = AuthServiceClient::new(service.plain().await);
    let status = eventually(LIMIT, || {
        let mut stranger = stranger.clone();
        async move { stranger.get_key_set(GetKeySetRequest {}).await.err().filter(|status| status.code() == Code::Unavailable) }
    })
    .await;
    let fault = Fault::from_status(&status);
    assert_eq!((fault.reason.as_str(), fault.retry_after), ("OVERLOADED", Some(Duration::from_secs(1))));
    busy.abort();
    eventually(LIMIT, || {
        let mut stranger = stranger.clone();
        async move { stranger.get_key_set(GetKeySetRequest {}).await.ok() }
    })
    .await;
    stranger.get_key_set(GetKeySetRequest {}).await.expect("the slot is free again");
}

#[tokio::test]
async fn the_access_table_is_enforced() {
    let service = Service::start(&[]).await;
    let mut stranger = AuthServiceClient::new(service.plain().await);
    stranger.get_key_set(GetKeySetRequest {}).await.expect("allowed for direct callers");
    let denied = stranger.watch_revocations(WatchRevocationsRequest::default()).await.unwrap_err();
    assert_eq!(code_and_reason(&denied), (Code::PermissionDenied, "CALLER_DENIED".into()));
    let other = service.called_by(Caller::ProjectStorage).watch_revocations(WatchRevocationsRequest::default()).await.unwrap_err();
    assert_eq!(code_and_reason(&other), (Code::PermissionDenied, "CALLER_DENIED".into()));
    let anonymous = service.called_by(Caller::Gateway).get_session(GetSessionRequest {}).await.unwrap_err();
    assert_eq!(code_and_reason(&anonymous), (Code::Unauthenticated, "TOKEN_MISSING".into()));
    let without_a_row = service.called_by(Caller::Gateway).create_access_token(CreateAccessTokenRequest::default()).await.unwrap_err();
    assert_eq!(code_and_reason(&without_a_row), (Code::Unimplemented, "UNIMPLEMENTED".into()));
}

/// Collects the fields of refused calls.
struct Refusals(Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl tracing::Subscriber for Refusals {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.0.get("message").is_some_and(|text| text == "a call was refused") {
            self.0.lock().unwrap().push(fields.0);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_refused_call_that_passes_no_gateway_is_a_line() {
    let lines: Arc<Mutex<Vec<BTreeMap<&'static str, String>>>> = Arc::default();
    // With a single subscriber, a callsite that another test reaches first is switched off for this one, too.
    let _second = tracing::Dispatch::new(Refusals(Arc::default()));
    // For this thread, which runs the service, too.
    let _guard = tracing::subscriber::set_default(Refusals(Arc::clone(&lines)));
    let issuer = testing::Issuer::start().await;
    let service = Service::with_keys(&[], vec![issuer.public()]).await;
    let mut stranger = AuthServiceClient::new(service.plain().await);
    stranger.get_key_set(GetKeySetRequest {}).await.expect("allowed");
    stranger.watch_revocations(WatchRevocationsRequest::default()).await.unwrap_err();
    stranger.get_key_set(bearer(GetKeySetRequest {}, "no.token.at-all")).await.unwrap_err();
    let user = UserId::generate();
    let token = issuer.token_of_key(user, serde_json::Map::new(), &Grant { can_write: true, projects: None });
    stranger.sign_out(bearer(SignOutRequest::default(), &token)).await.unwrap_err();
    raw(&service, "/backlot.auth.v1.AuthService/%0aNothing", &[], framed(false, &[])).await;
    service.called_by(Caller::ProjectStorage).watch_revocations(WatchRevocationsRequest::default()).await.unwrap_err();
    service.called_by(Caller::Gateway).get_session(GetSessionRequest {}).await.expect_err("the gateway logs the request");

    let lines = lines.lock().unwrap();
    let field = |line: &BTreeMap<&'static str, String>, name: &str| line.get(name).cloned().unwrap_or_default();
    let found: Vec<_> = lines.iter().map(|line| ["rpc", "caller", "user", "reason"].map(|name| field(line, name))).collect();
    let expected = [
        ["backlot.auth.v1.AuthService/WatchRevocations", "direct", "", "CALLER_DENIED"],
        ["backlot.auth.v1.AuthService/GetKeySet", "direct", "", "TOKEN_INVALID"],
        ["backlot.auth.v1.AuthService/SignOut", "direct", &user.to_string(), "SCOPE_REQUIRED"],
        ["_OTHER", "direct", "", "UNIMPLEMENTED"],
        ["backlot.auth.v1.AuthService/WatchRevocations", "project-storage", "", "CALLER_DENIED"],
    ]
    .map(|row| row.map(str::to_owned));
    assert_eq!(found, expected);
    assert!(lines.iter().all(|line| line["address"] == "127.0.0.1"), "{lines:?}");
}

#[tokio::test]
async fn an_operator_who_acts_for_a_person_may_read_the_account_and_not_change_it() {
    let issuer = testing::Issuer::start().await;
    let service = Service::with_keys(&[], vec![issuer.public()]).await;
    let (person, impersonated) = (serde_json::Map::new(), serde_json::Map::from_iter([chassis::identity::actor("ada")]));
    for (claims, refusal) in [(person, None), (impersonated, Some((Code::PermissionDenied, "IMPERSONATED".to_owned())))] {
        let token = issuer.token(UserId::generate(), claims);
        let mut gateway = service.called_by(Caller::Gateway);
        gateway.get_session(bearer(GetSessionRequest {}, &token)).await.expect("reads");
        let changed = gateway.sign_out(bearer(SignOutRequest::default(), &token)).await;
        assert_eq!(changed.err().map(|status| code_and_reason(&status)), refusal);
    }
}

#[tokio::test]
async fn a_key_may_do_nothing_with_the_account() {
    let issuer = testing::Issuer::start().await;
    let service = Service::with_keys(&[], vec![issuer.public()]).await;
    let mut gateway = service.called_by(Caller::Gateway);
    for can_write in [false, true] {
        let grant = Grant { can_write, projects: None };
        let token = issuer.token_of_key(UserId::generate(), serde_json::Map::new(), &grant);
        let reads = gateway.get_session(bearer(GetSessionRequest {}, &token)).await.unwrap_err();
        let changes = gateway.sign_out(bearer(SignOutRequest::default(), &token)).await.unwrap_err();
        for refused in [reads, changes] {
            assert_eq!(code_and_reason(&refused), (Code::PermissionDenied, "SCOPE_REQUIRED".into()));
        }
        gateway.get_key_set(bearer(GetKeySetRequest {}, &token)).await.expect("open to everybody");
    }
}

#[tokio::test]
async fn a_session_without_a_required_factor_is_refused_before_the_handler() {
    let issuer = testing::Issuer::start().await;
    let service = Service::with_keys(&[], vec![issuer.public()]).await;
    let mut gateway = service.called_by(Caller::Gateway);
    let token = issuer.token(UserId::generate(), serde_json::Map::from_iter([chassis::identity::missing_factor_claim()]));
    let refused = gateway.get_session(bearer(GetSessionRequest {}, &token)).await.unwrap_err();
    assert_eq!(code_and_reason(&refused), (Code::PermissionDenied, "SECOND_FACTOR_MISSING".into()));
    gateway.get_key_set(bearer(GetKeySetRequest {}, &token)).await.expect("open to everybody");
    gateway.sign_out(bearer(SignOutRequest::default(), &token)).await.expect("the person may leave");
}

fn bearer<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Calls a path with these headers and raw bytes. Returns the trailers, or the headers of a response without a body.
async fn raw(service: &Service, path: &str, headers: &[(&'static str, &'static str)], body: Vec<u8>) -> http::HeaderMap {
    let mut request = http::Request::post(format!("{}{path}", service.uri.to_string().trim_end_matches('/')))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = tonic::body::Body::new(http_body_util::Full::new(bytes::Bytes::from(body)));
    let mut channel = service.plain().await;
    let response = tower::ServiceExt::ready(&mut channel).await.unwrap();
    let response = tower::Service::call(response, request.body(body).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = http_body_util::BodyExt::collect(body).await.unwrap().trailers().cloned().unwrap_or_default();
    if head.headers.contains_key("grpc-status") { head.headers } else { trailers }
}

/// A message with the prefix of the protocol.
fn framed(compressed: bool, bytes: &[u8]) -> Vec<u8> {
    [&[u8::from(compressed)], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Path, headers, body, code and reason.
type RawCase = (&'static str, &'static [(&'static str, &'static str)], Vec<u8>, Code, &'static str);

#[tokio::test]
async fn unknown_rpcs_and_encodings_are_unimplemented() {
    let service = Service::start(&[]).await;
    const KEYS: &str = "/backlot.auth.v1.AuthService/GetKeySet";
    let compressed = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, bytes).unwrap();
        framed(true, &gzip.finish().unwrap())
    };
    let plain = || framed(false, &[]);
    let cases: Vec<RawCase> = vec![
        (KEYS, &[], plain(), Code::Ok, ""),
        (KEYS, &[("grpc-encoding", "gzip")], compressed(&[]), Code::Ok, ""),
        (KEYS, &[("grpc-encoding", "gzip")], compressed(&vec![0; 64 * 1024 * 1024]), Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        (KEYS, &[("grpc-encoding", "identity")], plain(), Code::Ok, ""),
        (KEYS, &[("grpc-encoding", "zstd")], framed(true, b"x"), Code::Unimplemented, "UNIMPLEMENTED"),
        (KEYS, &[("grpc-encoding", "br")], framed(true, b"x"), Code::Unimplemented, "UNIMPLEMENTED"),
        ("/backlot.auth.v1.AuthService/Nothing", &[], plain(), Code::Unimplemented, "UNIMPLEMENTED"),
        ("/backlot.auth.v2.AuthService/GetKeySet", &[], plain(), Code::Unimplemented, "UNIMPLEMENTED"),
        ("/other.Service/GetKeySet", &[], plain(), Code::Unimplemented, "UNIMPLEMENTED"),
        ("/GetKeySet", &[], plain(), Code::Unimplemented, "UNIMPLEMENTED"),
        ("/", &[], plain(), Code::Unimplemented, "UNIMPLEMENTED"),
        (KEYS, &[], [&[0, 0x7f, 0xff, 0xff, 0xff][..], b"x"].concat(), Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
    ];
    for (path, headers, body, code, reason) in cases {
        let answer = raw(&service, path, headers, body).await;
        let status = Status::from_header_map(&answer).unwrap_or_else(|| panic!("{path} {headers:?}: {answer:?}"));
        let received = if status.code() == Code::Ok { String::new() } else { Fault::from_status(&status).reason };
        assert_eq!((status.code(), received.as_str()), (code, reason), "{path} {headers:?}");
        if headers.iter().any(|(_, encoding)| ["zstd", "br"].contains(encoding)) {
            assert!(answer["grpc-accept-encoding"].to_str().unwrap().contains("gzip"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_health_watch_reports_the_shutdown_and_ends() {
    let service = Service::start(&[("BACKLOT_DRAIN_TIMEOUT", "1h")]).await;
    let mut client = HealthClient::new(service.plain().await);
    let mut watched = client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    use tonic_health::pb::health_check_response::ServingStatus;
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    drop(service);
    let last = tokio::time::timeout(LIMIT, watched.message()).await.expect("a message").unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    tokio::time::timeout(LIMIT, async { while let Ok(Some(_)) = watched.message().await {} }).await.expect("the stream ends");
}

/// A closed page resets its stream. A thousand resets at once must not end the connection, which carries the streams of other clients.
#[tokio::test]
async fn many_dropped_streams_do_not_end_other_streams() {
    let service = Service::start(&[]).await;
    let client = service.called_by(Caller::Gateway);
    let mut kept = client.clone().watch_revocations(WatchRevocationsRequest::default()).await.unwrap().into_inner();
    assert_eq!(kept.message().await.unwrap().unwrap().cursor, 0);
    for _ in 0..30 {
        let opened = (0..100).map(|_| {
            let mut client = client.clone();
            async move { client.watch_revocations(WatchRevocationsRequest::default()).await }
        });
        let streams = join_all(opened).await;
        assert!(streams.iter().all(Result::is_ok), "{:?}", streams.iter().find_map(|s| s.as_ref().err()));
        // Each stream has an unread message when it is reset.
        service.cursor.send_modify(|cursor| *cursor += 1);
        drop(streams);
    }
    while kept.message().await.expect("the connection lives").expect("the stream goes on").cursor < 30 {}
}

#[tokio::test]
async fn health_and_both_versions_of_reflection_are_served() {
    let service = Service::start(&[]).await;
    for name in ["", "backlot.auth.v1.AuthService"] {
        let check = HealthCheckRequest { service: name.to_owned() };
        let answer = HealthClient::new(service.plain().await).check(check).await.unwrap();
        assert_eq!(answer.get_ref().status(), tonic_health::pb::health_check_response::ServingStatus::Serving, "{name}");
    }
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let ask = ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
            let mut client = ServerReflectionClient::new(service.plain().await);
            let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
            match answers.message().await.unwrap().unwrap().message_response {
                Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|s| s.name).collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            }
        }};
    }
    macro_rules! found {
        ($version:ident, $symbol:expr) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let asked = MessageRequest::FileContainingSymbol($symbol.to_owned());
            let ask = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
            let mut client = ServerReflectionClient::new(service.plain().await);
            let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
            let answer = answers.message().await;
            matches!(answer.unwrap().unwrap().message_response, Some(MessageResponse::FileDescriptorResponse(_)))
        }};
    }
    for symbol in ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.QuotaFailure", "google.rpc.RetryInfo", "google.rpc.Status"]
    {
        assert!(found!(v1, symbol) && found!(v1alpha, symbol), "{symbol}");
    }
    for names in [listed!(v1), listed!(v1alpha)] {
        let ours: Vec<_> = names.iter().filter(|name| !name.contains("reflection")).map(String::as_str).collect();
        assert_eq!(ours, ["backlot.auth.v1.AuthService", "grpc.health.v1.Health"]);
    }
}

/// Row A18 of the reference: a stranger who reaches a service from elsewhere does not get the contract, unless the operator serves it.
#[tokio::test]
async fn a18_reflection_is_refused_beyond_loopback() {
    macro_rules! code {
        ($version:ident, $service:expr) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
            };
            let ask = ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
            let answer = ServerReflectionClient::new($service.plain().await).server_reflection_info(tokio_stream::once(ask)).await;
            answer.map_or_else(|status| status.code(), |_| Code::Ok)
        }};
    }
    type Row = (&'static str, &'static [(&'static str, &'static str)], Code);
    let rows: [Row; 4] = [
        ("127.0.0.1:0", &[], Code::Ok),
        ("0.0.0.0:0", &[], Code::Unimplemented),
        ("0.0.0.0:0", &[("BACKLOT_REFLECTION", "false")], Code::Unimplemented),
        ("0.0.0.0:0", &[("BACKLOT_REFLECTION", "true")], Code::Ok),
    ];
    for (address, settings, expected) in rows {
        let service = Service::on(TcpListener::bind(address).await.unwrap(), settings, Vec::new());
        assert_eq!((code!(v1, service), code!(v1alpha, service)), (expected, expected), "{address} {settings:?}");
        let check = HealthClient::new(service.plain().await).check(HealthCheckRequest::default()).await;
        check.expect("the listener answers");
    }
}
