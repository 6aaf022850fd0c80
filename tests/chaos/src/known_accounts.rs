//! What auth has of the accounts whose persons know their state.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    check::{
        Violation,
        known_accounts::{self, StoredAccount},
    },
    record::KnownAccount,
};
use crate::deployment::Deployment;

/// The id of an account and its fields in the order of [`StoredAccount`].
type Row = (String, String, bool, bool, bool, i64, i64, i64);

/// Checks the accounts of a round.
///
/// # Errors
/// The database does not answer.
pub async fn check(deployment: &Deployment, known: &[KnownAccount]) -> Result<Vec<Violation>> {
    let users: Vec<String> = known.iter().map(|account| account.user.clone()).collect();
    let select = "SELECT u.id::text, u.email, u.verified_at IS NOT NULL, u.password_hash IS NOT NULL,
            EXISTS (SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL),
            (SELECT count(*) FROM passkeys p WHERE p.user_id = u.id),
            (SELECT count(*) FROM recovery_codes r WHERE r.user_id = u.id),
            (SELECT count(*) FROM email_tokens e WHERE e.user_id = u.id AND e.purpose = 'change_email')
        FROM users u WHERE u.id = ANY($1::text[]::uuid[])";
    let rows: Vec<Row> = sqlx::query_as(select).bind(&users).fetch_all(&deployment.pool("auth").await?).await?;
    let stored = rows.into_iter().map(|(user, email, is_verified, has_password, has_app, passkeys, recovery_codes, address_links)| {
        (user, StoredAccount { email, is_verified, has_password, has_app, passkeys, recovery_codes, address_links })
    });
    Ok(known_accounts::check(known, &stored.collect::<BTreeMap<_, _>>()))
}
