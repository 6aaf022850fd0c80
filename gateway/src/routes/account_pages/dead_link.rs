//! The page of a link that was used or has expired. It has no form that could only fail, and says how to get a new link.

use std::time::Duration;

use axum::response::Response;
use chassis::context::Context;
use proto::{
    auth::{GetLinkRequest, GetLinkResponse},
    error::{ErrorCode, Fault},
};

use super::{CONFIRM, REMOVE_FACTOR, RESET, SIGN_IN, SIGN_UP, VERIFY};
use crate::{
    app::App,
    error::{fault, fault_of},
    web::account::{html::Page, link, refusal::Refusal, words::refusal},
};

/// How long a page waits for what auth says about its link. It is also shown without that, and then the form finds out.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The reason of auth for such a link.
const LINK_INVALID: &str = "LINK_INVALID";

/// The links of a page without a session.
pub(super) struct Kind {
    path: &'static str,
    takes: fn(&GetLinkResponse) -> bool,
    advice: &'static str,
    links: &'static [(&'static str, &'static str)],
}

/// Of a sign-up.
pub(super) const OF_SIGN_UP: Kind = Kind {
    path: VERIFY,
    takes: |link| link.verifies_email,
    advice: "If you have confirmed your address already, sign in. Otherwise create the account again: you get a new link.",
    links: &[SIGN_IN, SIGN_UP],
};
/// Of a new password.
pub(super) const OF_RESET: Kind = Kind {
    path: CONFIRM,
    takes: |link| link.sets_password,
    advice: "If you have just set a new password, sign in with it. Otherwise ask for a new link.",
    links: &[RESET, SIGN_IN],
};

/// Of the removal of a new second factor.
pub(super) const OF_FACTOR: Kind = Kind {
    path: REMOVE_FACTOR,
    takes: |link| link.removes_factor,
    advice: "The second factor may be removed already: set a new password. If you cannot sign in without it, tell the operator.",
    links: &[RESET, SIGN_IN],
};

impl Kind {
    /// The page of a link that cannot be used.
    pub(super) fn page(&self, app: &App) -> Response {
        let fault = dead();
        let status = fault.status;
        let texts = [self.advice];
        let page = Page { title: "The link is no longer valid", fault: Some(fault), texts: &texts, links: self.links, ..Page::default() };
        let mut response = page.respond(status);
        link::forget(&mut response, self.path, app.origins.secure());
        response
    }

    pub(super) async fn is_dead(&self, app: &App, context: &Context, token: &str) -> bool {
        is_dead(app, context, token, self.takes).await
    }
}

/// What a page says about such a link.
pub(super) fn dead() -> Refusal {
    refusal(&fault(ErrorCode::InvalidArgument, LINK_INVALID, "the link cannot be used"))
}

pub(super) fn is_of_link(fault: &Fault) -> bool {
    fault.reason == LINK_INVALID
}

/// Whether auth knows of no use of the link for the page. The link stays usable.
pub(super) async fn is_dead(app: &App, context: &Context, token: &str, takes: fn(&GetLinkResponse) -> bool) -> bool {
    let mut client = app.upstream.auth();
    let request = context.request(GetLinkRequest { token: token.to_owned() });
    match tokio::time::timeout(TIMEOUT, client.get_link(request)).await {
        Ok(Ok(answer)) => !takes(answer.get_ref()),
        Ok(Err(status)) => is_of_link(&fault_of(&status)),
        Err(_) => false,
    }
}
