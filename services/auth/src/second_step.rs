//! The second step of a sign-in. The first step of an account with a second factor, a password or a provider, begins no session: it answers
//! with a token, which proves nothing but that step. The token and a code begin the session.

use chassis::context::Context;
use proto::id::UserId;
use time::{Duration, OffsetDateTime};

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    code::Code,
    error::Error,
    factor::{Factors, Method},
    limit,
    origin::Origin,
    refused_proof, second_factor,
    session::SessionSecret,
    session_start::{NewSession, Start, begin_session},
    store::{self, Tx, audit, pending_sign_ins, users},
};

/// A sign-in can be completed for this long.
const LIFETIME: Duration = Duration::minutes(5);

/// Ends the first step of a sign-in, in the transaction that holds its proof. The result is always an error: SECOND_FACTOR_REQUIRED, or
/// BAD_CREDENTIALS if the account is disabled.
pub(crate) async fn begin(
    mut tx: Tx,
    context: &Context,
    (user, by_password): (UserId, bool),
    factors: Factors,
    now: OffsetDateTime,
) -> Error {
    match insert(&mut tx, context, (user, by_password), now).await {
        Ok(token) => match (store::commit(tx).await, token) {
            (Ok(()), Some(token)) => Error::SecondFactorRequired { token, methods: factors.methods(), return_to: String::new() },
            (Ok(()), None) => Error::BadCredentials,
            (Err(error), _) => error.into(),
        },
        Err(error) => error,
    }
}

/// `None` if the account is disabled.
async fn insert(
    tx: &mut Tx,
    context: &Context,
    (user, by_password): (UserId, bool),
    now: OffsetDateTime,
) -> Result<Option<SessionSecret>, Error> {
    let token = SessionSecret::generate()?;
    if pending_sign_ins::insert(&mut **tx, &token.hash(), (user, by_password), now + LIFETIME).await? {
        return Ok(Some(token));
    }
    audit::append(&mut **tx, &Event::of(context, Kind::SessionRefused, Actor::User(user), user, now)).await?;
    Ok(None)
}

/// What completes a sign-in.
pub(crate) struct Completion {
    pub(crate) token: SessionSecret,
    pub(crate) code: String,
    pub(crate) user_agent: String,
}

/// Completes a sign-in.
///
/// # Errors
/// SIGN_IN_EXPIRED, RATE_LIMITED, BAD_SECOND_FACTOR, BAD_CREDENTIALS if the account is disabled meanwhile.
pub(crate) async fn complete(app: &App, context: &Context, completion: Completion, now: OffsetDateTime) -> Result<NewSession, Error> {
    let (hash, address) = (completion.token.hash(), limit::address_of(context));
    let user = pending_sign_ins::user_of(&app.pool, &hash, now).await?.ok_or(Error::SignInExpired)?;
    let account = users::credentials_of(&app.pool, user, &address).await?.ok_or(Error::SignInExpired)?;
    limit::count_code(&app.limiter, context, &account).await?;

    let mut tx = store::begin(&app.pool).await?;
    // Codes of an account are used one after the other. The account is locked before its pending sign-ins, as wherever they are made void.
    users::lock(&mut *tx, user).await?;
    let attempt = pending_sign_ins::count_attempt(&mut *tx, &hash, now).await?.ok_or(Error::SignInExpired)?;
    let Some(method) = second_factor::use_code(app, &mut tx, user, Code::parse(&completion.code), now).await? else {
        let is_told = refused_proof::tell_owner(&mut tx, context, &account, Some(&attempt), now).await?;
        // The attempt counts.
        store::commit(tx).await?;
        if is_told {
            app.mail_added.notify_one();
        }
        refused_proof::log(context, Some(user), "code");
        return Err(Error::BadSecondFactor);
    };
    pending_sign_ins::delete(&mut *tx, &hash).await?;
    let is_new_device = account.has_known_addresses && !account.from_known_address;
    let origin = Origin::new(&completion.user_agent, context.client_address);
    let details = vec![("second_factor", method.name().to_owned())];
    let methods = attempt.by_password.then_some(Method::Password).into_iter().chain([method]).collect();
    let start = Start { origin, kind: Kind::SessionStarted, is_new_device, methods, details };
    let begun = begin_session(tx, context, account.user, start, now).await?;
    if is_new_device {
        app.mail_added.notify_one();
    }
    Ok(begun)
}
