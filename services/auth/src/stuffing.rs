//! Admits sign-ins with a password, and detects credential stuffing: a source that tries a list of stolen addresses and passwords. A source is the network of a client. It is
//! flagged after 25 different pairs of address and password that were wrong within a day; rate-limit counts an IPv6 source also with its
//! /56 (50 pairs) and its /48 (100 pairs). A flagged source waits, or solves a challenge for each attempt. Sign-ins from addresses
//! that the account knows do not count for the source and are not refused, so nobody can keep a person out. They cause the same calls, for
//! subjects of their own, so that nobody learns from the work of a sign-in whether there is an account. A challenge also admits a sign-in to an
//! account whose limit others have used up.

use std::fmt::Write as _;

use chassis::{
    client::ServiceChannel,
    context::Context,
    limit::{check, peek},
    secret::{AUTH_KEYS, ClusterSecret},
};
use proto::{
    error::{ErrorCode, Fault},
    rate_limit::rate_limit_service_client::RateLimitServiceClient,
};
use ring::hmac;
use time::OffsetDateTime;

use crate::{
    challenge::{BITS, Challenges},
    error::{Error, SERVICE},
    limit,
};

/// Counts the wrong pairs of a source.
const SOURCE_POLICY: &str = "auth-stuffing";
/// Allows one unit a day, so a pair counts once, and a challenge is solved once.
const ONCE_POLICY: &str = "auth-once";
/// Bytes of a keyed hash that rate-limit gets.
const HASH_BYTES: usize = 16;

pub(crate) struct Detector {
    limiter: RateLimitServiceClient<ServiceChannel>,
    /// Of the hashes of pairs, which rate-limit keeps for a day. It has neither passwords nor this key.
    pairs: hmac::Key,
    /// Set if a refused source may solve a challenge.
    challenges: Option<Challenges>,
}

/// One attempt.
pub(crate) struct Source<'a> {
    /// The network of the client, as [`crate::limit::address_of`] writes it.
    pub(crate) network: &'a str,
    /// The identity of the typed e-mail address.
    pub(crate) identity: &'a str,
    /// Whether the account knows the network.
    pub(crate) is_known: bool,
}

impl Detector {
    pub(crate) fn new(limiter: RateLimitServiceClient<ServiceChannel>, secret: &ClusterSecret, with_challenges: bool) -> Self {
        // The role keys of auth have no key for each of these purposes, so both are derived from one that they have.
        let own = secret.of_purpose(AUTH_KEYS);
        Self {
            limiter,
            pairs: hmac::Key::new(hmac::HMAC_SHA256, &own.derive("pairs of sign-ins")),
            challenges: with_challenges.then(|| Challenges::new(&own.accepted("challenges of sign-ins"))),
        }
    }

    /// Counts a sign-in. Refuses that of a flagged source, and one beyond the limit of its account, without the solution of a challenge.
    ///
    /// # Errors
    /// RATE_LIMITED; CHALLENGE_REQUIRED with a challenge, if challenges are enabled; UNAVAILABLE if rate-limit does not answer.
    pub(crate) async fn admit(&self, context: &Context, source: &Source<'_>, solution: &str, now: OffsetDateTime) -> Result<(), Error> {
        let now = now.unix_timestamp();
        let is_solved = self.is_solved(context, source, solution, now).await?;
        let flagged = if is_solved {
            Ok(())
        } else {
            peek(&mut self.limiter.clone(), context, SERVICE, (SOURCE_POLICY, &self.subject(source, ""))).await
        };
        let counted = match flagged {
            Ok(()) => limit::count_sign_in(&self.limiter, context, (source.identity, source.is_known), is_solved).await,
            refused => refused,
        };
        counted.map_err(|refusal| self.with_challenge(refusal, source.network, now))
    }

    /// Whether the text solves a challenge of the source that was not solved before.
    async fn is_solved(&self, context: &Context, source: &Source<'_>, solution: &str, now: i64) -> Result<bool, Fault> {
        let solved = self.challenges.as_ref().and_then(|challenges| challenges.solved(solution, source.network, now));
        let Some(nonce) = solved else { return Ok(false) };
        match self.take(context, &[(ONCE_POLICY, &format!("challenge:{nonce}"))]).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.reason == "RATE_LIMITED" => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The refusal of a sign-in, with a challenge if its solution would admit the sign-in.
    fn with_challenge(&self, refusal: Fault, network: &str, now: i64) -> Error {
        let policy = refusal.metadata.get("policy");
        let is_solvable = policy.is_some_and(|policy| [SOURCE_POLICY, limit::ACCOUNT_POLICY].contains(&policy.as_str()));
        let Some(challenges) = self.challenges.as_ref().filter(|_| is_solvable) else { return refusal.into() };
        match challenges.issue(network, now) {
            Ok(challenge) => challenge_required(&refusal, challenge).into(),
            Err(error) => error.into(),
        }
    }

    /// Counts a pair that was wrong. The sign-in is refused anyway, so a failure of rate-limit changes nothing.
    pub(crate) async fn count_wrong(&self, context: &Context, source: &Source<'_>, password: &str) {
        let pair = format!("pair:{}", self.hash(source, password));
        // The second try of a pair is refused by the first policy, and then neither of them counts it.
        let Ok(answer) = self.take(context, &[(ONCE_POLICY, &pair), (SOURCE_POLICY, &self.subject(source, " wrong"))]).await else {
            return;
        };
        if !source.is_known && answer.decisions.get(1).is_some_and(|decision| decision.remaining == 0) {
            tracing::warn!(network = source.network, "a network tries a list of passwords; its sign-ins are refused for up to a day");
        }
    }

    async fn take(&self, context: &Context, checks: &[(&str, &str)]) -> Result<proto::rate_limit::CheckResponse, Fault> {
        check(&mut self.limiter.clone(), context, SERVICE, checks).await
    }

    /// What rate-limit counts. What is counted for a known network is another subject than the one that is asked for, so it is never refused.
    fn subject(&self, source: &Source<'_>, of_known: &str) -> String {
        let network = source.network;
        if source.is_known { format!("address:{network} known:{}{of_known}", self.hash(source, "")) } else { format!("address:{network}") }
    }

    /// The keyed hash of a source, an address and a password. The same list from two sources has different hashes.
    fn hash(&self, source: &Source<'_>, password: &str) -> String {
        let mut hash = hmac::Context::with_key(&self.pairs);
        for part in [source.network, source.identity, password] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.sign().as_ref()[..HASH_BYTES].iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn challenge_required(refusal: &Fault, challenge: String) -> Fault {
    let text = "too many sign-ins from your network, or to this account, were wrong; solve the challenge, or try again later";
    let fault = Fault::new(SERVICE, ErrorCode::RateLimited, "CHALLENGE_REQUIRED", text);
    let fault = fault.with("challenge", challenge).with("bits", BITS.to_string());
    Fault { retry_after: refusal.retry_after, ..fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector() -> Detector {
        let secret = ClusterSecret::of_bytes(&[7; 32]);
        let uri = http::Uri::from_static("http://127.0.0.1:1");
        let channel = chassis::client::connect(chassis::identity::Caller::Auth, chassis::identity::Caller::RateLimit, &uri, &secret);
        Detector::new(RateLimitServiceClient::new(channel), &secret, false)
    }

    #[tokio::test]
    async fn a_hash_tells_pairs_and_sources_apart_and_has_no_password() {
        let detector = detector();
        let hash = |network, identity, password: &str| detector.hash(&Source { network, identity, is_known: false }, password);
        let one = hash("192.0.2.1", "ada@example.org", "hunter2");
        assert_eq!(one, hash("192.0.2.1", "ada@example.org", "hunter2"));
        for other in [
            hash("192.0.2.2", "ada@example.org", "hunter2"),
            hash("192.0.2.1", "eve@example.org", "hunter2"),
            hash("192.0.2.1", "ada@example.org", "hunter3"),
            hash("192.0.2.1", "ada@example.orgh", "unter2"),
        ] {
            assert_ne!(one, other);
        }
        assert!(one.len() == 2 * HASH_BYTES && !one.contains("hunter2"));
    }

    #[tokio::test]
    async fn what_is_counted_for_a_known_network_refuses_nobody() {
        let detector = detector();
        let source = |is_known| Source { network: "192.0.2.1", identity: "ada@example.org", is_known };
        for of_known in ["", " wrong"] {
            assert_eq!(detector.subject(&source(false), of_known), "address:192.0.2.1");
        }
        let (asked, counted) = (detector.subject(&source(true), ""), detector.subject(&source(true), " wrong"));
        assert!(asked.starts_with("address:192.0.2.1 known:") && counted == format!("{asked} wrong"), "{asked} {counted}");
        assert!(!asked.contains("ada"));
    }

    #[test]
    fn a_refusal_with_a_challenge_says_what_to_solve_and_how_long_to_wait() {
        let refusal = Fault::new(SERVICE, ErrorCode::RateLimited, "RATE_LIMITED", "x").retry_after(std::time::Duration::from_secs(60));
        let fault = challenge_required(&refusal, "1.a.b".to_owned());
        assert_eq!((fault.reason.as_str(), fault.retry_after), ("CHALLENGE_REQUIRED", refusal.retry_after));
        assert_eq!(fault.metadata.get("challenge").map(String::as_str), Some("1.a.b"));
        assert_eq!(fault.metadata.get("bits").map(String::as_str), Some("20"));
    }
}
