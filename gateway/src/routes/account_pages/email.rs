//! The pages of another address of the account: the one that asks for it, and that of the link in the mail.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use proto::auth::{ChangeEmailRequest, ConfirmEmailChangeRequest, GetEmailChangeRequest, GetSessionRequest};

use super::{
    CHECK_MAIL,
    signed_in::{Said, SignedIn, done, refused, wrong},
    token_of_link,
};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::{auth::with_cookie, sessions::end_current},
    web::account::{
        form::{Field, Form},
        html::Page,
        link::{self, Sent},
        menu::NEW_EMAIL,
    },
};

const PATH: &str = "/account/email";
const DONE: [(&str, &str); 2] = [
    ("sent", "A mail is on its way to the new address. Open its link to continue. Until then the account keeps its address."),
    ("changed", "Your e-mail address is changed, and all other sessions have ended."),
];

/// What follows after the form was sent.
const NEXT: &str =
    "You get a mail with a link at the new address. When you have confirmed it, all other devices and all programs are signed out.";

async fn page(app: &App, caller: &Authenticated, typed: &str, said: Said) -> Response {
    let user = match app.upstream.auth().get_session(caller.context.request(GetSessionRequest {})).await {
        Ok(answer) => answer.into_inner().user.unwrap_or_default(),
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let field = Field { name: "new_email", label: "New e-mail address", autocomplete: "email", ..Field::email(typed) };
    let form = Form { fields: vec![field], button: "Send the mail", is_refused: said.is_wrong(), ..Form::default() };
    let present = format!("The address of your account is {}.", user.email);
    let next = if matches!(said, Said::Done(text) if text == DONE[0].1) { CHECK_MAIL } else { NEXT };
    let texts = [present.as_str(), next];
    said.respond(PATH, Page { title: "E-mail address", texts: &texts, form: Some(form), ..Page::default() })
}

pub(crate) async fn email_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, "", Said::in_query(query.as_deref(), &DONE)).await
}

/// The page is the same whether or not another account has the address.
pub(crate) async fn email(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let typed = form.get("new_email");
    let request = ChangeEmailRequest { new_email: typed.to_owned() };
    match app.upstream.auth().change_email(caller.context.request(request)).await {
        Ok(_) => done(PATH, "sent"),
        Err(status) => match wrong(PATH, &status) {
            Ok(said) => page(&app, &caller, typed, said).await,
            Err(response) => response,
        },
    }
}

/// The title of the page of a link.
const CONFIRM_NEW: &str = "Confirm your new e-mail address";

/// The page of a link that cannot be used.
fn dead(said: Said) -> Response {
    said.respond(NEW_EMAIL, Page { title: CONFIRM_NEW, links: &[(PATH, "Enter the new address again")], ..Page::default() })
}

/// The page of a link. It names both addresses, and only to whoever has the link and a session of its account. A link that is not valid has no
/// form.
async fn confirm_page(app: &App, caller: &Authenticated, token: &str, said: Said) -> Response {
    let request = GetEmailChangeRequest { token: token.to_owned() };
    let change = match app.upstream.auth().get_email_change(caller.context.request(request)).await {
        Ok(answer) => answer.into_inner(),
        Err(_) if said.is_wrong() => return dead(said),
        Err(status) => return wrong(NEW_EMAIL, &status).map_or_else(|response| response, dead),
    };
    let hidden = vec![("token", token)];
    let form = Form { hidden, button: "Confirm the new address", is_refused: said.is_wrong(), ..Form::default() };
    let present = format!("The address of your account is {}.", change.email);
    let new =
        format!("Confirm that you want to use {} from now on. All other devices and all programs are then signed out.", change.new_email);
    let other = "If another account has this address and nobody has confirmed it, that account is then deleted, with its projects.";
    said.respond(NEW_EMAIL, Page { title: CONFIRM_NEW, texts: &[&present, &new, other], form: Some(form), ..Page::default() })
}

/// Moves the token of the link into its cookie before it asks for a sign-in, which leads back here.
pub(crate) async fn new_email_page(
    State(app): State<Arc<App>>,
    caller: Result<SignedIn, Response>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let caller = match (link::in_query(query.as_deref()), caller) {
        (Sent::Nothing, Err(response)) => return response,
        (_, caller) => caller,
    };
    match (token_of_link(&app, NEW_EMAIL, query.as_deref(), &headers), caller) {
        (Ok(token), Ok(SignedIn(caller))) => confirm_page(&app, &caller, &token, Said::Nothing).await,
        (Err(response), _) | (Ok(_), Err(response)) => response,
    }
}

pub(crate) async fn new_email(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Reply {
    let request = ConfirmEmailChangeRequest { token: form.get("token").to_owned(), ..Default::default() };
    match app.upstream.auth().confirm_email_change(caller.context.request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            end_current(&app, &caller);
            let mut response = with_cookie(&app, done(PATH, "changed"), &answer.session_token, answer.session.as_ref())?;
            link::forget(&mut response, NEW_EMAIL, app.origins.secure());
            Ok(response)
        }
        Err(status) => Ok(match wrong(NEW_EMAIL, &status) {
            Ok(said) => confirm_page(&app, &caller, form.get("token"), said).await,
            Err(response) => response,
        }),
    }
}
