//! The page of a sign-up, with and without an invite. It says who can sign up here.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use proto::auth::{ListProvidersResponse, SignUpRequest};

use super::{
    CHECK_MAIL, RESET, SIGN_IN, SIGN_UP, Wrong, landing_in_one_step,
    providers::{START, invited_section, provider_links, providers_of, start_with_invite},
    signed_in, with, wrong,
};
use crate::{
    app::App,
    edge::request::RequestInfo,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::auth::user_agent,
    web::account::{
        form::{Field, Form, password_rule},
        html::Page,
        link::{self, Sent},
    },
};

const CLOSED: &str = "Nobody can sign up here. Ask the operator of this site for an account.";
const INVITE_REQUIRED: &str = "You need an invite to sign up here. Open the link that the operator of this site has given to you.";
const DOMAINS_ONLY: &str = "Only addresses of certain domains can sign up here. The operator of this site knows which.";

/// After a sign-up whose invite was refused.
const AFTER_AN_INVITE: [(&str, &str); 2] = [(SIGN_UP.0, "Enter another e-mail address"), SIGN_IN];

/// Why nobody can use the form; `None` if somebody can.
fn closed(has_invite: bool, providers: &ListProvidersResponse) -> Option<&'static str> {
    if providers.sign_up_closed {
        return Some(CLOSED);
    }
    (providers.invite_required && !has_invite).then_some(INVITE_REQUIRED)
}

/// `invite` is the token of an invite, or empty.
fn sign_up_form(email: &str, invite: &str, providers: &ListProvidersResponse, wrong: Wrong) -> Response {
    let has_invite = !invite.is_empty();
    if let Some(text) = closed(has_invite, providers) {
        return with(wrong, Page { title: SIGN_UP.1, texts: &[text], links: &[SIGN_IN, RESET], ..Page::default() });
    }
    let rule = password_rule(providers.password_min_length);
    let fields = vec![Field::email(email), Field::new_password(&rule)];
    let hidden = if has_invite { vec![("token", invite)] } else { Vec::new() };
    let form = Form { hidden, fields, button: SIGN_UP.1, is_refused: wrong.is_some(), ..Form::default() };
    let texts: &[&str] = if providers.sign_up_domains_only { &[DOMAINS_ONLY] } else { &[] };
    let (sections, of_providers) =
        if has_invite { (invited_section(providers, invite), Vec::new()) } else { (Vec::new(), provider_links(providers, "")) };
    let links: Vec<_> = of_providers.iter().map(|(to, label)| (to.as_str(), label.as_str())).chain([SIGN_IN, RESET]).collect();
    with(wrong, Page { title: SIGN_UP.1, texts, form: Some(form), sections, links: &links, ..Page::default() })
}

/// The link of an invite has its token.
pub(crate) async fn sign_up_page(
    State(app): State<Arc<App>>,
    Extension(info): Extension<RequestInfo>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let secure = app.origins.secure();
    let token = match link::in_query(query.as_deref()) {
        Sent::Token(token) => return link::redirect(SIGN_UP.0, &token, secure),
        // A part of a link must not fall back to the token of another one.
        Sent::Malformed => None,
        Sent::Nothing => link::in_cookie(SIGN_UP.0, &headers, secure),
    };
    let providers = providers_of(&app, &info.context(None)).await;
    sign_up_form("", &token.unwrap_or_default(), &providers, None)
}

pub(crate) async fn sign_up(State(app): State<Arc<App>>, caller: MaybeAuthenticated, headers: HeaderMap, form: Fields) -> Reply {
    if form.get("action") == START {
        return Ok(start_with_invite(&app, &caller, &form).await);
    }
    let (email, password, invite_token) = (form.get("email").to_owned(), form.get("password").to_owned(), form.get("token").to_owned());
    let mut request = SignUpRequest { email, password, invite_token, ..Default::default() };
    user_agent(&headers, &mut request.user_agent);
    match app.upstream.auth().sign_up(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            if answer.session.is_some() {
                let to = landing_in_one_step(&app, &caller, "").await;
                let mut response = signed_in(&app, &caller, &to, &answer.session_token, answer.session.as_ref()).await?;
                link::forget(&mut response, SIGN_UP.0, app.origins.secure());
                return Ok(response);
            }
            let texts = ["A mail is on its way to the address.", CHECK_MAIL];
            Ok(Page { title: "Check your mail", texts: &texts, ..Page::default() }.respond(StatusCode::OK))
        }
        // The person may have another address, so the cookie with the token stays.
        Err(status) if fault_of(&status).reason == "INVITE_INVALID" => {
            Ok(with(wrong(&status), Page { title: SIGN_UP.1, links: &AFTER_AN_INVITE, ..Page::default() }))
        }
        Err(status) => {
            let providers = providers_of(&app, &caller.context).await;
            Ok(sign_up_form(form.get("email"), form.get("token"), &providers, wrong(&status)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn html(invite: &str, providers: &ListProvidersResponse) -> String {
        let body = sign_up_form("", invite, providers, None).into_body();
        String::from_utf8(axum::body::to_bytes(body, 100_000).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_page_says_who_can_sign_up_and_how_long_a_password_is() {
        let open = ListProvidersResponse { password_min_length: 17, ..Default::default() };
        let page = html("", &open).await;
        assert!(page.contains("<form") && page.contains("At least 17 characters.") && !page.contains("<p>"), "{page}");
        let page = html("", &ListProvidersResponse { sign_up_domains_only: true, ..open.clone() }).await;
        assert!(page.contains("<form") && page.contains(DOMAINS_ONLY), "{page}");
        let by_invite = ListProvidersResponse { invite_required: true, ..open.clone() };
        let page = html("", &by_invite).await;
        assert!(!page.contains("<form") && page.contains(INVITE_REQUIRED), "{page}");
        let page = html("abc", &by_invite).await;
        assert!(page.contains("name=\"token\" value=\"abc\"") && page.contains("At least 17 characters."), "{page}");
        let closed = ListProvidersResponse { sign_up_closed: true, ..open };
        for invite in ["", "abc"] {
            let page = html(invite, &closed).await;
            assert!(!page.contains("<form") && page.contains(CLOSED) && page.contains("href=\"/account/sign-in\""), "{page}");
        }
    }
}
