//! Decodes and encodes the RPCs of providers and identities.

use chassis::{
    clock::{now, timestamp},
    context::Context,
};
use proto::{
    auth::{
        self as pb, FinishProviderSignInRequest, FinishProviderSignInResponse, ListIdentitiesResponse, ListProvidersResponse,
        StartProviderSignInRequest, StartProviderSignInResponse, UnlinkIdentityRequest, UnlinkIdentityResponse,
    },
    error::Violations,
};
use uuid::Uuid;

use super::{
    decode::{MAX_SECRET, check_lengths},
    encode::session,
};
use crate::{
    app::App,
    config::{SecondFactor, SignUp},
    error::{Error, SERVICE},
    identity::{self, Answer, FlowRequest, Identity},
    origin::MAX_USER_AGENT,
    session::SessionSecret,
};

/// Characters of the names of providers and pages.
const MAX_NAME: usize = 32;
const MAX_CODE: usize = 4_096;
const MAX_ISSUER: usize = 512;
const MAX_ERROR: usize = 256;

pub(super) fn list(app: &App) -> ListProvidersResponse {
    let providers = app.providers.all().iter().map(|one| pb::Provider { name: one.name.clone(), display_name: one.title.clone() });
    ListProvidersResponse {
        providers: providers.collect(),
        invite_required: app.sign_up == SignUp::Invite,
        passkeys_offered: app.relying_party.is_some(),
        password_min_length: u32::try_from(app.password_min).unwrap_or(u32::MAX),
        sign_up_closed: app.sign_up == SignUp::Closed,
        second_factor_required: app.second_factor == SecondFactor::Required,
        sign_up_domains_only: app.sign_up_domains.is_restricted() && matches!(app.sign_up, SignUp::Open | SignUp::Verify),
    }
}

pub(super) async fn start(app: &App, context: &Context, request: StartProviderSignInRequest) -> Result<StartProviderSignInResponse, Error> {
    let StartProviderSignInRequest { provider, link, return_to, invite_token } = request;
    let mut violations = Violations::default();
    check_lengths(
        &mut violations,
        [
            ("provider", provider.chars().count(), 1..=MAX_NAME),
            ("return_to", return_to.chars().count(), 0..=MAX_NAME),
            ("invite_token", invite_token.chars().count(), 0..=MAX_SECRET),
        ],
    );
    violations.no_misleading_characters("return_to", &return_to);
    violations.check(SERVICE)?;
    let begun = identity::start(app, context, FlowRequest { provider, link, return_to, invite_token }, now()).await?;
    Ok(StartProviderSignInResponse { authorization_url: begun.url.into(), browser_secret: begun.browser.expose().to_owned() })
}

pub(super) async fn finish(
    app: &App,
    context: &Context,
    request: FinishProviderSignInRequest,
) -> Result<FinishProviderSignInResponse, Error> {
    let FinishProviderSignInRequest { provider, browser_secret, state, code, issuer, error, user_agent } = request;
    let mut violations = Violations::default();
    check_lengths(
        &mut violations,
        [
            ("provider", provider.chars().count(), 1..=MAX_NAME),
            ("browser_secret", browser_secret.chars().count(), 0..=MAX_SECRET),
            ("state", state.chars().count(), 0..=MAX_SECRET),
            ("code", code.chars().count(), 0..=MAX_CODE),
            ("issuer", issuer.chars().count(), 0..=MAX_ISSUER),
            ("error", error.chars().count(), 0..=MAX_ERROR),
            ("user_agent", user_agent.chars().count(), 0..=MAX_USER_AGENT),
        ],
    );
    violations.check(SERVICE)?;
    let (browser, state) = (SessionSecret::from_client(browser_secret), SessionSecret::from_client(state));
    let finished = identity::finish(app, context, Answer { provider, browser, state, code, issuer, error, user_agent }, now()).await?;
    let begun = finished.session.as_ref();
    Ok(FinishProviderSignInResponse {
        session: begun.map(|begun| session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.map(|begun| begun.secret.expose().to_owned()).unwrap_or_default(),
        return_to: finished.return_to,
    })
}

pub(super) async fn identities(app: &App, context: &Context) -> Result<ListIdentitiesResponse, Error> {
    let found = identity::list(app, context, now()).await?;
    Ok(ListIdentitiesResponse { identities: found.into_iter().map(encoded).collect() })
}

pub(super) async fn unlink(app: &App, context: &Context, request: &UnlinkIdentityRequest) -> Result<UnlinkIdentityResponse, Error> {
    let mut violations = Violations::default();
    let id = uuid(&mut violations, "identity_id", &request.identity_id);
    violations.check(SERVICE)?;
    identity::unlink(app, context, id.ok_or(Error::IdentityNotFound)?, now()).await?;
    Ok(UnlinkIdentityResponse {})
}

/// An id in the form that answers have.
pub(super) fn uuid(violations: &mut Violations, field: &str, text: &str) -> Option<Uuid> {
    let id = text.parse::<Uuid>().ok().filter(|id| id.to_string() == text);
    if id.is_none() {
        violations.add(field, "must be a UUID in lower case");
    }
    id
}

pub(super) fn encoded(identity: Identity) -> pb::Identity {
    pb::Identity {
        id: identity.id.to_string(),
        provider: identity.provider,
        label: identity.label,
        create_time: Some(timestamp(identity.created_at)),
        last_use_time: Some(timestamp(identity.last_used_at)),
    }
}
