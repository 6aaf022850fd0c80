//! The RPCs: decode, call one function, encode.

mod admin;

use std::{ops::RangeInclusive, pin::Pin, sync::Arc};

use chassis::{
    clock::{now, timestamp},
    context::Context,
    error::status,
};
use futures::{Stream, StreamExt as _};
use proto::{
    auth::{
        self as pb, CreateAccessTokenRequest, CreateAccessTokenResponse, GetKeySetRequest, GetKeySetResponse, GetSessionRequest,
        GetSessionResponse, SignInRequest, SignInResponse, SignOutRequest, SignOutResponse, SignUpRequest, SignUpResponse,
        WatchRevocationsRequest, WatchRevocationsResponse, auth_service_server::AuthService,
    },
    error::Violations,
};
use tonic::{Request, Response, Status};

use crate::{
    account::{self, MAX_NAME, NewAccount},
    app::App,
    email,
    error::{Error, SERVICE},
    password,
    revocation::Notice,
    session::{Session, SessionSecret},
    user::User,
};

/// Characters of a session secret. The service's own secrets are shorter; a longer text is not looked up.
const MAX_SECRET: usize = 256;

/// The service as tonic mounts it.
pub(crate) struct Service(pub(crate) Arc<App>);

#[tonic::async_trait]
impl AuthService for Service {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let context = Context::of(&request);
        let new = new_account(request.into_inner()).map_err(status)?;
        let begun = account::sign_up(&self.0, &context, new, now()).await.map_err(status)?;
        Ok(Response::new(SignUpResponse {
            user: Some(user(begun.user)),
            session: Some(session(&begun.session)),
            session_token: begun.secret.expose().to_owned(),
        }))
    }

    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let context = Context::of(&request);
        let SignInRequest { email, password, .. } = request.into_inner();
        check_credentials(&email, &password).map_err(status)?;
        let begun = account::sign_in(&self.0, &context, &email, password, now()).await.map_err(status)?;
        Ok(Response::new(SignInResponse {
            user: Some(user(begun.user)),
            session: Some(session(&begun.session)),
            session_token: begun.secret.expose().to_owned(),
        }))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let context = Context::of(&request);
        let secret = secret(request.into_inner().session_token).map_err(status)?;
        account::sign_out(&self.0.pool, &self.0.feed, &context, secret, now()).await.map_err(status)?;
        Ok(Response::new(SignOutResponse {}))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        let (found, started) = account::current(&self.0.pool, &Context::of(&request), now()).await.map_err(status)?;
        Ok(Response::new(GetSessionResponse { user: Some(user(found)), session: Some(session(&started)) }))
    }

    async fn create_access_token(&self, request: Request<CreateAccessTokenRequest>) -> Result<Response<CreateAccessTokenResponse>, Status> {
        let secret = secret(request.into_inner().session_token).and_then(|s| s.ok_or(Error::SessionEnded)).map_err(status)?;
        let access = account::create_access_token(&self.0.pool, &self.0.keyring, &secret, now()).await.map_err(status)?;
        Ok(Response::new(CreateAccessTokenResponse {
            access_token: access.token,
            expire_time: Some(timestamp(access.expires_at)),
            user: Some(user(access.user)),
            session_id: access.session.id.to_string(),
        }))
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

fn new_account(request: SignUpRequest) -> Result<NewAccount, Error> {
    let SignUpRequest { email, password, display_name, .. } = request;
    let mut violations = Violations::default();
    check_lengths(
        &mut violations,
        [
            ("password", password::length(&password), password::MIN_CHARACTERS..=password::MAX_CHARACTERS),
            ("display_name", display_name.chars().count(), 0..=MAX_NAME),
        ],
    );
    violations.no_misleading_characters("display_name", &display_name);
    let email = violations.parse("email", &email);
    violations.check(SERVICE)?;
    let Some(email) = email else { unreachable!("an address that does not parse is a violation") };
    Ok(NewAccount { email, password, display_name })
}

/// Checks only what limits the work. The lookup finds out whether the text is an address with an account.
fn check_credentials(email: &str, password: &str) -> Result<(), Error> {
    // The previous release counted the characters as they were typed.
    let password_length = password.chars().count().min(password::length(password));
    let mut violations = Violations::default();
    check_lengths(&mut violations, [("email", email.chars().count(), 1..=email::MAX_CHARACTERS)]);
    // PostgreSQL stores no NUL in a text, and the other control characters are never part of an address.
    if email.chars().any(char::is_control) {
        violations.add("email", "must contain no control characters");
    }
    check_lengths(&mut violations, [("password", password_length, 1..=password::MAX_CHARACTERS)]);
    Ok(violations.check(SERVICE)?)
}

/// Returns `None` for an empty text.
fn secret(text: String) -> Result<Option<SessionSecret>, Error> {
    let mut violations = Violations::default();
    check_lengths(&mut violations, [("session_token", text.chars().count(), 0..=MAX_SECRET)]);
    violations.check(SERVICE)?;
    Ok(if text.is_empty() { None } else { Some(SessionSecret::from_client(text)) })
}

/// Checks fields, each with its number of characters and the bounds, both included.
fn check_lengths<const N: usize>(violations: &mut Violations, fields: [(&str, usize, RangeInclusive<usize>); N]) {
    for (field, count, bounds) in fields {
        if bounds.contains(&count) {
            continue;
        }
        let (min, max) = bounds.into_inner();
        violations
            .add(field, if min == 0 { format!("must be at most {max} characters") } else { format!("must be {min} to {max} characters") });
    }
}

fn user(user: User) -> pb::User {
    pb::User {
        id: user.id.to_string(),
        email: user.email,
        display_name: user.display_name,
        plan: user.plan.into(),
        create_time: Some(timestamp(user.created_at)),
    }
}

fn session(session: &Session) -> pb::Session {
    pb::Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.created_at)),
        expire_time: Some(timestamp(session.expires_at)),
        last_use_time: Some(timestamp(session.last_used_at)),
        impersonator: session.impersonator.clone().unwrap_or_default(),
    }
}

fn revocation(notice: Notice) -> WatchRevocationsResponse {
    let id = notice.session_id.map(|id| id.to_string()).unwrap_or_default();
    let (session_id, changed_session_id) = if notice.has_ended { (id, String::new()) } else { (String::new(), id) };
    WatchRevocationsResponse { cursor: u64::try_from(notice.cursor).unwrap_or_default(), session_id, changed_session_id }
}
