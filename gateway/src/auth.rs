//! Who asks. A browser shows its session cookie, a program an access token; `Authorization` wins. The cookie is exchanged at
//! auth for an access token, which goes along with every call of the request; the token of a program is checked here, so that
//! it is refused within a second after its session ended.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chassis::{
    context::Context,
    identity::{Token, User, Verifier},
};
use proto::{
    auth::{CreateAccessTokenRequest, CreateAccessTokenResponse, Plan},
    error::{ErrorCode, Fault},
};
use quick_cache::sync::Cache;

use crate::{
    app::App,
    error::{Failure, fault, fault_of},
    place::Place,
    request::Arrival,
    revocations::Revocations,
    upstream::Upstream,
};

/// Exchanged sessions kept in memory.
const SESSIONS: usize = 10_000;
/// An exchanged token is renewed this long before its end, so that it outlives the request it goes into.
const MARGIN: Duration = Duration::from_secs(90);

/// What a request shows.
#[derive(Clone)]
pub(crate) enum Credential {
    /// The secret of a browser's session.
    Session(Token),
    /// An access token.
    Bearer(Token),
}

/// What came of it. A credential that was not accepted matters only to routes that need a person.
#[derive(Clone)]
pub(crate) struct Identity {
    credential: Option<Credential>,
    outcome: Result<Option<User>, Fault>,
}

impl Identity {
    pub(crate) fn user(&self) -> Option<&User> {
        self.outcome.as_ref().ok()?.as_ref()
    }

    /// The secret of the session cookie, if that is what was shown.
    pub(crate) fn session_secret(&self) -> Option<&str> {
        match &self.credential {
            Some(Credential::Session(secret)) => Some(secret.expose()),
            _ => None,
        }
    }
}

/// An exchanged session.
#[derive(Clone)]
struct Exchanged {
    user: User,
    /// When the token ends, in seconds since 1970.
    expires: u64,
}

/// Turns credentials into people.
pub(crate) struct Sessions {
    upstream: Arc<Upstream>,
    verifier: Verifier,
    revocations: Arc<Revocations>,
    /// By the life of the stream of revocations, which makes everything learned before it worthless.
    exchanged: Cache<(u64, String), Exchanged>,
}

impl Sessions {
    pub(crate) fn new(upstream: Arc<Upstream>, verifier: Verifier, revocations: Arc<Revocations>) -> Self {
        Self { upstream, verifier, revocations, exchanged: Cache::new(SESSIONS) }
    }

    /// Who shows these. Cookies that open nothing are somebody else's and do not count. Where they open the sessions of two people
    /// one was put there by another page, and nobody knows which: then it is neither.
    async fn identity(&self, shown: Vec<Credential>, context: &Context) -> Identity {
        let mut identity = Identity { credential: None, outcome: Ok(None) };
        for credential in shown {
            let outcome = self.user(&credential, context).await.map(Some);
            let (before, now) = (identity.user().map(|user| user.id), outcome.as_ref().ok().and_then(|user| Some(user.as_ref()?.id)));
            match (before, now) {
                (Some(one), Some(other)) if one != other => {
                    let text = "the request shows sessions of two people; remove the cookies of this site and sign in again";
                    return Identity { credential: None, outcome: Err(fault(ErrorCode::Unauthenticated, "SESSION_AMBIGUOUS", text)) };
                }
                (Some(_), _) => {}
                (None, Some(_)) => identity = Identity { credential: Some(credential), outcome },
                (None, None) if identity.credential.is_none() => identity = Identity { credential: Some(credential), outcome },
                (None, None) => {}
            }
        }
        identity
    }

    /// The person behind a credential.
    pub(crate) async fn user(&self, credential: &Credential, context: &Context) -> Result<User, Fault> {
        let user = match credential {
            Credential::Session(secret) => self.exchange(secret.expose(), context).await?,
            Credential::Bearer(token) => self.verifier.user(token.expose()).await?,
        };
        // Also for what was exchanged while the end was on its way.
        if self.revocations.has_ended(user.session_id) {
            return Err(fault(ErrorCode::Unauthenticated, "SESSION_ENDED", "the session has ended; sign in again"));
        }
        Ok(user)
    }

    async fn exchange(&self, secret: &str, context: &Context) -> Result<User, Fault> {
        let Some(life) = self.revocations.life() else { return Ok(self.ask(secret, context).await?.user) };
        let key = (life, secret.to_owned());
        if let Some(known) = self.exchanged.get(&key) {
            if now() + MARGIN.as_secs() < known.expires {
                return Ok(known.user);
            }
            self.exchanged.remove(&key);
        }
        // Requests that come together for the same session ask once.
        let exchanged = self.exchanged.get_or_insert_async(&key, self.ask(secret, context)).await?;
        Ok(exchanged.user)
    }

    async fn ask(&self, secret: &str, context: &Context) -> Result<Exchanged, Fault> {
        let request = context.request(CreateAccessTokenRequest { session_token: secret.to_owned() });
        let answer = self.upstream.auth().create_access_token(request).await.map_err(|status| fault_of(&status))?;
        read_exchange(answer.into_inner()).ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "auth's answer cannot be read"))
    }

    /// Forgets a session that ends through this gateway, without waiting for auth's word.
    pub(crate) fn forget(&self, secret: &str) {
        if let Some(life) = self.revocations.life() {
            self.exchanged.remove(&(life, secret.to_owned()));
        }
    }
}

fn read_exchange(answer: CreateAccessTokenResponse) -> Option<Exchanged> {
    let user = answer.user?;
    let user = User {
        id: user.id.parse().ok()?,
        session_id: answer.session_id.parse().ok()?,
        plan: Plan::try_from(user.plan).ok()?,
        token: Token::new(&answer.access_token),
    };
    Some(Exchanged { user, expires: u64::try_from(answer.expire_time?.seconds).ok()? })
}

fn now() -> u64 {
    chassis::clock::now().unix_timestamp().unsigned_abs()
}

/// The middleware that finds out who asks, once per request.
pub(crate) async fn identify(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let shown = credentials(&app, request.headers());
    let identity = match (shown, request.extensions().get::<Arrival>()) {
        (Ok(shown), Some(arrival)) => app.sessions.identity(shown, &arrival.context(None)).await,
        (Err(fault), _) => Identity { credential: None, outcome: Err(fault) },
        (Ok(_), None) => Identity { credential: None, outcome: Ok(None) },
    };
    if let (Some(user), Some(place)) = (identity.user(), request.extensions().get::<Place>())
        && let Err(refusal) = place.belongs_to(user.id)
    {
        return refusal.into_response();
    }
    request.extensions_mut().insert(identity);
    next.run(request).await
}

/// What the request shows: an access token, or each of its session cookies.
fn credentials(app: &App, headers: &HeaderMap) -> Result<Vec<Credential>, Fault> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(app.origins.cookie.read(headers).into_iter().map(|secret| Credential::Session(Token::new(secret))).collect());
    };
    let token = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token.map(|(_, token)| token.trim()) {
        Some(token) if !token.is_empty() => Ok(vec![Credential::Bearer(Token::new(token))]),
        _ => Err(fault(ErrorCode::Unauthenticated, "TOKEN_INVALID", "Authorization must be `Bearer` and an access token")),
    }
}

/// The context of a route that needs a person.
pub(crate) struct Signed {
    pub(crate) context: Context,
    pub(crate) user: User,
    pub(crate) credential: Credential,
}

impl FromRequestParts<Arc<App>> for Signed {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        let (arrival, identity) = known(parts)?;
        match (identity.outcome, identity.credential) {
            (Ok(Some(user)), Some(credential)) => Ok(Self { context: arrival.context(Some(user.clone())), user, credential }),
            (Err(refusal), _) => Err(refusal.into()),
            _ => Err(fault(ErrorCode::Unauthenticated, "TOKEN_MISSING", "sign in first").into()),
        }
    }
}

/// The context of a route that anybody may use.
pub(crate) struct Anyone {
    pub(crate) context: Context,
    pub(crate) identity: Identity,
}

impl FromRequestParts<Arc<App>> for Anyone {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        let (arrival, identity) = known(parts)?;
        Ok(Self { context: arrival.context(identity.user().cloned()), identity })
    }
}

fn known(parts: &Parts) -> Result<(Arrival, Identity), Failure> {
    let arrival = parts.extensions.get::<Arrival>().cloned();
    let identity = parts.extensions.get::<Identity>().cloned();
    arrival.zip(identity).ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "the route is mounted outside of its stack").into())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use chassis::{
        config::Env,
        identity::{Caller, Keys},
        testing::Issuer,
    };
    use proto::id::UserId;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_token_is_good_until_its_session_ends() {
        let issuer = Issuer::start().await;
        let uri = issuer.uri.to_string();
        let secret = "a cluster secret that only tests have";
        let config = Config::read(&mut Env::of([("BACKLOT_AUTH_URL", uri.as_str()), ("BACKLOT_CLUSTER_SECRET", secret)]));
        let upstream = Arc::new(Upstream::new(&config));
        let revocations = Arc::new(Revocations::new());
        let verifier = Verifier::new(Caller::Gateway, &config.secret, Keys::Remote(upstream.auth_channel()));
        let sessions = Sessions::new(upstream, verifier, Arc::clone(&revocations));
        let id = UserId::generate();
        let bearer = Credential::Bearer(Token::new(&issuer.token(id, Plan::Pro)));

        let user = sessions.user(&bearer, &Context::background()).await.expect("a person");
        assert_eq!((user.id, user.plan), (id, Plan::Pro));
        revocations.end(user.session_id, Instant::now());
        assert_eq!(sessions.user(&bearer, &Context::background()).await.expect_err("ended").reason, "SESSION_ENDED");
        let garbage = Credential::Bearer(Token::new("garbage"));
        assert_eq!(sessions.user(&garbage, &Context::background()).await.expect_err("refused").reason, "TOKEN_INVALID");
    }
}
