//! Finds the person of a credential. A browser sends its session cookie, a program an access token or an API key; `Authorization` has
//! precedence. The cookie or the key is exchanged at auth for an access token, which every call of the request carries. The token of a program
//! is verified here, so that it is refused within a second after its session has ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use chassis::{
    context::Context,
    identity::{REFRESH_TOKEN_CLAIM, Token, User},
    revocations::Revocations,
    verifier::Verifier,
};
use proto::{
    auth::{CreateAccessTokenRequest, CreateAccessTokenResponse, Plan, RecordAccessTokenUseRequest},
    error::{ErrorCode, Fault},
};
use quick_cache::sync::Cache;
use serde_json::Value;

use crate::{
    error::{fault, fault_of},
    identity::cookie::SessionCookie,
    upstream::Upstream,
};

/// What API keys begin with, those of persons and of service accounts. Access tokens begin with `ey`.
const KEY_PREFIXES: [&str; 2] = ["blt_pat_", "blt_svc_"];
/// Sessions and keys whose access token is cached.
const CACHE_SIZE: usize = 10_000;
/// A cached token is renewed this long before it expires, so that it outlives the request that uses it.
const MARGIN: Duration = Duration::from_secs(90);

/// Whether a text has the form of an API key. Only auth knows whether it is one.
fn is_key(text: &str) -> bool {
    KEY_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// A credential of a request.
#[derive(Clone)]
pub(crate) enum Credential {
    /// The secret of a browser's session.
    Session(Token),
    /// An access token.
    Bearer(Token),
    /// An API key.
    Key(Token),
}

impl Credential {
    /// The request that exchanges it for an access token; `None` for an access token.
    fn exchange(&self) -> Option<CreateAccessTokenRequest> {
        let text = |token: &Token| token.expose().to_owned();
        match self {
            Self::Session(secret) => Some(CreateAccessTokenRequest { session_token: text(secret), ..Default::default() }),
            Self::Key(key) => Some(CreateAccessTokenRequest { api_key: text(key), ..Default::default() }),
            Self::Bearer(_) => None,
        }
    }

    fn expose(&self) -> &str {
        let (Self::Session(token) | Self::Bearer(token) | Self::Key(token)) = self;
        token.expose()
    }

    /// The refusal after its end.
    fn ended(&self) -> Fault {
        match self {
            Self::Key(_) => fault(ErrorCode::Unauthenticated, "API_KEY_INVALID", "the API key does not exist, was deleted or has expired"),
            _ => fault(ErrorCode::Unauthenticated, "SESSION_ENDED", "the session has ended; sign in again"),
        }
    }
}

/// The person of a request, or why there is none; an extension of the request. An invalid credential is an error only on routes that need
/// a person.
#[derive(Clone)]
pub(crate) struct Identity {
    credential: Option<Credential>,
    outcome: Result<Option<User>, Fault>,
}

impl Identity {
    /// Of a request without credentials.
    pub(crate) fn anonymous() -> Self {
        Self { credential: None, outcome: Ok(None) }
    }

    pub(crate) fn refused(fault: Fault) -> Self {
        Self { credential: None, outcome: Err(fault) }
    }

    /// # Errors
    /// Why the credential was refused, or TOKEN_MISSING.
    pub(crate) fn require(self) -> Result<(User, Credential), Fault> {
        match (self.outcome, self.credential) {
            (Ok(Some(user)), Some(credential)) => Ok((user, credential)),
            (Err(refusal), _) => Err(refusal),
            _ => Err(fault(ErrorCode::Unauthenticated, "TOKEN_MISSING", "sign in first")),
        }
    }

    pub(crate) fn user(&self) -> Option<&User> {
        self.outcome.as_ref().ok()?.as_ref()
    }

    /// Why nobody could say whether the credential is valid.
    pub(crate) fn unchecked(&self) -> Option<&Fault> {
        use ErrorCode::{Internal, RateLimited, Timeout, Unavailable};
        self.outcome.as_ref().err().filter(|fault| matches!(fault.code, Unavailable | Timeout | RateLimited | Internal))
    }

    /// The API key, if the request used one.
    pub(crate) fn api_key(&self) -> Option<&str> {
        match &self.credential {
            Some(Credential::Key(key)) => Some(key.expose()),
            _ => None,
        }
    }

    /// The secret of the session cookie, if the request used one.
    pub(crate) fn session_secret(&self) -> Option<&str> {
        match &self.credential {
            Some(Credential::Session(secret)) => Some(secret.expose()),
            _ => None,
        }
    }
}

/// The access token of a session.
#[derive(Clone)]
struct CachedSession {
    user: User,
    /// When the token expires, in seconds since 1970.
    expires: u64,
    /// When it was requested from auth.
    requested: Instant,
}

/// Finds the people of credentials.
pub(crate) struct Sessions {
    pub(crate) cookie: SessionCookie,
    upstream: Arc<Upstream>,
    verifier: Verifier,
    revocations: Arc<Revocations>,
    /// By the epoch of the stream of revocations, since tokens of an earlier epoch may be revoked, and by the secret.
    cache: Cache<(u64, String), CachedSession>,
    /// Refresh tokens, by their id, whose access token is known to auth as used.
    recorded: Cache<String, ()>,
}

impl Sessions {
    pub(crate) fn new(cookie: SessionCookie, upstream: Arc<Upstream>, verifier: Verifier, revocations: Arc<Revocations>) -> Self {
        Self { cookie, upstream, verifier, revocations, cache: Cache::new(CACHE_SIZE), recorded: Cache::new(CACHE_SIZE) }
    }

    /// The identity behind the credentials of one request. Cookies without a session are ignored. If cookies belong to the sessions of two
    /// people, another page has set one of them, and it is unknown which one. Then the request has no identity.
    pub(crate) async fn identify(&self, credentials: Vec<Credential>, context: &Context) -> Identity {
        let mut identity = Identity::anonymous();
        for credential in credentials {
            let outcome = self.user(&credential, context).await.map(Some);
            let (before, now) = (identity.user().map(|user| user.id), outcome.as_ref().ok().and_then(|user| Some(user.as_ref()?.id)));
            match (before, now) {
                (Some(one), Some(other)) if one != other => {
                    let text = "the request has sessions of two people; remove the cookies of this site and sign in again";
                    return Identity::refused(fault(ErrorCode::Unauthenticated, "SESSION_AMBIGUOUS", text));
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
        let user = match credential.exchange() {
            Some(request) => self.exchange(credential.expose(), request, context).await?,
            None => {
                let user = self.verifier.user(credential.expose()).await?;
                self.revocations.until_known().await?;
                user
            }
        };
        // This also covers a token that was fetched before the revocation arrived.
        if self.revocations.has_ended(user.session_id) {
            return Err(credential.ended());
        }
        self.record_use(&user, context).await?;
        Ok(user)
    }

    /// Tells auth that the access token of a refresh token is used, before its first request here. If auth cannot be asked, the token is
    /// accepted by its signature, and the next request tries again.
    async fn record_use(&self, user: &User, context: &Context) -> Result<(), Fault> {
        let Some(id) = user.private_claims.get(REFRESH_TOKEN_CLAIM).and_then(Value::as_str) else { return Ok(()) };
        if self.recorded.get(id).is_some() {
            return Ok(());
        }
        let context = Context { user: Some(user.clone()), ..context.clone() };
        let request = context.request(RecordAccessTokenUseRequest {});
        match self.upstream.auth().record_access_token_use(request).await.map_err(|status| fault_of(&status)) {
            Ok(_) => self.recorded.insert(id.to_owned(), ()),
            Err(fault) if fault.code == ErrorCode::Unauthenticated => return Err(fault),
            Err(fault) => tracing::debug!("the use of an access token could not be recorded: {fault}"),
        }
        Ok(())
    }

    /// The credentials of a request: an access token or an API key, or each of its session cookies.
    pub(crate) fn credentials(&self, headers: &HeaderMap) -> Result<Vec<Credential>, Fault> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            // A key in a cookie is no session, although the cache may know it.
            let secrets = self.cookie.read(headers).into_iter().filter(|secret| !is_key(secret));
            return Ok(secrets.map(|secret| Credential::Session(Token::new(secret))).collect());
        };
        let token = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match token.map(|(_, token)| token.trim()) {
            Some(key) if is_key(key) => Ok(vec![Credential::Key(Token::new(key))]),
            Some(token) if !token.is_empty() => Ok(vec![Credential::Bearer(Token::new(token))]),
            _ => {
                Err(fault(ErrorCode::Unauthenticated, "TOKEN_INVALID", "Authorization must be `Bearer` and an access token or an API key"))
            }
        }
    }

    async fn exchange(&self, secret: &str, request: CreateAccessTokenRequest, context: &Context) -> Result<User, Fault> {
        let Some(epoch) = self.revocations.epoch() else { return Ok(self.fetch(request, context).await?.user) };
        let key = (epoch, secret.to_owned());
        if let Some(known) = self.cache.get(&key) {
            if now() + MARGIN.as_secs() < known.expires && !self.revocations.is_outdated(known.user.session_id, known.requested) {
                return Ok(known.user);
            }
            self.cache.remove(&key);
        }
        // Concurrent requests of the same session ask auth once.
        let session = self.cache.get_or_insert_async(&key, self.fetch(request, context)).await?;
        Ok(session.user)
    }

    async fn fetch(&self, request: CreateAccessTokenRequest, context: &Context) -> Result<CachedSession, Fault> {
        let requested = Instant::now();
        let answer = self.upstream.auth().create_access_token(context.request(request)).await.map_err(|status| fault_of(&status))?;
        parse_exchange(answer.into_inner(), requested)
            .ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "the answer of auth cannot be read"))
    }

    /// Drops a session that was ended through this gateway, before auth reports the end.
    pub(crate) fn forget(&self, secret: &str) {
        if let Some(epoch) = self.revocations.epoch() {
            self.cache.remove(&(epoch, secret.to_owned()));
        }
    }
}

fn parse_exchange(answer: CreateAccessTokenResponse, requested: Instant) -> Option<CachedSession> {
    let user = answer.user?;
    let user = User {
        id: user.id.parse().ok()?,
        session_id: answer.session_id.parse().ok()?,
        private_claims: Arc::new(Plan::try_from(user.plan).ok()?.into()),
        // The services read both times in the token.
        issued_at: 0,
        auth_time: 0,
        // The token has it, and the services check it.
        grant: None,
        token: Token::new(&answer.access_token),
    };
    Some(CachedSession { user, expires: u64::try_from(answer.expire_time?.seconds).ok()?, requested })
}

fn now() -> u64 {
    chassis::clock::now().unix_timestamp().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use chassis::{
        config::Env,
        identity::Caller,
        testing::{Issuer, eventually},
        verifier::Keys,
    };
    use proto::id::{SessionId, UserId};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::Config;

    fn sessions_of(issuer: &Issuer) -> (Sessions, Arc<Revocations>) {
        sessions_until(issuer, CancellationToken::new())
    }

    /// They follow the revocations until `stop`.
    fn sessions_until(issuer: &Issuer, stop: CancellationToken) -> (Sessions, Arc<Revocations>) {
        let uri = issuer.uri.to_string();
        let secret = "a cluster secret that only tests have";
        let config = Config::read(&mut Env::of([("BACKLOT_AUTH_URL", uri.as_str()), ("BACKLOT_CLUSTER_SECRET", secret)]));
        let upstream = Arc::new(Upstream::new(&config));
        let revocations = Arc::new(Revocations::new(Caller::Gateway));
        chassis::task::spawn(Arc::clone(&revocations).follow(upstream.auth_channel(), stop));
        let verifier = Verifier::new(Caller::Gateway, &config.cluster_secret, Keys::Remote(upstream.auth_channel()));
        let cookie = SessionCookie::new(false, &[[0; 32]]);
        (Sessions::new(cookie, upstream, verifier, Arc::clone(&revocations)), revocations)
    }

    #[tokio::test]
    async fn a_credential_is_exchanged_on_every_request_while_the_feed_is_down() {
        const LIMIT: Duration = Duration::from_secs(60);
        let (issuer, session, stop) = (Issuer::start().await, SessionId::generate(), CancellationToken::new());
        issuer.answer_exchanges(session, UserId::generate(), Plan::Pro);
        let (sessions, revocations) = sessions_until(&issuer, stop.clone());
        let (cookie, key) = (Credential::Session(Token::new("a secret")), Credential::Key(Token::new("blt_pat_a")));
        let context = Context::background();
        eventually(LIMIT, || async { revocations.epoch() }).await;
        for (credential, asked) in [(&cookie, 1), (&cookie, 1), (&key, 2), (&key, 2)] {
            assert_eq!(sessions.user(credential, &context).await.expect("a person").session_id, session);
            assert_eq!(issuer.exchanges(), asked, "the feed is up");
        }
        stop.cancel();
        eventually(LIMIT, || async { revocations.epoch().is_none().then_some(()) }).await;
        for (credential, asked) in [(&cookie, 3), (&cookie, 4), (&key, 5), (&key, 6)] {
            sessions.user(credential, &context).await.expect("a person");
            assert_eq!(issuer.exchanges(), asked, "the feed is down");
        }
        // Nobody reports the end here.
        issuer.end(session);
        for credential in [&cookie, &key] {
            assert_eq!(sessions.user(credential, &context).await.expect_err("ended").reason, "SESSION_ENDED");
        }
        assert!(!revocations.has_ended(session), "only auth knows");
    }

    /// Otherwise a route for everybody would say "sign in first" to somebody who is signed in.
    #[test]
    fn a_credential_that_nobody_could_check_is_not_that_of_nobody() {
        for (code, is_unchecked) in [
            (ErrorCode::Unavailable, true),
            (ErrorCode::Timeout, true),
            (ErrorCode::RateLimited, true),
            (ErrorCode::Unauthenticated, false),
            (ErrorCode::Forbidden, false),
        ] {
            let identity = Identity::refused(fault(code, "REASON", "why"));
            assert_eq!(identity.unchecked().is_some(), is_unchecked, "{code:?}");
        }
        assert!(Identity::anonymous().unchecked().is_none());
    }

    #[tokio::test]
    async fn the_access_token_of_a_refresh_token_is_recorded_once() {
        let issuer = Issuer::start().await;
        let (sessions, _) = sessions_of(&issuer);
        let bearer = |claim: Option<&str>| {
            let mut claims: serde_json::Map<String, Value> = Plan::Pro.into();
            claims.extend(claim.map(|id| (REFRESH_TOKEN_CLAIM.to_owned(), Value::from(id))));
            Credential::Bearer(Token::new(&issuer.token(UserId::generate(), claims)))
        };
        for (credential, recorded) in [(bearer(None), 0), (bearer(Some("one")), 1), (bearer(Some("one")), 1), (bearer(Some("two")), 2)] {
            for _ in 0..3 {
                sessions.user(&credential, &Context::background()).await.expect("a person");
            }
            assert_eq!(issuer.recorded_uses(), recorded);
        }
    }

    #[tokio::test]
    async fn a_token_of_a_session_that_ended_before_the_start_is_refused() {
        let (issuer, session) = (Issuer::start().await, SessionId::generate());
        issuer.end(session);
        let (sessions, _) = sessions_of(&issuer);
        let token = issuer.token_of(session, UserId::generate(), Plan::Pro, now() + 300);
        let bearer = Credential::Bearer(Token::new(&token));
        assert_eq!(sessions.user(&bearer, &Context::background()).await.expect_err("ended").reason, "SESSION_ENDED");
    }

    #[tokio::test]
    async fn a_token_is_valid_until_its_session_ends() {
        let issuer = Issuer::start().await;
        let (sessions, revocations) = sessions_of(&issuer);
        let id = UserId::generate();
        let bearer = Credential::Bearer(Token::new(&issuer.token(id, Plan::Pro)));

        let user = sessions.user(&bearer, &Context::background()).await.expect("a person");
        assert_eq!((user.id, Plan::from_claims(&user.private_claims)), (id, Plan::Pro));
        revocations.end(user.session_id, Instant::now());
        assert_eq!(sessions.user(&bearer, &Context::background()).await.expect_err("ended").reason, "SESSION_ENDED");
        let garbage = Credential::Bearer(Token::new("garbage"));
        assert_eq!(sessions.user(&garbage, &Context::background()).await.expect_err("refused").reason, "TOKEN_INVALID");
    }
}
