//! Checks of access tokens at the gateway, of tokens that it has not seen and of those that it has, compared with the bare ES256 signature by
//! ring, which is the fastest verifier in Rust that was measured. All in one thread, by its CPU time.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context as Waiting, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{
    client,
    context::Context,
    identity::Caller,
    testing::{self, Issuer},
    verifier::{Keys, Verifier},
};
use proto::{
    auth::{GetKeySetRequest, Plan, auth_service_client::AuthServiceClient},
    id::UserId,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::{
    environment::progress,
    proc::cpu_of_thread,
    sample::{median, rotated},
    table::{Goal, Table, Unit},
};

const ROUNDS: usize = 5;
/// New tokens of a round. Those of all rounds are more than the gateway keeps.
const TOKENS: usize = 4_000;
/// How often each token of a round is checked again.
const REPEATS: usize = 50;

pub(crate) async fn measure(table: &mut Table) -> Result<()> {
    progress("token");
    let issuer = Issuer::start().await;
    let channel = client::connect(Caller::Gateway, Caller::Auth, &issuer.uri, &testing::secret());
    let keys = AuthServiceClient::new(channel.clone()).get_key_set(Context::background().request(GetKeySetRequest {})).await?.into_inner();
    let key = keys.keys.first().context("a key")?;
    let point = [vec![4], URL_SAFE_NO_PAD.decode(&key.x)?, URL_SAFE_NO_PAD.decode(&key.y)?].concat();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let verifier = Verifier::new(Caller::Gateway, &testing::secret(), Keys::Remote(channel));
    // The first check fetches the keys.
    verifier.user(&issuer.token(UserId::generate(), Plan::Free)).await.map_err(|fault| anyhow!("{fault:?}"))?;

    let (mut bare, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let tokens: Vec<String> = (0..TOKENS).map(|_| issuer.token(UserId::generate(), Plan::Free)).collect();
        for target in rotated(2, round) {
            if target == 0 {
                bare.push(rate(&tokens, 1, |token| verify(&public, token))?);
            } else {
                first.push(rate(&tokens, 1, |token| check(&verifier, token))?);
                again.push(rate(&tokens, REPEATS, |token| check(&verifier, token))?);
            }
        }
    }
    let (bare, first, again) = (median(bare), median(first), median(again));
    table.row("token checks at the gateway, not seen before", Unit::Rate, (bare, first), Goal::TimesBound(1.1));
    table.row("token checks at the gateway, seen before", Unit::Rate, (bare, again), Goal::TimesBound(1.1));
    table.row("check of a token that was seen before", Unit::Time, (1.0 / bare, 1.0 / again), Goal::AtMost(1e-6));
    Ok(())
}

/// Checks for each second of CPU time, of all tokens in turn.
fn rate(tokens: &[String], times: usize, mut check: impl FnMut(&str) -> Result<()>) -> Result<f64> {
    let before = cpu_of_thread();
    for _ in 0..times {
        for token in tokens {
            check(black_box(token))?;
        }
    }
    let used = cpu_of_thread().zip(before).map(|(after, before)| after.saturating_sub(before));
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 checks")]
    let count = (tokens.len() * times) as f64;
    Ok(used.filter(|used| *used > Duration::ZERO).map_or(f64::NAN, |used| count / used.as_secs_f64()))
}

/// The check that the gateway makes for a request. It does not wait, because the keys are known.
fn check(verifier: &Verifier, token: &str) -> Result<()> {
    let user = pin!(verifier.user(token)).poll(&mut Waiting::from_waker(Waker::noop()));
    match user {
        Poll::Ready(Ok(user)) => {
            black_box(user);
            Ok(())
        }
        Poll::Ready(Err(fault)) => bail!("{fault:?}"),
        Poll::Pending => bail!("the check of a token waits"),
    }
}

fn verify(key: &UnparsedPublicKey<Vec<u8>>, token: &str) -> Result<()> {
    let (message, signature) = token.rsplit_once('.').context("three parts")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;
    key.verify(message.as_bytes(), &signature).map_err(|_| anyhow!("the signature is not valid"))
}
