//! Identities: accounts at providers with which a person signs in. A sign-in has two steps, between which the browser is at the provider.
//! An identity belongs to the account that it was linked to, whatever addresses the two have.

use chassis::context::Context;
use proto::{
    auth::Plan,
    id::{SessionId, UserId},
};
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use crate::{
    account,
    app::App,
    audit::{Actor, Event, Kind},
    config::SignUp,
    email::{Email, EmailLookup},
    email_token::Purpose,
    error::Error,
    invite, invite_use, limit,
    mail::queue::{Kind as MailKind, Mail},
    origin::Origin,
    passkey, pending_address,
    provider::{
        flow::{Flow, LIFETIME, Secrets},
        person::Person,
    },
    recent_proof::recently_proved,
    required_factor, second_step,
    session::SessionSecret,
    session_list::{end, signed_in},
    session_start::{NewSession, Start, insert_session},
    store::{self, Tx, accounts, audit, email_tokens, identities, mails, proofs, provider_flows, second_factors, sessions, users},
    takeover,
    user::User,
};

pub(crate) use crate::provider::person::Identity;

/// Identities of one account.
const MAX_IDENTITIES: usize = 20;

/// The first step, as a request asks for it.
pub(crate) struct FlowRequest {
    pub(crate) provider: String,
    pub(crate) link: bool,
    pub(crate) return_to: String,
    pub(crate) invite_token: String,
}

/// Where the browser goes, and the secret for its cookie.
pub(crate) struct Authorization {
    pub(crate) url: Url,
    pub(crate) browser: SessionSecret,
}

/// What the browser brings back.
pub(crate) struct Answer {
    pub(crate) provider: String,
    pub(crate) browser: SessionSecret,
    pub(crate) state: SessionSecret,
    pub(crate) code: String,
    pub(crate) issuer: String,
    pub(crate) error: String,
    pub(crate) user_agent: String,
}

/// What an answer leads to.
pub(crate) struct IdentityOutcome {
    /// `None` if an identity was linked.
    pub(crate) session: Option<NewSession>,
    pub(crate) return_to: String,
}

/// Starts a sign-in at a provider.
///
/// # Errors
/// PROVIDER_NOT_FOUND, RATE_LIMITED, PROVIDER_UNAVAILABLE; to link: TOKEN_MISSING, SECOND_FACTOR_MISSING, SESSION_ENDED, SESSION_REQUIRED,
/// STEP_UP_REQUIRED.
pub(crate) async fn start(app: &App, context: &Context, begin: FlowRequest, now: OffsetDateTime) -> Result<Authorization, Error> {
    let provider = app.providers.find(&begin.provider)?;
    limit::count(&app.limiter, context, &limit::address_of(context), None).await?;
    let session_id = if begin.link {
        required_factor::check_rights(context)?;
        let mut tx = store::begin(&app.pool).await?;
        Some(recently_proved(&mut tx, context, now).await?.1.id)
    } else {
        None
    };
    let secrets = Secrets::generate()?;
    let url = provider.authorization_url(&secrets).await?;
    let flow = Flow {
        provider: begin.provider,
        browser_hash: secrets.browser.hash().to_vec(),
        session_id,
        return_to: begin.return_to,
        invite_hash: (!begin.invite_token.is_empty()).then(|| invite::hash(&begin.invite_token).to_vec()),
    };
    // The session may have ended while the provider was asked.
    if !provider_flows::insert(&app.pool, &secrets.state.hash(), &flow, now + LIFETIME).await? {
        return Err(Error::SessionEnded);
    }
    Ok(Authorization { url, browser: secrets.browser })
}

/// Completes a sign-in at a provider. The state is used whatever comes of it.
///
/// # Errors
/// FLOW_INVALID, PROVIDER_DENIED, PROVIDER_REFUSED, PROVIDER_SIGN_IN_TOO_OLD, PROVIDER_SIGN_IN_TOO_WEAK, PROVIDER_UNAVAILABLE, PROVIDER_NOT_FOUND,
/// and those of [`sign_in`] and [`link`].
pub(crate) async fn finish(app: &App, context: &Context, answer: Answer, now: OffsetDateTime) -> Result<IdentityOutcome, Error> {
    let Answer { provider, browser, state, code, issuer, error, user_agent } = answer;
    let flow = provider_flows::take(&app.pool, &state.hash(), now).await?.ok_or(Error::FlowInvalid)?;
    let caller = context.user.as_ref().map(|user| user.session_id);
    let is_own = flow.provider == provider && flow.browser_hash == browser.hash() && flow.session_id.is_none_or(|id| caller == Some(id));
    if !is_own {
        return Err(Error::FlowInvalid);
    }
    let provider = app.providers.find(&provider)?;
    if !error.is_empty() {
        return Err(Error::ProviderDenied);
    }
    if code.is_empty() {
        return Err(Error::FlowInvalid);
    }
    let person = provider.person(code, &Secrets { state, browser }, &issuer).await?;
    let session = if flow.session_id.is_some() {
        link(app, context, (&provider.name, &person), now).await?;
        None
    } else {
        let origin = Origin::new(&user_agent, context.client_address);
        let begun = sign_in(app, context, (&flow, &person, origin), now).await;
        Some(begun.map_err(|error| error.leading_to(&flow.return_to))?)
    };
    Ok(IdentityOutcome { session, return_to: flow.return_to })
}

/// Starts a session for a person. A new person gets an account.
///
/// # Errors
/// BAD_CREDENTIALS if the account is disabled; for a new person EMAIL_UNVERIFIED, EMAIL_TAKEN, SIGNUP_CLOSED, INVITE_REQUIRED, INVITE_INVALID.
async fn sign_in(
    app: &App,
    context: &Context,
    (flow, person, origin): (&Flow, &Person, Origin),
    now: OffsetDateTime,
) -> Result<NewSession, Error> {
    let address = limit::address_of(context);
    let mut tx = store::begin(&app.pool).await?;
    let mut start = Start {
        origin,
        kind: Kind::SessionStarted,
        is_new_device: false,
        methods: Vec::new(),
        details: vec![("provider", flow.provider.clone())],
    };
    identities::hold(&mut *tx, person).await?;
    let (user, ended) = match identities::used(&mut *tx, person, now).await? {
        Some(id) => {
            let account = users::credentials_of(&mut *tx, id, &address).await?.ok_or(Error::BadCredentials)?;
            start.is_new_device = account.has_known_addresses && !account.from_known_address;
            (account.user, Vec::new())
        }
        None => new_person(app, &mut tx, context, (flow, person, &mut start), now).await?,
    };
    let factors = second_factors::of(&mut *tx, user.id).await?;
    if factors.has_second() {
        // The provider is the first step, as a password is. An account that was taken over has no factor.
        return Err(second_step::begin(tx, context, (user.id, false), factors, now).await);
    }
    let is_new_device = start.is_new_device;
    let begun = insert_session(&mut tx, context, user, start, now).await?;
    end(app, tx, &ended, now).await?;
    if is_new_device {
        app.mail_added.notify_one();
    }
    begun.ok_or(Error::BadCredentials)
}

/// The account of a person without an identity here: a new one, or the one with the address that nobody has verified, with the sessions that
/// ended then. Their end has to be reported last.
async fn new_person(
    app: &App,
    tx: &mut Tx,
    context: &Context,
    (flow, person, start): (&Flow, &Person, &mut Start),
    now: OffsetDateTime,
) -> Result<(User, Vec<SessionId>), Error> {
    let email = person.email.as_ref().ok_or(Error::EmailUnverified)?;
    let display_name = account::display_name(&person.display_name, email);
    let (user, ended) = match accounts::by_email(&mut **tx, &EmailLookup::new(email.as_str())).await? {
        Some(account) if account.verified_at.is_some() => return Err(Error::EmailTaken),
        Some(account) => {
            let ended = takeover::take_over(tx, context, (account.user.id, &display_name), now).await?.ok_or(Error::EmailTaken)?;
            email_tokens::delete(&mut **tx, email.identity(), account.user.id, &Purpose::ALL).await?;
            (User { display_name, ..account.user }, ended)
        }
        None => {
            start.kind = Kind::SignedUp;
            (sign_up(app, tx, (flow, email, display_name), (start, now)).await?, Vec::new())
        }
    };
    if !identities::insert(&mut **tx, user.id, (&flow.provider, person), now).await? {
        // Another sign-in of the same person was faster.
        return Err(Error::EmailTaken);
    }
    let event = Event::of(context, Kind::IdentityLinked, Actor::User(user.id), user.id, now).with("provider", &flow.provider);
    audit::append(&mut **tx, &event).await?;
    Ok((user, ended))
}

/// Makes an account without a password, by the rules of sign-up. The provider has verified the address.
async fn sign_up(
    app: &App,
    tx: &mut Tx,
    (flow, email, display_name): (&Flow, &Email, String),
    (start, now): (&mut Start, OffsetDateTime),
) -> Result<User, Error> {
    match app.sign_up {
        SignUp::Closed => return Err(Error::SignUpClosed),
        SignUp::Open | SignUp::Verify if !app.sign_up_domains.allow(email) => return Err(Error::DomainClosed),
        SignUp::Open | SignUp::Verify | SignUp::Invite => {}
    }
    let user = User { id: UserId::generate(), email: email.as_str().to_owned(), display_name, plan: Plan::Free, created_at: now };
    if !proofs::insert_verified(&mut **tx, &user, email, None).await? {
        return Err(Error::EmailTaken);
    }
    if app.sign_up == SignUp::Invite {
        let id = invite_use::take(tx, flow.invite_hash.as_deref(), (user.id, email), now).await?;
        start.details.push(("invite", id.to_string()));
    }
    Ok(user)
}

/// Links an identity to the account of the caller. The proof was recent when the link began, in the same session. A second factor that was added
/// since makes it void.
///
/// # Errors
/// SECOND_FACTOR_MISSING, SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, IDENTITY_TAKEN, TOO_MANY_IDENTITIES.
async fn link(app: &App, context: &Context, (provider, person): (&str, &Person), now: OffsetDateTime) -> Result<(), Error> {
    required_factor::check_rights(context)?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, session) = signed_in(&mut tx, context, now).await?;
    second_factors::of(&mut *tx, user.id).await?.check_second(session.shown()).map_err(Error::StepUpRequired)?;
    match identities::used(&mut *tx, person, now).await? {
        Some(id) if id == user.id => return Ok(store::commit(tx).await?),
        Some(_) => return Err(Error::IdentityTaken),
        None => {}
    }
    if identities::of_user(&mut *tx, user.id).await?.len() >= MAX_IDENTITIES {
        return Err(Error::TooManyIdentities(MAX_IDENTITIES));
    }
    if !identities::insert(&mut *tx, user.id, (provider, person), now).await? {
        return Err(Error::IdentityTaken);
    }
    let event = Event::of(context, Kind::IdentityLinked, Actor::User(user.id), user.id, now);
    audit::append(&mut *tx, &event.with("provider", provider)).await?;
    mails::insert(&mut *tx, &Mail::to_account(MailKind::IdentityLinked, user.id, &user.email, now)).await?;
    store::commit(tx).await?;
    app.mail_added.notify_one();
    Ok(())
}

/// The identities of the caller's account, the oldest first.
///
/// # Errors
/// SESSION_ENDED.
pub(crate) async fn list(app: &App, context: &Context, now: OffsetDateTime) -> Result<Vec<Identity>, Error> {
    let (user, _) = account::current(&app.pool, context, now).await?;
    Ok(identities::of_user(&app.pool, user.id).await?)
}

/// Unlinks an identity, and ends all other sessions of the account, because one of them may be that of somebody who could use the identity.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, IDENTITY_NOT_FOUND, LAST_SIGN_IN.
pub(crate) async fn unlink(app: &App, context: &Context, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = recently_proved(&mut tx, context, now).await?;
    let all = identities::of_user(&mut *tx, user.id).await?;
    let gone = all.into_iter().find(|identity| identity.id == id).ok_or(Error::IdentityNotFound)?;
    if !identities::delete(&mut *tx, user.id, id).await? {
        return Err(Error::IdentityNotFound);
    }
    if !passkey::can_sign_in(app, &mut tx, &user).await? {
        return Err(Error::LastSignIn);
    }
    pending_address::forget(&mut tx, &user).await?;
    let ended = sessions::delete_all_of_user(&mut *tx, user.id, Some(current.id)).await?;
    let event = Event::of(context, Kind::IdentityUnlinked, Actor::User(user.id), user.id, now);
    audit::append(&mut *tx, &event.with("provider", &gone.provider).with("sessions", &ended.len().to_string())).await?;
    mails::insert(&mut *tx, &Mail::to_account(MailKind::IdentityUnlinked, user.id, &user.email, now)).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(())
}
