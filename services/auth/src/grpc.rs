//! The RPCs: decode, call one function, encode.

mod admin;
mod decode;
mod email;
mod encode;

use std::{pin::Pin, sync::Arc};

use chassis::{
    clock::{now, timestamp},
    context::Context,
    error::status,
};
use futures::{Stream, StreamExt as _};
use proto::{
    auth::{
        ChangePasswordRequest, ChangePasswordResponse, ConfirmPasswordResetRequest, ConfirmPasswordResetResponse, CreateAccessTokenRequest,
        CreateAccessTokenResponse, CreateRefreshTokenRequest, CreateRefreshTokenResponse, GetKeySetRequest, GetKeySetResponse,
        GetSessionRequest, GetSessionResponse, ListSessionsRequest, ListSessionsResponse, RecordAccessTokenUseRequest,
        RecordAccessTokenUseResponse, RequestPasswordResetRequest, RequestPasswordResetResponse, RevokeSessionRequest,
        RevokeSessionResponse, RevokeSessionsRequest, RevokeSessionsResponse, SendVerificationRequest, SendVerificationResponse,
        SignInRequest, SignInResponse, SignOutRequest, SignOutResponse, SignUpRequest, SignUpResponse, VerifyEmailRequest,
        VerifyEmailResponse, WatchRevocationsRequest, WatchRevocationsResponse, auth_service_server::AuthService,
    },
    id::SessionId,
};
use tonic::{Request, Response, Status};

use self::{
    decode::Exchange,
    encode::{revocation, session, user},
};
use crate::{
    account::{self, SignedUp},
    app::App,
    password_change, refresh, session_list,
};

/// The service as tonic mounts it.
pub(crate) struct Service(pub(crate) Arc<App>);

#[tonic::async_trait]
impl AuthService for Service {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let context = Context::of(&request);
        let new = decode::new_account(request.into_inner()).map_err(status)?;
        let signed_up = account::sign_up(&self.0, &context, new, now()).await.map_err(status)?;
        let SignedUp::Session(begun) = signed_up else { return Ok(Response::new(SignUpResponse::default())) };
        Ok(Response::new(SignUpResponse {
            session: Some(session(&begun.session, Some(begun.session.id))),
            session_token: begun.secret.expose().to_owned(),
            user: Some(user(begun.user)),
        }))
    }

    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let context = Context::of(&request);
        let attempt = decode::attempt(request.into_inner()).map_err(status)?;
        let begun = account::sign_in(&self.0, &context, attempt, now()).await.map_err(status)?;
        Ok(Response::new(SignInResponse {
            user: Some(user(begun.user)),
            session: Some(session(&begun.session, Some(begun.session.id))),
            session_token: begun.secret.expose().to_owned(),
        }))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let context = Context::of(&request);
        let secret = decode::secret(request.into_inner().session_token).map_err(status)?;
        account::sign_out(&self.0.pool, &self.0.feed, &context, secret, now()).await.map_err(status)?;
        Ok(Response::new(SignOutResponse {}))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        let (found, started) = account::current(&self.0.pool, &Context::of(&request), now()).await.map_err(status)?;
        Ok(Response::new(GetSessionResponse { user: Some(user(found)), session: Some(session(&started, Some(started.id))) }))
    }

    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        let context = Context::of(&request);
        let current = current(&context);
        let found = session_list::list(&self.0.pool, &context, now()).await.map_err(status)?;
        Ok(Response::new(ListSessionsResponse { sessions: found.iter().map(|one| session(one, current)).collect() }))
    }

    async fn revoke_session(&self, request: Request<RevokeSessionRequest>) -> Result<Response<RevokeSessionResponse>, Status> {
        let context = Context::of(&request);
        let id = decode::session_id(&request.into_inner().session_id).map_err(status)?;
        session_list::revoke(&self.0, &context, id, now()).await.map_err(status)?;
        Ok(Response::new(RevokeSessionResponse {}))
    }

    async fn revoke_sessions(&self, request: Request<RevokeSessionsRequest>) -> Result<Response<RevokeSessionsResponse>, Status> {
        let context = Context::of(&request);
        let include_current = request.into_inner().include_current;
        let count = session_list::revoke_all(&self.0, &context, include_current, now()).await.map_err(status)?;
        Ok(Response::new(RevokeSessionsResponse { revoked_count: u32::try_from(count).unwrap_or(u32::MAX) }))
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Result<Response<ChangePasswordResponse>, Status> {
        let context = Context::of(&request);
        let change = decode::change(request.into_inner()).map_err(status)?;
        let begun = password_change::change(&self.0, &context, &change, now()).await.map_err(status)?;
        Ok(Response::new(ChangePasswordResponse {
            session: Some(session(&begun.session, Some(begun.session.id))),
            session_token: begun.secret.expose().to_owned(),
        }))
    }

    async fn create_refresh_token(
        &self,
        request: Request<CreateRefreshTokenRequest>,
    ) -> Result<Response<CreateRefreshTokenResponse>, Status> {
        let context = Context::of(&request);
        let name = decode::name(request.into_inner().display_name).map_err(status)?;
        let (started, secret) = refresh::start(&self.0, &context, name, now()).await.map_err(status)?;
        Ok(Response::new(CreateRefreshTokenResponse {
            session: Some(session(&started, current(&context))),
            refresh_token: secret.expose().to_owned(),
        }))
    }

    async fn record_access_token_use(
        &self,
        request: Request<RecordAccessTokenUseRequest>,
    ) -> Result<Response<RecordAccessTokenUseResponse>, Status> {
        refresh::record_use(&self.0.pool, &Context::of(&request), now()).await.map_err(status)?;
        Ok(Response::new(RecordAccessTokenUseResponse {}))
    }

    async fn create_access_token(&self, request: Request<CreateAccessTokenRequest>) -> Result<Response<CreateAccessTokenResponse>, Status> {
        let context = Context::of(&request);
        let (access, next) = match decode::exchange(request.into_inner()).map_err(status)? {
            Exchange::Session(secret) => {
                let access = account::create_access_token(&self.0.pool, &self.0.keyring, &secret, now()).await;
                (access.map_err(status)?, None)
            }
            Exchange::RefreshToken(text) => {
                let (access, next) = refresh::exchange(&self.0, &context, &text, now()).await.map_err(status)?;
                (access, Some(next))
            }
        };
        Ok(Response::new(CreateAccessTokenResponse {
            access_token: access.token,
            expire_time: Some(timestamp(access.expires_at)),
            user: Some(user(access.user)),
            session_id: access.session.id.to_string(),
            refresh_token: next.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        }))
    }

    async fn verify_email(&self, request: Request<VerifyEmailRequest>) -> Result<Response<VerifyEmailResponse>, Status> {
        let context = Context::of(&request);
        email::verify(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn send_verification(&self, request: Request<SendVerificationRequest>) -> Result<Response<SendVerificationResponse>, Status> {
        email::send_verification(&self.0, &Context::of(&request)).await.map(Response::new).map_err(status)
    }

    async fn request_password_reset(
        &self,
        request: Request<RequestPasswordResetRequest>,
    ) -> Result<Response<RequestPasswordResetResponse>, Status> {
        let context = Context::of(&request);
        email::request_reset(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn confirm_password_reset(
        &self,
        request: Request<ConfirmPasswordResetRequest>,
    ) -> Result<Response<ConfirmPasswordResetResponse>, Status> {
        let context = Context::of(&request);
        email::confirm_reset(&self.0, &context, request.into_inner()).await.map(Response::new).map_err(status)
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

/// The session of the request.
fn current(context: &Context) -> Option<SessionId> {
    context.user.as_ref().map(|user| user.session_id)
}
