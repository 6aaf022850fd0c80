//! Accounts and the addresses they were signed in from.

use chassis::{identity::plan_name, postgres::query};
use proto::{auth::Plan, id::UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::Error;
use crate::account::{Credentials, User};

/// The constraint that keeps an address to one account.
pub const EMAIL_KEY: &str = "users_email_key_key";

pub async fn insert(db: impl PgExecutor<'_>, user: &User, email_key: &str, password_hash: &str) -> Result<(), Error> {
    let insert = sqlx::query!(
        "insert into users (id, email, email_key, display_name, plan, password_hash, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        user.id.0,
        user.email,
        email_key,
        user.display_name,
        plan_name(user.plan),
        password_hash,
        user.created_at,
    );
    query("insert users", insert.execute(db)).await?;
    Ok(())
}

/// What a sign-in needs to know, in one look.
pub async fn credentials(db: impl PgExecutor<'_>, email_key: &str, address: &str) -> Result<Option<Credentials>, Error> {
    let select = sqlx::query!(
        r#"select u.id, u.email, u.display_name, u.plan, u.created_at, u.password_hash,
                  exists (select from user_addresses a where a.user_id = u.id and a.address = $2) as "from_known_address!"
           from users u where u.email_key = $1"#,
        email_key,
        address,
    );
    let Some(row) = query("select users", select.fetch_optional(db)).await? else { return Ok(None) };
    Ok(Some(Credentials {
        user: User {
            id: UserId(row.id),
            email: row.email,
            display_name: row.display_name,
            plan: plan_named(&row.plan)?,
            created_at: row.created_at,
        },
        password_hash: row.password_hash,
        from_known_address: row.from_known_address,
    }))
}

/// Only if nobody changed it meanwhile.
pub async fn replace_password_hash(db: impl PgExecutor<'_>, id: UserId, old: &str, new: &str) -> Result<(), Error> {
    let update = sqlx::query!("update users set password_hash = $3 where id = $1 and password_hash = $2", id.0, old, new);
    query("update users", update.execute(db)).await?;
    Ok(())
}

pub async fn remember_address(db: impl PgExecutor<'_>, id: UserId, address: &str, now: OffsetDateTime) -> Result<(), Error> {
    let upsert = sqlx::query!(
        "insert into user_addresses (user_id, address, signed_in_at) values ($1, $2, $3)
         on conflict on constraint user_addresses_user_id_address_key do update set signed_in_at = excluded.signed_in_at",
        id.0,
        address,
        now,
    );
    query("insert user_addresses", upsert.execute(db)).await?;
    Ok(())
}

pub async fn forget_addresses(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64, Error> {
    let delete = sqlx::query!("delete from user_addresses where signed_in_at < $1", before);
    Ok(query("delete user_addresses", delete.execute(db)).await?.rows_affected())
}

/// A plan as the column spells it, which is how access tokens do.
pub(super) fn plan_named(text: &str) -> Result<Plan, Error> {
    [Plan::Free, Plan::Pro, Plan::Team, Plan::Enterprise]
        .into_iter()
        .find(|plan| plan_name(*plan) == text)
        .ok_or_else(|| Error::Inconsistent { column: "users.plan", value: text.to_owned() })
}
