//! How often. First `edge`: `tower_governor` by address, in this process, so that a flood costs nothing behind us. Then the
//! policy `general` at rate-limit, by person or else by address. When rate-limit cannot be asked the request passes: the edge
//! is the floor, and what is dear (sign-in, saves, turns) is checked by its owner, who refuses then.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chassis::{context::Context, task::Tasks};
use proto::{
    error::{ErrorCode, Fault, QuotaViolation},
    id::UserId,
    rate_limit::PolicyDecision,
};
use quick_cache::sync::Cache;
use tower_governor::{GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor};

use crate::{
    address,
    app::App,
    auth::Identity,
    error::{self, Failure, fault, whole_seconds},
    request::Arrival,
};

const POLICY: &str = "general";
/// How long a request waits for a decision before it passes without one.
const DECISION_TIME: Duration = Duration::from_millis(500);
/// How long rate-limit is left alone after it did not answer.
const REST: Duration = Duration::from_secs(1);
/// Subjects whose refusal is remembered here.
const REMEMBERED: usize = 10_000;
/// How often the edge forgets addresses that are quiet again.
const TIDY: Duration = Duration::from_secs(60);

/// What a policy left to a client, for the headers of draft-ietf-httpapi-ratelimit-headers 08 to 11. The draft still changes:
/// this is the one place that knows its syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quota {
    policy: String,
    limit: u64,
    remaining: u64,
    reset: u64,
    window: u64,
}

impl Quota {
    /// From the facts of a refusal.
    pub(crate) fn of_fault(fault: &Fault) -> Option<Self> {
        let number = |key: &str| fault.metadata.get(key)?.parse::<u64>().ok();
        let reset = number("reset")?;
        // The draft wants the reset to be no later than Retry-After.
        let reset = fault.retry_after.map_or(reset, |wait| reset.min(whole_seconds(wait)));
        Some(Self {
            policy: fault.metadata.get("policy")?.clone(),
            limit: number("limit")?,
            remaining: number("remaining")?,
            reset,
            window: number("window")?,
        })
    }

    fn of_decision(decision: &PolicyDecision) -> Self {
        let seconds = |seconds: i64, nanos: i32| u64::try_from(seconds).unwrap_or_default() + u64::from(nanos > 0);
        Self {
            policy: decision.policy.clone(),
            limit: decision.limit.into(),
            remaining: decision.remaining.into(),
            reset: decision.reset_after.as_ref().map_or(0, |d| seconds(d.seconds, d.nanos)),
            window: decision.window.as_ref().map_or(0, |d| seconds(d.seconds, d.nanos)),
        }
    }

    /// `RateLimit-Policy` and `RateLimit`, unless the answer has some already.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self { policy, limit, remaining, reset, window } = self;
        let pairs = [
            ("ratelimit-policy", format!("\"{policy}\";q={limit};w={window}")),
            ("ratelimit", format!("\"{policy}\";r={remaining};t={reset}")),
        ];
        for (name, text) in pairs {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.entry(name).or_insert(value);
            }
        }
    }
}

/// A refusal by a policy that this process counts itself.
pub(crate) fn refusal(policy: &str, limit: u32, window: Duration, wait: Duration) -> Failure {
    let text = format!("policy `{policy}` allows {limit} per {} s", window.as_secs());
    let mut fault = fault(ErrorCode::RateLimited, "RATE_LIMITED", text.clone())
        .retry_after(wait)
        .with("policy", policy)
        .with("limit", limit.to_string())
        .with("remaining", "0")
        .with("reset", whole_seconds(wait).to_string())
        .with("window", window.as_secs().to_string());
    fault.quota = vec![QuotaViolation { policy: policy.to_owned(), description: format!("{limit} per {} s", window.as_secs()) }];
    fault.into()
}

/// Numbers of the edge: `burst` at once, then `per_second`. Zero per second switches it off.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    pub per_second: u32,
    pub burst: u32,
}

#[derive(Clone)]
struct ByAddress;

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn name(&self) -> &'static str {
        "client address"
    }

    fn extract<T>(&self, request: &axum::http::Request<T>) -> Result<IpAddr, GovernorError> {
        request.extensions().get::<Arrival>().map(|a| address::limit_key(a.address)).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Puts the edge in front of a router. `tasks` tidies its memory.
pub(crate) fn edge(router: Router, edge: Edge, tasks: &Tasks) -> Router {
    let Some(period) = Duration::from_secs(1).checked_div(edge.per_second) else { return router };
    let config = GovernorConfigBuilder::default().key_extractor(ByAddress).period(period).burst_size(edge.burst.max(1)).finish();
    let Some(config) = config else { return router };
    let limiter = Arc::clone(config.limiter());
    let stop = tasks.token();
    tasks.spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(TIDY)).await.is_some() {
            limiter.retain_recent();
        }
    });
    router.layer(GovernorLayer::new(config).error_handler(move |e| refused_at_the_edge(&e, edge)))
}

fn refused_at_the_edge(error: &GovernorError, edge: Edge) -> Response {
    match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            let wait = Duration::from_secs((*wait_time).max(1));
            refusal("edge", edge.per_second, Duration::from_secs(1), wait).into_response()
        }
        _ => Failure::from(fault(ErrorCode::Internal, "INTERNAL", "the request has no address")).into_response(),
    }
}

/// What this process remembers of `general`.
pub(crate) struct General {
    /// Until when a subject is refused anyway. A refusal takes nothing, so no request can pass before that moment.
    refused: Cache<String, (Instant, Fault)>,
    started: Instant,
    /// Milliseconds after `started` until which rate-limit is not asked.
    rests_until: AtomicU64,
}

impl General {
    pub(crate) fn new() -> Self {
        Self { refused: Cache::new(REMEMBERED), started: Instant::now(), rests_until: AtomicU64::new(0) }
    }

    fn remembered(&self, subject: &str, now: Instant) -> Option<Fault> {
        let (until, fault) = self.refused.get(subject)?;
        if until <= now {
            self.refused.remove(subject);
            return None;
        }
        Some(fault.retry_after(until - now))
    }

    fn rests(&self, now: Instant) -> bool {
        self.milliseconds(now) < self.rests_until.load(Ordering::Relaxed)
    }

    fn rest(&self, now: Instant) {
        self.rests_until.store(self.milliseconds(now + REST), Ordering::Relaxed);
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The middleware of counted routes.
pub(crate) async fn general(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let arrival = request.extensions().get::<Arrival>().cloned();
    let person = request.extensions().get::<Identity>().and_then(Identity::user).map(|user| user.id);
    let Some(arrival) = arrival else { return next.run(request).await };
    match decide(&app, &arrival, person).await {
        Err(refusal) => Failure::from(refusal).into_response(),
        Ok(quota) => {
            let mut response = next.run(request).await;
            if let Some(quota) = quota.filter(|_| response.extensions().get::<Failure>().is_none_or(|f| f.0.code != ErrorCode::RateLimited))
            {
                quota.write(response.headers_mut());
            }
            response
        }
    }
}

async fn decide(app: &App, arrival: &Arrival, person: Option<UserId>) -> Result<Option<Quota>, Fault> {
    let subject = match person {
        Some(user) => format!("user:{user}"),
        None => format!("address:{}", address::limit_key(arrival.address)),
    };
    let (general, now) = (&app.general, Instant::now());
    if let Some(refusal) = general.remembered(&subject, now) {
        return Err(refusal);
    }
    if general.rests(now) {
        return Ok(None);
    }
    let context = Context { deadline: Some(now + DECISION_TIME), ..arrival.context(None) };
    match chassis::limit::check(&mut app.upstream.rate_limit(), &context, error::SERVICE, &[(POLICY, &subject)]).await {
        Ok(answer) => Ok(answer.decisions.first().map(Quota::of_decision)),
        Err(refusal) if refusal.code == ErrorCode::RateLimited => {
            let wait = refusal.retry_after.unwrap_or_default();
            general.refused.insert(subject, (Instant::now() + wait, refusal.clone()));
            Err(refusal)
        }
        Err(_) => {
            general.rest(Instant::now());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_until_it_could_pass() {
        let general = General::new();
        let now = Instant::now();
        let Failure(fault) = refusal("general", 10, Duration::from_secs(10), Duration::from_secs(4));
        general.refused.insert("user:a".into(), (now + Duration::from_secs(4), *fault));
        let again = general.remembered("user:a", now + Duration::from_secs(3)).expect("still refused");
        assert_eq!(again.retry_after, Some(Duration::from_secs(1)));
        assert!(general.remembered("user:b", now).is_none());
        assert!(general.remembered("user:a", now + Duration::from_secs(4)).is_none());
    }

    #[test]
    fn a_silent_limiter_is_left_alone_for_a_while() {
        let general = General::new();
        let now = Instant::now();
        assert!(!general.rests(now));
        general.rest(now);
        assert!(general.rests(now + REST / 2) && !general.rests(now + REST));
    }

    #[test]
    fn headers_of_a_decision() {
        let json = r#"{"policy":"general","allowed":true,"limit":10,"remaining":4,"resetAfter":"6.000000001s","window":"10s"}"#;
        let decision: PolicyDecision = serde_json::from_str(json).unwrap();
        let mut headers = HeaderMap::new();
        Quota::of_decision(&decision).write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""general";q=10;w=10"#);
        assert_eq!(headers["ratelimit"], r#""general";r=4;t=7"#);
    }
}
