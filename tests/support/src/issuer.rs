//! A cluster that also publishes one of our keys, so that a test can present access tokens that auth would not issue: expired ones.

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::testing::{self, Issuer};
use proto::auth::{GetKeySetRequest, Plan, auth_service_client::AuthServiceClient};

use crate::{Cluster, Person, cluster, grpc};

/// Starts the cluster. auth reads its keys when it starts, and keeps publishing one that its secret does not open.
///
/// # Errors
/// If a part does not start.
pub async fn trusted() -> Result<(Cluster, Issuer)> {
    let issuer = Issuer::start().await;
    let keys = AuthServiceClient::new(grpc::connect(&issuer.uri.to_string()).await?).get_key_set(GetKeySetRequest {}).await?;
    let database = testing::database_url(&format!("i{}", uuid::Uuid::new_v4().simple())).await;
    let settings = [("DATABASE_URL", database.as_str())];
    Cluster::with(&settings).await?.stop().await?;
    let pool = cluster::pool(&database, "auth").await?;
    for key in keys.into_inner().keys {
        let point = [vec![4], BASE64_URL_SAFE_NO_PAD.decode(key.x)?, BASE64_URL_SAFE_NO_PAD.decode(key.y)?].concat();
        let row = sqlx::query("INSERT INTO signing_keys (kid, public_key, sealed_private, created_at) VALUES ($1, $2, '', now())");
        row.bind(key.kid).bind(point).execute(&pool).await?;
    }
    Ok((Cluster::with(&settings).await?, issuer))
}

/// An expired token of this person, and a valid one. Only the expiry differs, so only the expiry can be the reason of a refusal.
///
/// # Errors
/// If the person has no id.
pub fn tokens(issuer: &Issuer, person: &Person) -> Result<(String, String)> {
    let user = person.user_id.parse()?;
    // Clocks may differ by half a minute.
    let ended = chassis::clock::now().unix_timestamp().unsigned_abs() - 60;
    Ok((issuer.token_until(user, Plan::Free, ended), issuer.token(user, Plan::Free)))
}
