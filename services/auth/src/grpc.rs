//! The RPCs: decode, call one function, encode.

mod admin;
mod api_keys;
mod credentials;
mod decode;
mod deletion;
mod device;
mod email;
mod encode;
mod export;
mod factors;
mod invite;
mod passkeys;
mod provider;
mod service_accounts;

use std::{pin::Pin, sync::Arc};

use chassis::{clock::now, context::Context, error::status};
use futures::{Stream, StreamExt as _};
use proto::auth::{
    AcknowledgeAccountDeletionsRequest, AcknowledgeAccountDeletionsResponse, ChangeEmailRequest, ChangeEmailResponse,
    ChangePasswordRequest, ChangePasswordResponse, ConfirmEmailChangeRequest, ConfirmEmailChangeResponse, ConfirmPasswordResetRequest,
    ConfirmPasswordResetResponse, ConfirmTotpRequest, ConfirmTotpResponse, CreateAccessTokenRequest, CreateAccessTokenResponse,
    CreateApiKeyRequest, CreateApiKeyResponse, CreatePasskeyRequest, CreatePasskeyResponse, CreateRecoveryCodesRequest,
    CreateRecoveryCodesResponse, CreateRefreshTokenRequest, CreateRefreshTokenResponse, CreateServiceAccountRequest,
    CreateServiceAccountResponse, DecideDeviceSignInRequest, DecideDeviceSignInResponse, DeleteAccountRequest, DeleteAccountResponse,
    DeleteApiKeyRequest, DeleteApiKeyResponse, DeletePasskeyRequest, DeletePasskeyResponse, DeleteServiceAccountRequest,
    DeleteServiceAccountResponse, DeleteTotpRequest, DeleteTotpResponse, ExchangeDeviceCodeRequest, ExchangeDeviceCodeResponse,
    ExportAccountRequest, ExportAccountResponse, FinishProviderSignInRequest, FinishProviderSignInResponse, GetDeviceSignInRequest,
    GetDeviceSignInResponse, GetEmailChangeRequest, GetEmailChangeResponse, GetFactorsRequest, GetFactorsResponse, GetKeySetRequest,
    GetKeySetResponse, GetLinkRequest, GetLinkResponse, GetSessionRequest, GetSessionResponse, ListAccountDeletionsRequest,
    ListAccountDeletionsResponse, ListApiKeysRequest, ListApiKeysResponse, ListIdentitiesRequest, ListIdentitiesResponse,
    ListPasskeysRequest, ListPasskeysResponse, ListProvidersRequest, ListProvidersResponse, ListServiceAccountsRequest,
    ListServiceAccountsResponse, ListSessionsRequest, ListSessionsResponse, RecordAccessTokenUseRequest, RecordAccessTokenUseResponse,
    RemoveNewFactorRequest, RemoveNewFactorResponse, RenamePasskeyRequest, RenamePasskeyResponse, RequestPasswordResetRequest,
    RequestPasswordResetResponse, RevokeSessionRequest, RevokeSessionResponse, RevokeSessionsRequest, RevokeSessionsResponse,
    SendVerificationRequest, SendVerificationResponse, SignInRequest, SignInResponse, SignInWithPasskeyRequest, SignInWithPasskeyResponse,
    SignOutRequest, SignOutResponse, SignUpRequest, SignUpResponse, StartDeviceSignInRequest, StartDeviceSignInResponse,
    StartPasskeyCeremonyRequest, StartPasskeyCeremonyResponse, StartProviderSignInRequest, StartProviderSignInResponse, StartTotpRequest,
    StartTotpResponse, StepUpRequest, StepUpResponse, UnlinkIdentityRequest, UnlinkIdentityResponse, UpdateServiceAccountRequest,
    UpdateServiceAccountResponse, VerifyEmailRequest, VerifyEmailResponse, VerifySignInRequest, VerifySignInResponse,
    WatchRevocationsRequest, WatchRevocationsResponse, auth_service_server::AuthService,
};
use tonic::{Request, Response, Status};

use self::encode::{current, revocation, session, user};
use crate::{account, app::App, refresh, session_end, session_list};

type Answer<T> = Result<Response<T>, Status>;

/// The service as tonic mounts it.
pub(crate) struct Service(pub(crate) Arc<App>);

#[tonic::async_trait]
impl AuthService for Service {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let context = Context::of(&request);
        credentials::sign_up(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let context = Context::of(&request);
        credentials::sign_in(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let context = Context::of(&request);
        let secret = decode::secret(request.into_inner().session_token).map_err(status)?;
        account::sign_out(&self.0.pool, &self.0.feed, &context, secret, now()).await.map_err(status)?;
        Ok(Response::new(SignOutResponse {}))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        let (found, started) = account::current(&self.0.pool, &Context::of(&request), now()).await.map_err(status)?;
        Ok(Response::new(GetSessionResponse {
            user: Some(user(found)),
            session: Some(session(&self.0.places, &started, Some(started.id))),
        }))
    }

    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        let context = Context::of(&request);
        let current = current(&context);
        let found = session_list::list(&self.0.pool, &context, now()).await.map_err(status)?;
        Ok(Response::new(ListSessionsResponse { sessions: found.iter().map(|one| session(&self.0.places, one, current)).collect() }))
    }

    async fn revoke_session(&self, request: Request<RevokeSessionRequest>) -> Result<Response<RevokeSessionResponse>, Status> {
        let context = Context::of(&request);
        let id = decode::session_id(&request.into_inner().session_id).map_err(status)?;
        session_end::revoke(&self.0, &context, id, now()).await.map_err(status)?;
        Ok(Response::new(RevokeSessionResponse {}))
    }

    async fn revoke_sessions(&self, request: Request<RevokeSessionsRequest>) -> Result<Response<RevokeSessionsResponse>, Status> {
        let context = Context::of(&request);
        let include_current = request.into_inner().include_current;
        let count = session_end::revoke_all(&self.0, &context, include_current, now()).await.map_err(status)?;
        Ok(Response::new(RevokeSessionsResponse { revoked_count: u32::try_from(count).unwrap_or(u32::MAX) }))
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Result<Response<ChangePasswordResponse>, Status> {
        let context = Context::of(&request);
        credentials::change_password(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn step_up(&self, request: Request<StepUpRequest>) -> Result<Response<StepUpResponse>, Status> {
        let context = Context::of(&request);
        factors::step_up(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn verify_sign_in(&self, request: Request<VerifySignInRequest>) -> Result<Response<VerifySignInResponse>, Status> {
        let context = Context::of(&request);
        factors::verify_sign_in(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn confirm_totp(&self, request: Request<ConfirmTotpRequest>) -> Result<Response<ConfirmTotpResponse>, Status> {
        let context = Context::of(&request);
        factors::confirm_totp(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_factors(&self, request: Request<GetFactorsRequest>) -> Result<Response<GetFactorsResponse>, Status> {
        factors::get(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn start_totp(&self, request: Request<StartTotpRequest>) -> Result<Response<StartTotpResponse>, Status> {
        factors::start_totp(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn delete_totp(&self, request: Request<DeleteTotpRequest>) -> Result<Response<DeleteTotpResponse>, Status> {
        factors::delete_totp(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn create_recovery_codes(&self, request: Request<CreateRecoveryCodesRequest>) -> Answer<CreateRecoveryCodesResponse> {
        factors::create_recovery_codes(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn start_passkey_ceremony(&self, request: Request<StartPasskeyCeremonyRequest>) -> Answer<StartPasskeyCeremonyResponse> {
        let context = Context::of(&request);
        passkeys::start(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn create_passkey(&self, request: Request<CreatePasskeyRequest>) -> Result<Response<CreatePasskeyResponse>, Status> {
        let context = Context::of(&request);
        passkeys::create(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_passkeys(&self, request: Request<ListPasskeysRequest>) -> Result<Response<ListPasskeysResponse>, Status> {
        passkeys::list(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn rename_passkey(&self, request: Request<RenamePasskeyRequest>) -> Result<Response<RenamePasskeyResponse>, Status> {
        let context = Context::of(&request);
        passkeys::rename(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn delete_passkey(&self, request: Request<DeletePasskeyRequest>) -> Result<Response<DeletePasskeyResponse>, Status> {
        let context = Context::of(&request);
        passkeys::delete(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn sign_in_with_passkey(&self, request: Request<SignInWithPasskeyRequest>) -> Answer<SignInWithPasskeyResponse> {
        let context = Context::of(&request);
        passkeys::sign_in(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn create_refresh_token(&self, request: Request<CreateRefreshTokenRequest>) -> Answer<CreateRefreshTokenResponse> {
        let context = Context::of(&request);
        credentials::create_refresh_token(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn create_api_key(&self, request: Request<CreateApiKeyRequest>) -> Result<Response<CreateApiKeyResponse>, Status> {
        let context = Context::of(&request);
        api_keys::create(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_api_keys(&self, request: Request<ListApiKeysRequest>) -> Result<Response<ListApiKeysResponse>, Status> {
        let context = Context::of(&request);
        api_keys::list(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn delete_api_key(&self, request: Request<DeleteApiKeyRequest>) -> Result<Response<DeleteApiKeyResponse>, Status> {
        let context = Context::of(&request);
        api_keys::delete(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn create_service_account(&self, request: Request<CreateServiceAccountRequest>) -> Answer<CreateServiceAccountResponse> {
        let context = Context::of(&request);
        service_accounts::create(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_service_accounts(&self, request: Request<ListServiceAccountsRequest>) -> Answer<ListServiceAccountsResponse> {
        service_accounts::list(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn update_service_account(&self, request: Request<UpdateServiceAccountRequest>) -> Answer<UpdateServiceAccountResponse> {
        let context = Context::of(&request);
        service_accounts::update(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn delete_service_account(&self, request: Request<DeleteServiceAccountRequest>) -> Answer<DeleteServiceAccountResponse> {
        let context = Context::of(&request);
        service_accounts::delete(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn start_device_sign_in(&self, request: Request<StartDeviceSignInRequest>) -> Answer<StartDeviceSignInResponse> {
        let context = Context::of(&request);
        device::start(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_device_sign_in(&self, request: Request<GetDeviceSignInRequest>) -> Result<Response<GetDeviceSignInResponse>, Status> {
        let context = Context::of(&request);
        device::get(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn decide_device_sign_in(&self, request: Request<DecideDeviceSignInRequest>) -> Answer<DecideDeviceSignInResponse> {
        let context = Context::of(&request);
        device::decide(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn exchange_device_code(&self, request: Request<ExchangeDeviceCodeRequest>) -> Answer<ExchangeDeviceCodeResponse> {
        let context = Context::of(&request);
        device::exchange(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn record_access_token_use(&self, request: Request<RecordAccessTokenUseRequest>) -> Answer<RecordAccessTokenUseResponse> {
        refresh::record_use(&self.0.pool, &Context::of(&request), now()).await.map_err(status)?;
        Ok(Response::new(RecordAccessTokenUseResponse {}))
    }

    async fn create_access_token(&self, request: Request<CreateAccessTokenRequest>) -> Result<Response<CreateAccessTokenResponse>, Status> {
        let context = Context::of(&request);
        credentials::create_access_token(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn verify_email(&self, request: Request<VerifyEmailRequest>) -> Result<Response<VerifyEmailResponse>, Status> {
        let context = Context::of(&request);
        email::verify(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn send_verification(&self, request: Request<SendVerificationRequest>) -> Result<Response<SendVerificationResponse>, Status> {
        email::send_verification(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn request_password_reset(&self, request: Request<RequestPasswordResetRequest>) -> Answer<RequestPasswordResetResponse> {
        let context = Context::of(&request);
        email::request_reset(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn confirm_password_reset(&self, request: Request<ConfirmPasswordResetRequest>) -> Answer<ConfirmPasswordResetResponse> {
        let context = Context::of(&request);
        email::confirm_reset(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<GetLinkResponse>, Status> {
        email::find_link(&self.0, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn remove_new_factor(&self, request: Request<RemoveNewFactorRequest>) -> Answer<RemoveNewFactorResponse> {
        let context = Context::of(&request);
        email::remove_factor(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn change_email(&self, request: Request<ChangeEmailRequest>) -> Result<Response<ChangeEmailResponse>, Status> {
        let context = Context::of(&request);
        email::change(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_email_change(&self, request: Request<GetEmailChangeRequest>) -> Result<Response<GetEmailChangeResponse>, Status> {
        let context = Context::of(&request);
        email::find_change(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn confirm_email_change(&self, request: Request<ConfirmEmailChangeRequest>) -> Answer<ConfirmEmailChangeResponse> {
        let context = Context::of(&request);
        email::confirm_change(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_providers(&self, _: Request<ListProvidersRequest>) -> Result<Response<ListProvidersResponse>, Status> {
        Ok(Response::new(provider::list(&self.0)))
    }

    async fn start_provider_sign_in(&self, request: Request<StartProviderSignInRequest>) -> Answer<StartProviderSignInResponse> {
        let context = Context::of(&request);
        provider::start(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn finish_provider_sign_in(&self, request: Request<FinishProviderSignInRequest>) -> Answer<FinishProviderSignInResponse> {
        let context = Context::of(&request);
        provider::finish(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_identities(&self, request: Request<ListIdentitiesRequest>) -> Result<Response<ListIdentitiesResponse>, Status> {
        provider::identities(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn unlink_identity(&self, request: Request<UnlinkIdentityRequest>) -> Result<Response<UnlinkIdentityResponse>, Status> {
        let context = Context::of(&request);
        provider::unlink(&self.0, &context, request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn delete_account(&self, request: Request<DeleteAccountRequest>) -> Result<Response<DeleteAccountResponse>, Status> {
        let context = Context::of(&request);
        deletion::delete(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    type ExportAccountStream = Pin<Box<dyn Stream<Item = Result<ExportAccountResponse, Status>> + Send>>;

    async fn export_account(&self, request: Request<ExportAccountRequest>) -> Result<Response<Self::ExportAccountStream>, Status> {
        let context = Context::of(&request);
        let entries = export::entries(&self.0, &context).await.map_err(status)?;
        Ok(Response::new(Box::pin(entries.map(|entry| entry.map_err(status)))))
    }

    async fn list_account_deletions(&self, request: Request<ListAccountDeletionsRequest>) -> Answer<ListAccountDeletionsResponse> {
        let context = Context::of(&request);
        deletion::list(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn acknowledge_account_deletions(
        &self,
        request: Request<AcknowledgeAccountDeletionsRequest>,
    ) -> Answer<AcknowledgeAccountDeletionsResponse> {
        let context = Context::of(&request);
        deletion::acknowledge(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_key_set(&self, _: Request<GetKeySetRequest>) -> Result<Response<GetKeySetResponse>, Status> {
        Ok(Response::new(GetKeySetResponse { keys: self.0.keyring.key_set() }))
    }

    type WatchRevocationsStream = Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    async fn watch_revocations(&self, request: Request<WatchRevocationsRequest>) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        // A cursor above the range of the column is beyond the end of the log.
        let after = i64::try_from(request.into_inner().after).unwrap_or(i64::MAX);
        let notices = self.0.feed.watch(after).map(|notice| notice.map(revocation).map_err(status));
        Ok(Response::new(Box::pin(notices)))
    }
}
