//! The questions to authenticators, and what their answers prove: a sign-in, its second step, or again who somebody is.

use chassis::context::Context;
use proto::id::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    ceremony::{Ceremony, LIFETIME, Purpose, Starter},
    error::Error,
    factor::Method,
    limit,
    origin::Origin,
    passkey::{CeremonyAnswer, refused},
    recent_proof::recently_proved,
    refused_proof,
    relying_party::{Answer, AnswerError, Question},
    session::SessionSecret,
    session_list::signed_in,
    session_start::{NewSession, Start, begin_session},
    store::{self, Tx, audit, passkey_ceremonies, passkeys, pending_sign_ins, users},
};

/// What a request begins.
pub(crate) enum CeremonyStart {
    Registration,
    SignIn,
    /// The token of the sign-in.
    SecondStep(SessionSecret),
    StepUp,
}

/// A question, and the token that its answer needs.
pub(crate) struct StartedCeremony {
    pub(crate) options: String,
    pub(crate) token: SessionSecret,
    pub(crate) expires_at: OffsetDateTime,
}

/// Makes a question.
///
/// # Errors
/// PASSKEYS_NOT_OFFERED, RATE_LIMITED, TOKEN_MISSING, SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, SIGN_IN_EXPIRED, PASSKEY_NOT_FOUND.
pub(crate) async fn begin(app: &App, context: &Context, begin: CeremonyStart, now: OffsetDateTime) -> Result<StartedCeremony, Error> {
    let (purpose, starter, question) = match begin {
        CeremonyStart::Registration => registration(app, context, now).await?,
        CeremonyStart::SignIn => {
            let party = app.relying_party()?;
            limit::count(&app.limiter, context, &limit::address_of(context), None).await?;
            (Purpose::SignIn, Starter::Nothing, party.ask_for_one_of(&[])?)
        }
        CeremonyStart::SecondStep(token) => {
            let hash = token.hash();
            let user = pending_sign_ins::user_of(&app.pool, &hash, now).await?.ok_or(Error::SignInExpired)?;
            (Purpose::SecondStep, Starter::SignIn(hash), of_account(app, context, user).await?)
        }
        CeremonyStart::StepUp => {
            let mut tx = store::begin(&app.pool).await?;
            let (user, session) = signed_in(&mut tx, context, now).await?;
            drop(tx);
            (Purpose::StepUp, Starter::Session(session.id), of_account(app, context, user.id).await?)
        }
    };
    let ceremony = Ceremony { purpose, starter, state: question.state };
    let (token, expires_at) = (SessionSecret::generate()?, now + LIFETIME);
    if !passkey_ceremonies::insert(&app.pool, &token.hash(), &ceremony, expires_at).await? {
        return Err(if purpose == Purpose::SecondStep { Error::SignInExpired } else { Error::SessionEnded });
    }
    Ok(StartedCeremony { options: question.options, token, expires_at })
}

async fn registration(app: &App, context: &Context, now: OffsetDateTime) -> Result<(Purpose, Starter, Question), Error> {
    let party = app.relying_party()?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, session) = recently_proved(&mut tx, context, now).await?;
    let known = passkeys::credential_ids(&mut *tx, user.id).await?;
    Ok((Purpose::Registration, Starter::Session(session.id), party.ask_for_new(&user, known)?))
}

/// Asks for a passkey of an account. The attempt is counted like a code.
async fn of_account(app: &App, context: &Context, user: UserId) -> Result<Question, Error> {
    let party = app.relying_party()?;
    let account = users::credentials_of(&app.pool, user, &limit::address_of(context)).await?.ok_or(Error::PasskeyNotFound)?;
    limit::count_code(&app.limiter, context, &account).await?;
    let ids = passkeys::credential_ids(&app.pool, user).await?;
    if ids.is_empty() {
        return Err(Error::PasskeyNotFound);
    }
    Ok(party.ask_for_one_of(&ids)?)
}

/// Begins a session: signs in, or completes a sign-in. The token is used whatever comes of it.
///
/// # Errors
/// PASSKEYS_NOT_OFFERED, CEREMONY_INVALID, SIGN_IN_EXPIRED, PASSKEY_INVALID, BAD_CREDENTIALS if the account is disabled.
pub(crate) async fn sign_in(
    app: &App,
    context: &Context,
    (answered, user_agent): (CeremonyAnswer, &str),
    now: OffsetDateTime,
) -> Result<NewSession, Error> {
    app.relying_party()?;
    let ceremony = passkey_ceremonies::take(&app.pool, &answered.ceremony.hash(), now).await?.ok_or(Error::CeremonyInvalid)?;
    let first_step = match (ceremony.purpose, &ceremony.starter) {
        (Purpose::SignIn, Starter::Nothing) => None,
        (Purpose::SecondStep, Starter::SignIn(hash)) => Some(*hash),
        _ => return Err(Error::CeremonyInvalid),
    };
    let answer = Answer::parse(&answered.credential).ok_or(Error::PasskeyInvalid)?;
    let user = match &first_step {
        Some(hash) => pending_sign_ins::user_of(&app.pool, hash, now).await?.ok_or(Error::SignInExpired)?,
        None => passkeys::owner(&app.pool, answer.credential_id())
            .await?
            .filter(|owner| answer.user() == Some(*owner))
            .ok_or(Error::PasskeyInvalid)?,
    };
    let account = users::credentials_of(&app.pool, user, &limit::address_of(context)).await?.ok_or(Error::PasskeyInvalid)?;

    let mut tx = store::begin(&app.pool).await?;
    // Answers of an account are checked one after the other, because of their counters.
    users::lock(&mut *tx, user).await?;
    let attempt = match &first_step {
        Some(hash) => Some(pending_sign_ins::count_attempt(&mut *tx, hash, now).await?.ok_or(Error::SignInExpired)?),
        None => None,
    };
    let Some(id) = prove(app, &mut tx, context, (user, &answer, ceremony), now).await? else {
        let is_told = refused_proof::tell_owner(&mut tx, context, &account, attempt.as_ref(), now).await?;
        // The attempt counts.
        store::commit(tx).await?;
        if is_told {
            app.mail_added.notify_one();
        }
        refused_proof::log(context, Some(user), "passkey");
        return Err(Error::PasskeyInvalid);
    };
    if let Some(hash) = &first_step {
        pending_sign_ins::delete(&mut *tx, hash).await?;
    }
    let is_new_device = account.has_known_addresses && !account.from_known_address;
    let mut details = vec![("passkey", id.to_string())];
    details.extend(first_step.map(|_| ("second_factor", Method::Passkey.name().to_owned())));
    let by_password = attempt.is_some_and(|attempt| attempt.by_password);
    let methods = by_password.then_some(Method::Password).into_iter().chain([Method::Passkey]).collect();
    let origin = Origin::new(user_agent, context.client_address);
    let start = Start { origin, kind: Kind::SessionStarted, is_new_device, methods, details };
    let begun = begin_session(tx, context, account.user, start, now).await?;
    if is_new_device {
        app.mail_added.notify_one();
    }
    Ok(begun)
}

/// Takes the exchange of a step-up of the caller's session. The token is used whatever comes of it.
///
/// # Errors
/// PASSKEYS_NOT_OFFERED, TOKEN_MISSING, CEREMONY_INVALID, PASSKEY_INVALID for a text that is no answer.
pub(crate) async fn take_step_up(
    app: &App,
    context: &Context,
    answered: &CeremonyAnswer,
    now: OffsetDateTime,
) -> Result<(Answer, Ceremony), Error> {
    app.relying_party()?;
    let caller = context.user()?.session_id;
    let ceremony = passkey_ceremonies::take(&app.pool, &answered.ceremony.hash(), now).await?;
    let ceremony = ceremony.filter(|one| one.is_of(caller, Purpose::StepUp)).ok_or(Error::CeremonyInvalid)?;
    Ok((Answer::parse(&answered.credential).ok_or(Error::PasskeyInvalid)?, ceremony))
}

/// Checks an answer for an account, which is locked. Returns the passkey, whose use is recorded; `None` for a wrong answer.
///
/// # Errors
/// PASSKEYS_NOT_OFFERED, or the database failed.
pub(crate) async fn prove(
    app: &App,
    tx: &mut Tx,
    context: &Context,
    (user, answer, ceremony): (UserId, &Answer, Ceremony),
    now: OffsetDateTime,
) -> Result<Option<Uuid>, Error> {
    if answer.user().is_some_and(|named| named != user) {
        return Ok(None);
    }
    let Some(key) = passkeys::find(&mut **tx, user, answer.credential_id()).await? else { return Ok(None) };
    match app.relying_party()?.check(answer, ceremony.state, key.credential) {
        Ok(used) => {
            // A browser need not say at the registration that the authenticator stores the passkey. A sign-in without an address shows it.
            passkeys::used(&mut **tx, key.id, (&used, ceremony.purpose == Purpose::SignIn), now).await?;
            Ok(Some(key.id))
        }
        Err(AnswerError::CounterWentBack) => {
            tracing::warn!(user = %user, passkey = %key.id, "the counter of a passkey went back; there may be a copy of its authenticator");
            let event = Event::of(context, Kind::PasskeyRefused, Actor::User(user), user, now);
            audit::append(&mut **tx, &event.with("passkey", &key.id.to_string())).await?;
            Ok(None)
        }
        Err(error) => match refused(error) {
            Error::PasskeyInvalid => Ok(None),
            failure => Err(failure),
        },
    }
}
