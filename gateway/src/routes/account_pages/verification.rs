//! The page of the link that verifies the address of an account. It needs a session of the account: whoever made an account with the address of
//! somebody else gets no proof from its owner.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use proto::auth::VerifyEmailRequest;

use super::{
    RESET, Wrong, done, linked,
    signed_in::{Said, SignedIn, wrong},
    with,
};
use crate::{
    app::App,
    json::form::Form as Fields,
    web::account::{
        form::Form,
        html::Page,
        link::{self, Sent},
        menu::{VERIFY_EMAIL, sign_in_for},
    },
};

fn confirm_form(token: &str, wrong: Wrong) -> Response {
    let form = Form { hidden: vec![("token", token)], button: "Confirm the address", is_refused: wrong.is_some(), ..Form::default() };
    let texts = ["Confirm that the account in which you are signed in has your e-mail address."];
    let page = Page { title: "Confirm your e-mail address", texts: &texts, form: Some(form), ..Page::default() };
    with(wrong, Page { signed_in: Some(VERIFY_EMAIL), ..page })
}

/// The page for whoever has the link and no session.
fn sign_in_first(_: &str, _: Wrong) -> Response {
    let sign_in = sign_in_for(VERIFY_EMAIL);
    let texts = [
        "If you have made the account with this e-mail address, sign in. You come back to this page.",
        "If you have not made it, set a new password. Then the account is yours, and whoever made it is signed out.",
    ];
    let links = [(sign_in.as_str(), "Sign in"), RESET];
    Page { title: "Sign in to confirm your e-mail address", texts: &texts, links: &links, ..Page::default() }.respond(StatusCode::OK)
}

/// Moves the token of the link into its cookie, which keeps it during a sign-in.
pub(crate) async fn verify_email_page(
    State(app): State<Arc<App>>,
    caller: Result<SignedIn, Response>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let has_link = link::in_query(query.as_deref()) != Sent::Nothing || link::in_cookie(&headers, app.origins.secure()).is_some();
    match caller {
        Ok(_) => linked(&app, VERIFY_EMAIL, query.as_deref(), &headers, confirm_form),
        Err(response) if has_link && response.status() == StatusCode::SEE_OTHER => {
            linked(&app, VERIFY_EMAIL, query.as_deref(), &headers, sign_in_first)
        }
        Err(response) => response,
    }
}

pub(crate) async fn verify_email(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let token = form.get("token");
    let request = VerifyEmailRequest { token: token.to_owned(), ..Default::default() };
    match app.upstream.auth().verify_email(caller.context.request(request)).await {
        Ok(answer) => {
            let text = format!("{} is confirmed.", answer.get_ref().email);
            let page = Page { title: "Your e-mail address is confirmed", texts: &[&text], ..Page::default() };
            done(&app, VERIFY_EMAIL, Page { signed_in: Some(VERIFY_EMAIL), ..page })
        }
        Err(status) => match wrong(VERIFY_EMAIL, &status) {
            Ok(Said::Wrong(refusal)) => confirm_form(token, Some(refusal)),
            Ok(_) => confirm_form(token, None),
            Err(response) => response,
        },
    }
}
