//! A cluster that also trusts a key of the test, so that the test can present access tokens that auth would not issue, such as expired ones.

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::testing::{self, Issuer};
use proto::auth::{GetKeySetRequest, Plan, auth_service_client::AuthServiceClient};

use crate::{Cluster, Person, cluster, grpc};

/// Starts a cluster that trusts the issuer. The public key is inserted into the database of auth, which reads it at the next start.
///
/// # Errors
/// If the cluster or the issuer does not start.
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

/// An expired token and a valid token of this user. They differ only in the expiry.
///
/// # Errors
/// If the id of the user is not valid.
pub fn tokens(issuer: &Issuer, person: &Person) -> Result<(String, String)> {
    let user = person.user_id.parse()?;
    // Services tolerate a clock difference of half a minute.
    let expired = chassis::clock::now().unix_timestamp().unsigned_abs() - 60;
    Ok((issuer.token_until(user, Plan::Free, expired), issuer.token(user, Plan::Free)))
}
