//! The server of an issuer: its key set, its revocations, and one session whose credential it exchanges. Nothing else of auth is called.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::Stream;
use proto::{
    auth::{self, JsonWebKey, auth_service_server::AuthService},
    error::{ErrorCode, Fault},
    id::SessionId,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::{identity::Caller, revocations::HEARTBEAT};

/// A session that has ended, or has changed.
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) session: SessionId,
    pub(super) has_ended: bool,
}

pub(super) struct KeyServer {
    pub(super) published: watch::Sender<Option<Vec<JsonWebKey>>>,
    pub(super) reports: watch::Sender<Vec<Report>>,
    pub(super) recorded: Arc<AtomicUsize>,
    /// The answer to each exchange, while its session has not ended.
    pub(super) exchange: watch::Sender<Option<auth::CreateAccessTokenResponse>>,
    pub(super) exchanges: Arc<AtomicUsize>,
    pub(super) denies_followers: Arc<AtomicBool>,
}

type Answer<T> = Result<Response<T>, Status>;
type Watch = Pin<Box<dyn Stream<Item = Result<auth::WatchRevocationsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AuthService for KeyServer {
    type ExportAccountStream = futures::stream::Empty<Result<auth::ExportAccountResponse, Status>>;

    type WatchRevocationsStream = Watch;

    async fn get_key_set(&self, _: Request<auth::GetKeySetRequest>) -> Result<Response<auth::GetKeySetResponse>, Status> {
        let keys = self.published.borrow().clone().ok_or_else(|| Status::internal("no answer"))?;
        Ok(Response::new(auth::GetKeySetResponse { keys }))
    }

    async fn sign_up(&self, _: Request<auth::SignUpRequest>) -> Result<Response<auth::SignUpResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn sign_in(&self, _: Request<auth::SignInRequest>) -> Result<Response<auth::SignInResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn sign_out(&self, _: Request<auth::SignOutRequest>) -> Result<Response<auth::SignOutResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn get_session(&self, _: Request<auth::GetSessionRequest>) -> Result<Response<auth::GetSessionResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn list_sessions(&self, _: Request<auth::ListSessionsRequest>) -> Result<Response<auth::ListSessionsResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn revoke_session(&self, _: Request<auth::RevokeSessionRequest>) -> Result<Response<auth::RevokeSessionResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn revoke_sessions(&self, _: Request<auth::RevokeSessionsRequest>) -> Result<Response<auth::RevokeSessionsResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn change_password(&self, _: Request<auth::ChangePasswordRequest>) -> Result<Response<auth::ChangePasswordResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn verify_sign_in(&self, _: Request<auth::VerifySignInRequest>) -> Result<Response<auth::VerifySignInResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn get_factors(&self, _: Request<auth::GetFactorsRequest>) -> Result<Response<auth::GetFactorsResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn start_totp(&self, _: Request<auth::StartTotpRequest>) -> Result<Response<auth::StartTotpResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn confirm_totp(&self, _: Request<auth::ConfirmTotpRequest>) -> Result<Response<auth::ConfirmTotpResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn delete_totp(&self, _: Request<auth::DeleteTotpRequest>) -> Result<Response<auth::DeleteTotpResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn create_recovery_codes(&self, _: Request<auth::CreateRecoveryCodesRequest>) -> Answer<auth::CreateRecoveryCodesResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn start_passkey_ceremony(&self, _: Request<auth::StartPasskeyCeremonyRequest>) -> Answer<auth::StartPasskeyCeremonyResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn create_passkey(&self, _: Request<auth::CreatePasskeyRequest>) -> Answer<auth::CreatePasskeyResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn list_passkeys(&self, _: Request<auth::ListPasskeysRequest>) -> Answer<auth::ListPasskeysResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn rename_passkey(&self, _: Request<auth::RenamePasskeyRequest>) -> Answer<auth::RenamePasskeyResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn delete_passkey(&self, _: Request<auth::DeletePasskeyRequest>) -> Answer<auth::DeletePasskeyResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn sign_in_with_passkey(&self, _: Request<auth::SignInWithPasskeyRequest>) -> Answer<auth::SignInWithPasskeyResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn step_up(&self, _: Request<auth::StepUpRequest>) -> Result<Response<auth::StepUpResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn create_refresh_token(&self, _: Request<auth::CreateRefreshTokenRequest>) -> Answer<auth::CreateRefreshTokenResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn create_api_key(&self, _: Request<auth::CreateApiKeyRequest>) -> Result<Response<auth::CreateApiKeyResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn list_api_keys(&self, _: Request<auth::ListApiKeysRequest>) -> Result<Response<auth::ListApiKeysResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn delete_api_key(&self, _: Request<auth::DeleteApiKeyRequest>) -> Result<Response<auth::DeleteApiKeyResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn create_service_account(&self, _: Request<auth::CreateServiceAccountRequest>) -> Answer<auth::CreateServiceAccountResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn list_service_accounts(&self, _: Request<auth::ListServiceAccountsRequest>) -> Answer<auth::ListServiceAccountsResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn update_service_account(&self, _: Request<auth::UpdateServiceAccountRequest>) -> Answer<auth::UpdateServiceAccountResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn delete_service_account(&self, _: Request<auth::DeleteServiceAccountRequest>) -> Answer<auth::DeleteServiceAccountResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn start_device_sign_in(&self, _: Request<auth::StartDeviceSignInRequest>) -> Answer<auth::StartDeviceSignInResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn get_device_sign_in(&self, _: Request<auth::GetDeviceSignInRequest>) -> Answer<auth::GetDeviceSignInResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn decide_device_sign_in(&self, _: Request<auth::DecideDeviceSignInRequest>) -> Answer<auth::DecideDeviceSignInResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn exchange_device_code(&self, _: Request<auth::ExchangeDeviceCodeRequest>) -> Answer<auth::ExchangeDeviceCodeResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn record_access_token_use(&self, _: Request<auth::RecordAccessTokenUseRequest>) -> Answer<auth::RecordAccessTokenUseResponse> {
        self.recorded.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(auth::RecordAccessTokenUseResponse {}))
    }

    async fn create_access_token(&self, _: Request<auth::CreateAccessTokenRequest>) -> Answer<auth::CreateAccessTokenResponse> {
        let answer = self.exchange.borrow().clone().ok_or_else(|| Status::unimplemented("keys only"))?;
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        let ends = |report: &Report| report.has_ended && report.session.to_string() == answer.session_id;
        if self.reports.borrow().iter().any(ends) {
            let text = "the session has ended; sign in again";
            return Err(Fault::new(Caller::Auth.name(), ErrorCode::Unauthenticated, "SESSION_ENDED", text).into());
        }
        Ok(Response::new(answer))
    }

    async fn list_providers(&self, _: Request<auth::ListProvidersRequest>) -> Result<Response<auth::ListProvidersResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn start_provider_sign_in(&self, _: Request<auth::StartProviderSignInRequest>) -> Answer<auth::StartProviderSignInResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn finish_provider_sign_in(&self, _: Request<auth::FinishProviderSignInRequest>) -> Answer<auth::FinishProviderSignInResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn list_identities(&self, _: Request<auth::ListIdentitiesRequest>) -> Result<Response<auth::ListIdentitiesResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn unlink_identity(&self, _: Request<auth::UnlinkIdentityRequest>) -> Result<Response<auth::UnlinkIdentityResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn delete_account(&self, _: Request<auth::DeleteAccountRequest>) -> Result<Response<auth::DeleteAccountResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    /// No account was deleted.
    async fn list_account_deletions(&self, _: Request<auth::ListAccountDeletionsRequest>) -> Answer<auth::ListAccountDeletionsResponse> {
        Ok(Response::new(auth::ListAccountDeletionsResponse::default()))
    }

    async fn acknowledge_account_deletions(
        &self,
        _: Request<auth::AcknowledgeAccountDeletionsRequest>,
    ) -> Result<Response<auth::AcknowledgeAccountDeletionsResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn export_account(&self, _: Request<auth::ExportAccountRequest>) -> Result<Response<Self::ExportAccountStream>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn verify_email(&self, _: Request<auth::VerifyEmailRequest>) -> Result<Response<auth::VerifyEmailResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn send_verification(&self, _: Request<auth::SendVerificationRequest>) -> Answer<auth::SendVerificationResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn request_password_reset(&self, _: Request<auth::RequestPasswordResetRequest>) -> Answer<auth::RequestPasswordResetResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn get_link(&self, _: Request<auth::GetLinkRequest>) -> Answer<auth::GetLinkResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn remove_new_factor(&self, _: Request<auth::RemoveNewFactorRequest>) -> Answer<auth::RemoveNewFactorResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn change_email(&self, _: Request<auth::ChangeEmailRequest>) -> Answer<auth::ChangeEmailResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn get_email_change(&self, _: Request<auth::GetEmailChangeRequest>) -> Answer<auth::GetEmailChangeResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn confirm_email_change(&self, _: Request<auth::ConfirmEmailChangeRequest>) -> Answer<auth::ConfirmEmailChangeResponse> {
        Err(Status::unimplemented("keys only"))
    }

    async fn confirm_password_reset(&self, _: Request<auth::ConfirmPasswordResetRequest>) -> Answer<auth::ConfirmPasswordResetResponse> {
        Err(Status::unimplemented("keys only"))
    }

    /// Like auth: a stream without a cursor has all revocations, which are of the last minutes. Each is sent once, and there are
    /// heartbeats.
    async fn watch_revocations(&self, request: Request<auth::WatchRevocationsRequest>) -> Result<Response<Watch>, Status> {
        if self.denies_followers.load(Ordering::SeqCst) {
            return Err(Status::permission_denied("nobody may follow"));
        }
        let reports = self.reports.subscribe();
        let current = reports.borrow().len() as u64;
        let after = request.into_inner().after;
        let from = after.min(current);
        let first = auth::WatchRevocationsResponse { cursor: from, backlog_end: current, ..Default::default() };
        let first = futures::stream::iter([Ok(first)]);
        // The clone of the sender keeps the channel open while the stream is read.
        let rest = futures::stream::unfold((from, self.reports.clone()), move |(cursor, sender)| {
            let mut reports = reports.clone();
            async move {
                let next = reports.wait_for(|all| all.len() as u64 > cursor);
                match tokio::time::timeout(HEARTBEAT, next).await {
                    Ok(next) => drop(next.ok()?),
                    Err(_) => return Some((Ok(auth::WatchRevocationsResponse { cursor, ..Default::default() }), (cursor, sender))),
                }
                let Report { session, has_ended } = *reports.borrow().get(usize::try_from(cursor).ok()?)?;
                let (ended, changed) = if has_ended { (session.to_string(), String::new()) } else { (String::new(), session.to_string()) };
                let message = auth::WatchRevocationsResponse {
                    cursor: cursor + 1,
                    session_id: ended,
                    changed_session_id: changed,
                    ..Default::default()
                };
                Some((Ok(message), (cursor + 1, sender)))
            }
        });
        Ok(Response::new(Box::pin(futures::StreamExt::chain(first, rest))))
    }
}
