//! The first and the repeated check of an access token, compared with the plain ES256 signature by ring.

use std::{hint::black_box, time::Instant};

use anyhow::{Context as _, Result, anyhow};
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
    sample::Samples,
    table::{Goal, Table, Unit},
};

const TOKENS: usize = 600;
/// The number of repeated checks that are measured together, because one is shorter than the resolution of the clock.
const REPEATS: u32 = 200;

pub(crate) async fn measure(table: &mut Table) -> Result<()> {
    progress("token");
    let issuer = Issuer::start().await;
    let channel = client::connect(Caller::ProjectStorage, Caller::Auth, &issuer.uri, &testing::secret());
    let keys = AuthServiceClient::new(channel.clone()).get_key_set(Context::background().request(GetKeySetRequest {})).await?.into_inner();
    let key = keys.keys.first().context("a key")?;
    let point = [vec![4], URL_SAFE_NO_PAD.decode(&key.x)?, URL_SAFE_NO_PAD.decode(&key.y)?].concat();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let verifier = Verifier::new(Caller::ProjectStorage, &testing::secret(), Keys::Remote(channel));
    // The first check fetches the keys.
    verifier.user(&issuer.token(UserId::generate(), Plan::Free)).await.map_err(|fault| anyhow!("{fault:?}"))?;

    let (mut bare, mut first, mut repeated) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..TOKENS {
        let token = issuer.token(UserId::generate(), Plan::Free);
        bare.time(async { verify(&public, &token) }).await?;
        let user = async { verifier.user(&token).await.map_err(|fault| anyhow!("{fault:?}")) };
        first.time(user).await?;
        let start = Instant::now();
        for _ in 0..REPEATS {
            black_box(verifier.user(black_box(&token)).await.map_err(|fault| anyhow!("{fault:?}"))?);
        }
        repeated.push(start.elapsed() / REPEATS);
    }
    table.row("token, seen for the first time, p50", Unit::Time, (bare.p50(), first.p50()), Goal::Times(1.1));
    table.row("token, seen before, p50", Unit::Time, (bare.p50(), repeated.p50()), Goal::AtMost(1e-6));
    Ok(())
}

fn verify(key: &UnparsedPublicKey<Vec<u8>>, token: &str) -> Result<()> {
    let (message, signature) = token.rsplit_once('.').context("three parts")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;
    key.verify(message.as_bytes(), &signature).map_err(|_| anyhow!("the signature is not valid"))
}
