//! The tokens of links, by their hashes.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::{
    email_token::{Proof, Purpose},
    mail::queue::PendingSignUp,
};

/// Inserts the token of a mail that waits to be sent. Returns false if the mail is void by now: what makes a link to a new address void
/// deletes its mail first, and then the tokens, so one of the two deletions meets this token. The account is locked before the mail, as where
/// an account is deleted.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    mail: Uuid,
    token_hash: &[u8; 32],
    proof: &Proof,
    expires_at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "with u as materialized (select id from users where id = $3 for key share),
              m as materialized (
                  select id from mail_queue
                  where id = $9 and sent_at is null and ($3::uuid is null or exists (select 1 from u)) for share)
         insert into email_tokens (token_hash, purpose, user_id, email, email_identity, password_hash, display_name, expires_at, factor_id)
         select $1::bytea, $2::text, $3::uuid, $4::text, $5::text, $6::text, $7::text, $8::timestamptz, $10::uuid from m",
        token_hash.as_slice(),
        proof.purpose.name(),
        proof.user_id.map(|id| id.0),
        proof.email,
        proof.identity,
        proof.sign_up.as_ref().map(|pending| pending.password_hash.as_str()),
        proof.sign_up.as_ref().map(|pending| pending.display_name.as_str()),
        expires_at,
        mail,
        proof.factor,
    );
    Ok(query("insert email_tokens", insert.execute(db)).await?.rows_affected() == 1)
}

/// Inserts the token of a link that no mail has, in the transaction that creates its account.
pub(crate) async fn insert_without_mail(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    proof: &Proof,
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into email_tokens (token_hash, purpose, user_id, email, email_identity, expires_at) values ($1, $2, $3, $4, $5, $6)",
        token_hash.as_slice(),
        proof.purpose.name(),
        proof.user_id.map(|id| id.0),
        proof.email,
        proof.identity,
        expires_at,
    );
    query("insert email_tokens without mail", insert.execute(db)).await?;
    Ok(())
}

/// What a token would prove, if it has one of these purposes. The token stays usable.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    purposes: &[Purpose],
    now: OffsetDateTime,
) -> Result<Option<Proof>, StoreError> {
    let purposes = names(purposes);
    let select = sqlx::query_as!(
        Row,
        "select purpose, user_id, email, email_identity, password_hash, display_name, factor_id
         from email_tokens where token_hash = $1 and purpose = any($2) and expires_at > $3",
        token_hash.as_slice(),
        &purposes,
        now,
    );
    query("select email_tokens", select.fetch_optional(db)).await?.map(Row::proof).transpose()
}

/// Uses a token. Of any number of concurrent uses one returns true.
pub(crate) async fn take(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<bool, StoreError> {
    let delete = sqlx::query!("delete from email_tokens where token_hash = $1", token_hash.as_slice());
    Ok(query("take email_tokens", delete.execute(db)).await?.rows_affected() == 1)
}

/// Deletes the tokens of these purposes for an address and for an account.
pub(crate) async fn delete(db: impl PgExecutor<'_>, identity: &str, user_id: UserId, purposes: &[Purpose]) -> Result<(), StoreError> {
    let purposes = names(purposes);
    let delete = sqlx::query!(
        "delete from email_tokens where (email_identity = $1 or user_id = $2) and purpose = any($3)",
        identity,
        user_id.0,
        &purposes,
    );
    query("delete email_tokens", delete.execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from email_tokens where token_hash in (select token_hash from email_tokens where expires_at <= $1 for update skip locked)",
        now
    );
    Ok(query("delete expired email_tokens", delete.execute(db)).await?.rows_affected())
}

fn names(purposes: &[Purpose]) -> Vec<String> {
    purposes.iter().map(|purpose| purpose.name().to_owned()).collect()
}

struct Row {
    purpose: String,
    user_id: Option<Uuid>,
    email: String,
    email_identity: String,
    password_hash: Option<String>,
    display_name: Option<String>,
    factor_id: Option<Uuid>,
}

impl Row {
    fn proof(self) -> Result<Proof, StoreError> {
        let unknown = || StoreError::Inconsistent(format!("a purpose that this version does not know: {}", self.purpose));
        let purpose = Purpose::named(&self.purpose).ok_or_else(unknown)?;
        let sign_up = self.password_hash.zip(self.display_name);
        Ok(Proof {
            purpose,
            user_id: self.user_id.map(UserId),
            email: self.email,
            identity: self.email_identity,
            sign_up: sign_up.map(|(password_hash, display_name)| PendingSignUp { password_hash, display_name }),
            factor: self.factor_id,
        })
    }
}
