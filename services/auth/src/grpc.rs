//! The RPCs: decode, call one function, encode.

use std::{ops::RangeInclusive, pin::Pin};

use chassis::{
    clock::{now, timestamp},
    context::Context,
    error::status,
};
use futures::{Stream, StreamExt as _};
use proto::{
    auth::{
        self as wire, CreateAccessTokenRequest, CreateAccessTokenResponse, GetKeySetRequest, GetKeySetResponse, GetSessionRequest,
        GetSessionResponse, JsonWebKey, SignInRequest, SignInResponse, SignOutRequest, SignOutResponse, SignUpRequest, SignUpResponse,
        WatchRevocationsRequest, WatchRevocationsResponse, auth_service_server::AuthService,
    },
    error::Violations,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::{
    account::{Accounts, MAX_NAME, NewAccount},
    email,
    error::{Error, SERVICE},
    password,
    revocation::{Feed, Notice},
    session::{Session, SessionSecret},
    user::User,
};

/// Longer than any secret of ours; what is longer is not looked up.
const MAX_SECRET: usize = 256;

/// The service as tonic mounts it.
pub struct Api {
    pub accounts: Accounts,
    pub published: watch::Receiver<Vec<JsonWebKey>>,
    pub feed: Feed,
}

#[tonic::async_trait]
impl AuthService for Api {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let context = Context::of(&request);
        let new = new_account(request.into_inner()).map_err(status)?;
        let done = self.accounts.sign_up(&context, new, now()).await.map_err(status)?;
        Ok(Response::new(SignUpResponse {
            user: Some(user(done.user)),
            session: Some(session(&done.session)),
            session_token: done.secret.expose().to_owned(),
        }))
    }

    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let context = Context::of(&request);
        let SignInRequest { email, password, .. } = request.into_inner();
        check_credentials(&email, &password).map_err(status)?;
        let done = self.accounts.sign_in(&context, &email, password, now()).await.map_err(status)?;
        Ok(Response::new(SignInResponse {
            user: Some(user(done.user)),
            session: Some(session(&done.session)),
            session_token: done.secret.expose().to_owned(),
        }))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let context = Context::of(&request);
        let secret = secret(request.into_inner().session_token).map_err(status)?;
        self.accounts.sign_out(&context, secret, now()).await.map_err(status)?;
        Ok(Response::new(SignOutResponse {}))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        let (who, started) = self.accounts.current(&Context::of(&request), now()).await.map_err(status)?;
        Ok(Response::new(GetSessionResponse { user: Some(user(who)), session: Some(session(&started)) }))
    }

    async fn create_access_token(&self, request: Request<CreateAccessTokenRequest>) -> Result<Response<CreateAccessTokenResponse>, Status> {
        let secret = secret(request.into_inner().session_token).and_then(|s| s.ok_or(Error::SessionEnded)).map_err(status)?;
        let access = self.accounts.exchange(&secret, now()).await.map_err(status)?;
        Ok(Response::new(CreateAccessTokenResponse {
            access_token: access.token,
            expire_time: Some(timestamp(access.expires_at)),
            user: Some(user(access.user)),
            session_id: access.session.id.to_string(),
        }))
    }

    async fn get_key_set(&self, _: Request<GetKeySetRequest>) -> Result<Response<GetKeySetResponse>, Status> {
        Ok(Response::new(GetKeySetResponse { keys: self.published.borrow().clone() }))
    }

    type WatchRevocationsStream = Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    async fn watch_revocations(&self, request: Request<WatchRevocationsRequest>) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        // A cursor that does not fit was never ours; it begins at the present like any other beyond the end.
        let after = i64::try_from(request.into_inner().after).unwrap_or(i64::MAX);
        let notices = self.feed.watch(after).map(|notice| notice.map(revocation).map_err(status));
        Ok(Response::new(Box::pin(notices)))
    }
}

fn new_account(request: SignUpRequest) -> Result<NewAccount, Error> {
    let SignUpRequest { email, password, display_name, .. } = request;
    let mut faults = Violations::default();
    within(&mut faults, "password", password::length(&password), password::MIN_CHARACTERS..=password::MAX_CHARACTERS);
    characters(&mut faults, "display_name", &display_name, 0..=MAX_NAME);
    faults.plain("display_name", &display_name);
    let email = faults.parse("email", &email);
    faults.check(SERVICE)?;
    let Some(email) = email else { unreachable!("an address that does not parse is a violation") };
    Ok(NewAccount { email, password, display_name })
}

/// Only what bounds the work: whether the address is one, and has an account, is answered by the look-up.
fn check_credentials(email: &str, password: &str) -> Result<(), Error> {
    let mut faults = Violations::default();
    characters(&mut faults, "email", email, 1..=email::MAX_CHARACTERS);
    no_controls(&mut faults, "email", email);
    // The release before counted what was typed.
    let typed = password.chars().count().min(password::length(password));
    within(&mut faults, "password", typed, 1..=password::MAX_CHARACTERS);
    Ok(faults.check(SERVICE)?)
}

/// None is an empty one.
fn secret(text: String) -> Result<Option<SessionSecret>, Error> {
    let mut faults = Violations::default();
    characters(&mut faults, "session_token", &text, 0..=MAX_SECRET);
    faults.check(SERVICE)?;
    Ok(if text.is_empty() { None } else { Some(SessionSecret::presented(text)) })
}

fn characters(faults: &mut Violations, field: &str, text: &str, bounds: RangeInclusive<usize>) {
    within(faults, field, text.chars().count(), bounds);
}

fn within(faults: &mut Violations, field: &str, count: usize, bounds: RangeInclusive<usize>) {
    let (min, max) = (*bounds.start(), *bounds.end());
    if !bounds.contains(&count) {
        faults
            .add(field, if min == 0 { format!("must be at most {max} characters") } else { format!("must be {min} to {max} characters") });
    }
}

/// PostgreSQL keeps no NUL in a text, and no person means the others.
fn no_controls(faults: &mut Violations, field: &str, text: &str) {
    if text.chars().any(char::is_control) {
        faults.add(field, "must hold no control characters");
    }
}

fn user(user: User) -> wire::User {
    wire::User {
        id: user.id.to_string(),
        email: user.email,
        display_name: user.display_name,
        plan: user.plan.into(),
        create_time: Some(timestamp(user.created_at)),
    }
}

fn session(session: &Session) -> wire::Session {
    wire::Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.created_at)),
        expire_time: Some(timestamp(session.expires_at)),
    }
}

fn revocation(notice: Notice) -> WatchRevocationsResponse {
    WatchRevocationsResponse {
        cursor: u64::try_from(notice.cursor).unwrap_or_default(),
        session_id: notice.session_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}
