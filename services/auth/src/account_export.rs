//! What a person gets of their own data.

use chassis::context::Context;
use futures::{Stream, stream};
use proto::id::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::App,
    audit::{Actor, Event, Kind, StoredEvent},
    error::Error,
    identity::Identity,
    passkey::Passkey,
    recent_proof::recently_proved,
    session::Session,
    session_list,
    store::{self, Pool, accounts, audit, identities, passkeys, service_accounts},
    user::{ServiceAccount, User},
};

/// Events of one query.
const PAGE: i64 = 200;

/// What is there of an account, apart from its events.
pub(crate) struct Export {
    pub(crate) user: User,
    pub(crate) verified_at: Option<OffsetDateTime>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) service_accounts: Vec<ServiceAccount>,
    pub(crate) passkeys: Vec<Passkey>,
}

/// Reads the account of the caller, and records that the person has it.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED.
pub(crate) async fn begin(app: &App, context: &Context, now: OffsetDateTime) -> Result<Export, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = recently_proved(&mut tx, context, now).await?;
    let verified_at = accounts::by_id(&mut *tx, user.id).await?.and_then(|account| account.verified_at);
    audit::append(&mut *tx, &Event::of(context, Kind::UserExported, Actor::User(user.id), user.id, now)).await?;
    store::commit(tx).await?;
    let sessions = session_list::of_account(&app.pool, user.id, now).await?;
    let identities = identities::of_user(&app.pool, user.id).await?;
    let service_accounts = service_accounts::of_owner(&app.pool, user.id).await?;
    let passkeys = passkeys::of_user(&app.pool, user.id).await?;
    Ok(Export { user, verified_at, sessions, identities, service_accounts, passkeys })
}

/// The events about an account before a time, the oldest first. A page is read when the one before was taken.
pub(crate) fn events(pool: Pool, user: UserId, until: OffsetDateTime) -> impl Stream<Item = Result<StoredEvent, Error>> {
    let start = Some((OffsetDateTime::UNIX_EPOCH, Uuid::nil()));
    let pages = stream::try_unfold(start, move |after| {
        let pool = pool.clone();
        async move {
            let Some(after) = after else { return Ok::<_, Error>(None) };
            let page = audit::page_of(&pool, user, after, until, PAGE).await?;
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            let next = page.last().filter(|_| !is_last).map(|last| (last.created_at, last.id));
            Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
        }
    });
    futures::TryStreamExt::try_flatten(pages)
}
