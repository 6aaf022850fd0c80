//! The queue of mails.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::mail::queue::{ClaimedMail, Kind, Mail, PendingSignUp, SentMails};

/// Adds a mail, which is due at once.
pub(crate) async fn insert(db: impl PgExecutor<'_>, mail: &Mail) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into mail_queue (id, kind, user_id, recipient, email, password_hash, display_name, network, created_at, attempts, due_at, factor_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $9, $10)",
        Uuid::now_v7(),
        mail.kind.name(),
        mail.user_id.map(|id| id.0),
        mail.recipient.as_slice(),
        mail.email.as_deref(),
        mail.sign_up.as_ref().map(|pending| pending.password_hash.as_str()),
        mail.sign_up.as_ref().map(|pending| pending.display_name.as_str()),
        mail.network.as_deref(),
        mail.created_at,
        mail.factor,
    );
    query("insert mail", insert.execute(db)).await?;
    Ok(())
}

/// Claims mails that are due, until `until`. No other replica gets them before. Kinds of a later release are left to a replica of it.
pub(crate) async fn claim(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
    until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<ClaimedMail>, StoreError> {
    let kinds = Kind::ALL.map(|kind| kind.name().to_owned());
    let update = sqlx::query!(
        "update mail_queue set attempts = attempts + 1, due_at = $2
         where id in (select id from mail_queue where due_at <= $1 and kind = any($4) order by due_at limit $3 for update skip locked)
         returning id, kind, user_id, recipient, email, password_hash, display_name, network, created_at, attempts, factor_id",
        now,
        until,
        limit,
        &kinds,
    );
    let rows = query("claim mails", update.fetch_all(db)).await?;
    let claimed = rows.into_iter().map(|row| {
        let inconsistent = || StoreError::Inconsistent(format!("a mail that this version does not know: {}", row.kind));
        let mail = Mail {
            kind: Kind::named(&row.kind).ok_or_else(inconsistent)?,
            user_id: row.user_id.map(UserId),
            recipient: row.recipient.as_slice().try_into().map_err(|_| inconsistent())?,
            email: row.email,
            sign_up: row
                .password_hash
                .zip(row.display_name)
                .map(|(password_hash, display_name)| PendingSignUp { password_hash, display_name }),
            network: row.network,
            created_at: row.created_at,
            factor: row.factor_id,
        };
        Ok(ClaimedMail { id: row.id, mail, attempts: row.attempts })
    });
    claimed.collect()
}

/// The mails of the same kind that the recipient of a mail got since a moment, with those that were queued earlier and may still be sent.
pub(crate) async fn sent_since(
    db: impl PgExecutor<'_>,
    ClaimedMail { id, mail, .. }: &ClaimedMail,
    since: OffsetDateTime,
) -> Result<SentMails, StoreError> {
    let select = sqlx::query_as!(
        SentMails,
        r#"select count(*) as "in_all!", count(*) filter (where user_id is not distinct from $5::uuid) as "of_account!"
           from mail_queue where recipient = $1 and kind = $2 and (sent_at > $3 or (sent_at is null and id < $4))"#,
        mail.recipient.as_slice(),
        mail.kind.name(),
        since,
        *id,
        mail.user_id.map(|id| id.0),
    );
    query("count sent mails", select.fetch_one(db)).await
}

/// Records that a mail was sent, and deletes its content.
pub(crate) async fn finish(db: impl PgExecutor<'_>, id: Uuid, now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "update mail_queue set due_at = null, sent_at = $2, email = null, password_hash = null, display_name = null, network = null
         where id = $1",
        id,
        now,
    );
    query("finish mail", update.execute(db)).await?;
    Ok(())
}

pub(crate) async fn postpone(db: impl PgExecutor<'_>, id: Uuid, due_at: OffsetDateTime) -> Result<(), StoreError> {
    query("postpone mail", sqlx::query!("update mail_queue set due_at = $2 where id = $1", id, due_at).execute(db)).await?;
    Ok(())
}

pub(crate) async fn remove(db: impl PgExecutor<'_>, id: Uuid) -> Result<(), StoreError> {
    query("delete mail", sqlx::query!("delete from mail_queue where id = $1", id).execute(db)).await?;
    Ok(())
}

/// Deletes the mails with links to an address. Notices stay: they may tell somebody who had the address before what happened to another account.
pub(crate) async fn delete_links_to(db: impl PgExecutor<'_>, recipient: &[u8; 32]) -> Result<(), StoreError> {
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.has_link()).map(|kind| kind.name().to_owned()).collect();
    let delete = sqlx::query!("delete from mail_queue where recipient = $1 and kind = any($2)", recipient.as_slice(), &kinds);
    query("delete mails of recipient", delete.execute(db)).await?;
    Ok(())
}

/// Lets the notices about an account outlive it, without its id. Those that were sent still count for their recipient: otherwise whoever makes
/// one account after the other with the address of somebody else would cause any number of them. The others are not sent.
pub(crate) async fn keep_notices(db: impl PgExecutor<'_>, user: UserId) -> Result<(), StoreError> {
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| !kind.has_link()).map(|kind| kind.name().to_owned()).collect();
    let update = sqlx::query!("update mail_queue set user_id = null where user_id = $1 and kind = any($2)", user.0, &kinds);
    query("keep mails of deleted account", update.execute(db)).await?;
    Ok(())
}

/// Deletes the mails of a kind about an account that were not sent yet. Those that were sent still count for their recipient.
pub(crate) async fn delete_waiting(db: impl PgExecutor<'_>, user: UserId, kind: Kind) -> Result<(), StoreError> {
    let delete = sqlx::query!("delete from mail_queue where user_id = $1 and kind = $2 and sent_at is null", user.0, kind.name());
    query("delete waiting mails", delete.execute(db)).await?;
    Ok(())
}

/// Leaves the rows that another transaction has locked for the next time, as all deletions of old rows: waiting for one with others locked
/// could be a deadlock with the deletion of an account.
pub(crate) async fn delete_before(db: impl PgExecutor<'_>, moment: OffsetDateTime) -> Result<u64, StoreError> {
    let delete =
        sqlx::query!("delete from mail_queue where id in (select id from mail_queue where created_at < $1 for update skip locked)", moment);
    Ok(query("delete old mails", delete.execute(db)).await?.rows_affected())
}
