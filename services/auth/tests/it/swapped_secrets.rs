//! Row A13 of the reference: a sealed secret that whoever writes to the database has moved to another row opens nothing. `keys.rs` has that of
//! signing keys.

use auth::testing::totp_code;
use chassis::clock::now;

use crate::harness::{Client, Cluster, PASSWORD};

const ADA: &str = "ada@example.org";
const EVE: &str = "eve@example.org";

/// Makes an account with an app. Returns the secret of the app, and its recovery codes.
async fn enrol(gateway: &Client, email: &str) -> (String, Vec<String>) {
    let access = gateway.signed_up(email).await;
    let secret = gateway.start_totp(&access).await.expect("secret").secret;
    let code = totp_code(&secret, now() - time::Duration::seconds(30));
    let recovery_codes = gateway.confirm_totp(&access, &code).await.expect("confirmed").recovery_codes;
    (secret, recovery_codes)
}

#[tokio::test]
async fn a13_swapped_secrets_of_apps_accept_no_code() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let ((hers, her_codes), (eves, eves_codes)) = (enrol(&gateway, ADA).await, enrol(&gateway, EVE).await);
    let swap = "update totp_secrets t set sealed_secret = o.sealed_secret from totp_secrets o where o.user_id <> t.user_id";
    let swapped = sqlx::query(swap).execute(&cluster.database.pool).await.expect("swapped");
    assert_eq!(swapped.rows_affected(), 2);
    for (email, recovery_codes) in [(ADA, her_codes), (EVE, eves_codes)] {
        let fault = gateway.sign_in(email, PASSWORD).await.expect_err("a second step");
        let token = &fault.metadata["sign_in_token"];
        for secret in [&hers, &eves] {
            let refused = gateway.verify_sign_in(token, &totp_code(secret, now())).await.expect_err("of another row");
            assert_eq!(refused.reason, "INTERNAL", "{email}");
        }
        gateway.verify_sign_in(token, &recovery_codes[0]).await.expect("a recovery code still works");
    }
}
