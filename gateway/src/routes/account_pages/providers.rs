//! Sign-ins with a provider: the way there, and the way back. The cookie of the browser has a secret, so that nobody can make another
//! browser complete a sign-in.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chassis::context::Context;
use proto::auth::{
    FinishProviderSignInRequest, ListProvidersRequest, ListProvidersResponse, StartProviderSignInRequest, StartProviderSignInResponse,
};
use tonic::Status;

use super::{SIGN_IN, SIGN_UP, in_query, landing_in_one_step, second_step, signed_in, signed_in::done, wrong};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::{form::Form as Fields, params::PathParam, reply::Reply},
    routes::auth::user_agent,
    web::account::{
        cookie::PageCookie,
        form::{Form, password_rule},
        html::Page,
        menu::address_named,
        refusal::Refusal,
        section::Section,
    },
};

/// The action of a form that starts a sign-in.
pub(super) const START: &str = "provider";
/// Seconds that a person may take at the provider.
const LIFETIME: u32 = 600;
/// How long a page waits for the list of providers. It is also shown without them.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// With https only this host itself can set the cookie: a page of a neighbouring one, such as a preview, cannot.
fn cookie(app: &App) -> PageCookie<'static> {
    if app.origins.secure() {
        PageCookie { name: "__Host-backlot_oauth".into(), path: "/", is_secure: true }
    } else {
        PageCookie { name: "backlot_oauth".into(), path: "/account/oauth", is_secure: false }
    }
}

/// The providers; none if auth does not answer.
pub(super) async fn providers_of(app: &App, context: &Context) -> ListProvidersResponse {
    let mut client = app.upstream.auth();
    let answer = tokio::time::timeout(LIST_TIMEOUT, client.list_providers(context.request(ListProvidersRequest {}))).await;
    answer.ok().and_then(Result::ok).map(tonic::Response::into_inner).unwrap_or_default()
}

/// The rule of a new password, with its least length if auth answers.
pub(super) async fn password_rule_of(app: &App, context: &Context) -> String {
    password_rule(providers_of(app, context).await.password_min_length)
}

/// Addresses and labels of the sign-ins. `next` names the page that they lead to.
pub(super) fn provider_links(providers: &ListProvidersResponse, next: &str) -> Vec<(String, String)> {
    let query = if next.is_empty() { String::new() } else { format!("?next={next}") };
    let link = |name: &str, title: &str| (format!("/account/oauth/{name}{query}"), format!("Sign in with {title}"));
    providers.providers.iter().map(|provider| link(&provider.name, &provider.display_name)).collect()
}

/// The ways to use an invite without a password.
pub(super) fn invited_section<'a>(providers: &'a ListProvidersResponse, invite: &'a str) -> Vec<Section<'a>> {
    if providers.providers.is_empty() {
        return Vec::new();
    }
    let form = |name: &'a str, title: &'a str| Form {
        hidden: vec![("action", START), ("provider", name), ("token", invite)],
        button: title,
        ..Form::default()
    };
    let forms = providers.providers.iter().map(|provider| form(&provider.name, &provider.display_name)).collect();
    vec![Section { heading: "Or create it with", forms, ..Section::default() }]
}

/// Starts a sign-in for somebody without an account, or with one.
pub(crate) async fn provider_start(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    headers: HeaderMap,
    PathParam(provider): PathParam,
    RawQuery(query): RawQuery,
) -> Response {
    let next = in_query(query.as_deref(), "next");
    let return_to = if address_named(&next).is_some() { next } else { String::new() };
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") && is_name(&provider) {
        return ask(&provider, &return_to);
    }
    let request = StartProviderSignInRequest { provider, return_to, ..Default::default() };
    match app.upstream.auth().start_provider_sign_in(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let mut response = match HeaderValue::try_from(&answer.authorization_url) {
                Ok(url) => (StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response(),
                Err(_) => go_on(&answer),
            };
            cookie(&app).set(&mut response, &answer.browser_secret, LIFETIME);
            response
        }
        Err(status) => failed(&status),
    }
}

/// Whether a provider can have this name.
fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The page before a sign-in that a page of another origin has started, such as a preview: somebody who is signed in at the provider would be signed in here
/// without an action of theirs.
fn ask(provider: &str, next: &str) -> Response {
    let query = if next.is_empty() { String::new() } else { format!("?next={next}") };
    let to = format!("/account/oauth/{provider}{query}");
    let texts = ["Another site has led you here. Continue if you want to sign in."];
    Page { title: SIGN_IN.1, texts: &texts, links: &[(&to, "Continue to the provider"), SIGN_IN], ..Page::default() }
        .respond(StatusCode::OK)
}

/// Starts a sign-in with the invite of a form.
pub(super) async fn start_with_invite(app: &App, caller: &MaybeAuthenticated, form: &Fields) -> Response {
    let (provider, invite_token) = (form.get("provider").to_owned(), form.get("token").to_owned());
    let request = StartProviderSignInRequest { provider, invite_token, ..Default::default() };
    match app.upstream.auth().start_provider_sign_in(caller.anonymous().request(request)).await {
        Ok(answer) => started(app, answer.get_ref()),
        Err(status) => failed(&status),
    }
}

/// The answer to a form that starts a sign-in.
pub(super) fn started(app: &App, answer: &StartProviderSignInResponse) -> Response {
    let mut response = go_on(answer);
    cookie(app).set(&mut response, &answer.browser_secret, LIFETIME);
    response
}

/// A page that leads to the provider by itself. The policy of the page with the form allows no redirect to another site.
fn go_on(answer: &StartProviderSignInResponse) -> Response {
    let links = [(answer.authorization_url.as_str(), "Continue now")];
    let texts = ["You are being sent to the provider."];
    let mut response = Page { title: "One moment", texts: &texts, links: &links, ..Page::default() }.respond(StatusCode::OK);
    if let Ok(value) = HeaderValue::try_from(format!("0;url={}", answer.authorization_url)) {
        response.headers_mut().insert(HeaderName::from_static("refresh"), value);
    }
    response
}

/// Completes a sign-in, or a link. The cookie is used up.
pub(crate) async fn provider_callback(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    headers: HeaderMap,
    PathParam(provider): PathParam,
    RawQuery(query): RawQuery,
) -> Reply {
    let parameter = |name: &str| in_query(query.as_deref(), name);
    let mut request = FinishProviderSignInRequest {
        provider,
        browser_secret: cookie(&app).read(&headers).unwrap_or_default(),
        state: parameter("state"),
        code: parameter("code"),
        issuer: parameter("iss"),
        error: parameter("error"),
        user_agent: String::new(),
    };
    user_agent(&headers, &mut request.user_agent);
    let mut response = match app.upstream.auth().finish_provider_sign_in(caller.context.request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            if answer.session.is_some() {
                let to = landing_in_one_step(&app, &caller, &answer.return_to).await;
                signed_in(&app, &caller, &to, &answer.session_token, answer.session.as_ref()).await?
            } else {
                done("/account/identities", "linked")
            }
        }
        Err(status) => {
            let fault = fault_of(&status);
            let next = fault.metadata.get("return_to").map(String::as_str).unwrap_or_default();
            second_step::form_after(&fault, next).unwrap_or_else(|| failed(&status))
        }
    };
    cookie(&app).forget(&mut response);
    Ok(response)
}

/// The page of a sign-in that did not work.
pub(super) fn failed(status: &Status) -> Response {
    let taken = "Sign in to that account with its password. Then you can link the other one under Linked accounts.";
    let refusal = wrong(status).unwrap_or_default();
    let code = refusal.status;
    let is_taken = fault_of(status).reason == "EMAIL_TAKEN";
    let fault = if is_taken { Refusal::new(code, "This e-mail address already has an account.") } else { refusal };
    let texts = if is_taken { vec![taken] } else { vec![] };
    let links = [SIGN_IN, SIGN_UP, ("/account/identities", "Linked accounts")];
    Page { title: "The sign-in did not work", fault: Some(fault), texts: &texts, links: &links, ..Page::default() }.respond(code)
}

#[cfg(test)]
mod tests {
    use proto::{auth::Provider, error::ErrorCode};

    use super::*;
    use crate::error::fault;

    fn providers() -> ListProvidersResponse {
        let provider = |name: &str, title: &str| Provider { name: name.into(), display_name: title.into() };
        ListProvidersResponse { providers: vec![provider("github", "GitHub"), provider("corp", "Corp & Co")], ..Default::default() }
    }

    #[test]
    fn each_provider_has_a_link_that_keeps_the_page() {
        let links = provider_links(&providers(), "sessions");
        assert_eq!(links[0], ("/account/oauth/github?next=sessions".to_owned(), "Sign in with GitHub".to_owned()));
        assert_eq!(provider_links(&providers(), "")[1].0, "/account/oauth/corp");
        assert!(invited_section(&ListProvidersResponse::default(), "t").is_empty());
        assert_eq!(invited_section(&providers(), "t")[0].forms[1].hidden, [("action", START), ("provider", "corp"), ("token", "t")]);
    }

    #[test]
    fn a_form_leads_on_by_a_page() {
        let answer = StartProviderSignInResponse { authorization_url: "https://idp.example/a?b=c".into(), browser_secret: "s".into() };
        let response = go_on(&answer);
        assert_eq!(
            (response.status(), response.headers()["refresh"].to_str().unwrap()),
            (StatusCode::OK, "0;url=https://idp.example/a?b=c")
        );
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    }

    #[test]
    fn a_failure_has_its_status() {
        for (code, reason, status) in [
            (ErrorCode::InvalidArgument, "FLOW_INVALID", 400),
            (ErrorCode::Forbidden, "PROVIDER_DENIED", 403),
            (ErrorCode::Unauthenticated, "PROVIDER_REFUSED", 401),
            (ErrorCode::Unauthenticated, "PROVIDER_SIGN_IN_TOO_OLD", 401),
            (ErrorCode::Unauthenticated, "PROVIDER_SIGN_IN_TOO_WEAK", 401),
            (ErrorCode::Conflict, "EMAIL_TAKEN", 409),
            (ErrorCode::NotFound, "PROVIDER_NOT_FOUND", 404),
            (ErrorCode::Unavailable, "PROVIDER_UNAVAILABLE", 503),
        ] {
            assert_eq!(failed(&Status::from(fault(code, reason, "x"))).status(), status, "{reason}");
        }
    }
}
