//! What the pages of a signed-in person share. They are for the session cookie of a browser only. Without one they lead to the sign-in, which
//! leads back.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::Response,
};
use proto::{
    auth::SignOutRequest,
    error::{ErrorCode, Fault},
};
use tonic::Status;

use super::in_query;
use crate::{
    app::App,
    error::fault_of,
    identity::{
        authenticate::{Authenticated, MaybeAuthenticated},
        sessions::Credential,
    },
    routes::auth::clear_browser,
    web::account::{
        html::{Page, see_other},
        menu::{MENU, SIGN_IN, add_factor_for, confirm_for, sign_in_for},
        refusal::Refusal,
        words::refusal,
    },
};

/// The person of a signed-in page.
pub(crate) struct SignedIn(pub(crate) Authenticated);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let path = parts.uri.path().to_owned();
        let address = parts.uri.path_and_query().map_or_else(|| path.clone(), ToString::to_string);
        match Authenticated::from_request_parts(parts, state).await {
            Ok(caller) if matches!(caller.credential, Credential::Session(_)) => Ok(Self(caller)),
            Ok(_) => Err(see_other(&sign_in_for(&address))),
            Err(failure) => Err(detour(&address, &failure.0).unwrap_or_else(|| refused(&path, &failure.0))),
        }
    }
}

/// What a page says first.
pub(crate) enum Said {
    Nothing,
    /// What has just been done.
    Done(&'static str),
    /// What the person has to do.
    Asked(&'static str),
    /// What is wrong with a form.
    Wrong(Refusal),
}

impl Said {
    /// What the address of a page names as done, by the names of the page.
    pub(crate) fn in_query(query: Option<&str>, names: &[(&str, &'static str)]) -> Self {
        let done = in_query(query, "done");
        names.iter().find(|(name, _)| *name == done).map_or(Self::Nothing, |(_, text)| Self::Done(text))
    }

    /// The page has no form with this action.
    pub(crate) fn unknown_form() -> Self {
        Self::Wrong(Refusal::new(StatusCode::BAD_REQUEST, "This page has no such form."))
    }

    pub(crate) const fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(..))
    }

    /// The signed-in page at `path` with this text.
    pub(crate) fn respond(self, path: &str, page: Page<'_>) -> Response {
        let page = Page { signed_in: Some(path), ..page };
        match self {
            Self::Nothing => page.respond(StatusCode::OK),
            Self::Done(notice) | Self::Asked(notice) => Page { notice, ..page }.respond(StatusCode::OK),
            Self::Wrong(refusal) => {
                let status = refusal.status;
                Page { fault: Some(refusal), ..page }.respond(status)
            }
        }
    }
}

/// Leads to the page after a form was sent, so that a reload does not send it again. `name` is one of the names of [`Said::in_query`].
pub(crate) fn done(path: &str, name: &str) -> Response {
    see_other(&format!("{path}?done={name}"))
}

/// Where the page at this address leads whose request is refused until the person has done something else. `None` for other refusals.
fn detour(address: &str, fault: &Fault) -> Option<Response> {
    match fault.reason.as_str() {
        "STEP_UP_REQUIRED" => Some(see_other(&confirm_for(address))),
        "SECOND_FACTOR_MISSING" => Some(see_other(&add_factor_for(address))),
        "BAD_CREDENTIALS" | "BAD_SECOND_FACTOR" | "PASSKEY_INVALID" => None,
        _ => (fault.code == ErrorCode::Unauthenticated).then(|| see_other(&sign_in_for(address))),
    }
}

/// What a form of the page at this address says about a refusal, or the page where the person has to go first.
pub(crate) fn wrong(address: &str, status: &Status) -> Result<Said, Response> {
    let fault = fault_of(status);
    match detour(address, &fault) {
        Some(response) => Err(response),
        None => Ok(Said::Wrong(refusal(&fault))),
    }
}

/// The answer in place of a page that cannot be shown.
pub(crate) fn refused(path: &str, fault: &Fault) -> Response {
    let page = Page { title: "This page cannot be shown", ..Page::default() };
    detour(path, fault).unwrap_or_else(|| Said::Wrong(refusal(fault)).respond(path, page))
}

/// The first page of the menu.
pub(crate) async fn overview() -> Response {
    see_other(MENU[0].0)
}

/// Ends the session of the cookie. Without one there is nothing to end.
pub(crate) async fn sign_out(State(app): State<Arc<App>>, caller: MaybeAuthenticated) -> Response {
    if let Some(secret) = caller.identity.session_secret() {
        let request = SignOutRequest { session_token: secret.to_owned() };
        if let Err(status) = app.upstream.auth().sign_out(caller.anonymous().request(request)).await {
            return refused(SIGN_IN, &fault_of(&status));
        }
        app.sessions.forget(secret);
        if let Some(user) = caller.identity.user() {
            app.revocations.end(user.session_id, std::time::Instant::now());
        }
    }
    signed_out(&app)
}

/// Leads to the sign-in, without the cookie.
pub(crate) fn signed_out(app: &App) -> Response {
    let mut response = see_other(SIGN_IN);
    clear_browser(app, &mut response);
    response
}
