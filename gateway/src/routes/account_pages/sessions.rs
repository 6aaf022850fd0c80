//! The page of sessions: their list, and the ends of one, of all others, and of all.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proto::auth::{ListSessionsRequest, RevokeSessionRequest, RevokeSessionsRequest, Session, SessionKind};

use super::signed_in::{Said, SignedIn, done, refused, signed_out, wrong};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::form::Form as Fields,
    routes::sessions::end_current,
    web::account::{
        form::Form,
        html::Page,
        section::{Cell, Row, Section, Table},
    },
};

const PATH: &str = "/account/sessions";
const ABOUT_ORIGINS: &str = "A device can claim to be another one. The network is where the sign-in came from.";
const ABOUT_PLACES: &str = "A place is that of a whole network, so it can be wrong.";
const DONE: [(&str, &str); 2] = [("ended", "The session has ended."), ("others", "All other sessions have ended.")];

pub(crate) async fn sessions_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, Said::in_query(query.as_deref(), &DONE)).await
}

pub(crate) async fn sessions(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let outcome = match form.get("action") {
        "end" => end(&app, &caller, form.get("session")).await,
        "others" => end_all(&app, &caller, false).await,
        "all" => end_all(&app, &caller, true).await,
        _ => Ok(Said::unknown_form()),
    };
    match outcome {
        Ok(said) => page(&app, &caller, said).await,
        Err(response) => response,
    }
}

/// Ends one session. `Err` is the answer after an end.
async fn end(app: &App, caller: &Authenticated, id: &str) -> Result<Said, Response> {
    let request = RevokeSessionRequest { session_id: id.to_owned() };
    match app.upstream.auth().revoke_session(caller.context.request(request)).await {
        Ok(_) => {
            if let Ok(id) = id.parse() {
                app.revocations.end(id, Instant::now());
            }
            if id == caller.user.session_id.to_string() { Err(signed_out(app)) } else { Err(done(PATH, "ended")) }
        }
        Err(status) => wrong(PATH, &status),
    }
}

/// Ends the other sessions or all. `Err` is the answer after an end.
async fn end_all(app: &App, caller: &Authenticated, include_current: bool) -> Result<Said, Response> {
    match app.upstream.auth().revoke_sessions(caller.context.request(RevokeSessionsRequest { include_current })).await {
        Ok(_) if include_current => {
            end_current(app, caller);
            Err(signed_out(app))
        }
        Ok(_) => Err(done(PATH, "others")),
        Err(status) => wrong(PATH, &status),
    }
}

async fn page(app: &App, caller: &Authenticated, said: Said) -> Response {
    let answer = match app.upstream.auth().list_sessions(caller.context.request(ListSessionsRequest {})).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let names: Vec<String> = answer.sessions.iter().map(name).collect();
    let rows = answer.sessions.iter().zip(&names).map(|(session, name)| row(session, name)).collect();
    let head = &["Device or program", "Network", "Began", "Last use", "Ends at the latest"];
    let about_places = answer.sessions.iter().any(|session| !session.place.is_empty()).then_some(ABOUT_PLACES);
    let list = Section {
        heading: "Where you are signed in",
        texts: [ABOUT_ORIGINS].into_iter().chain(about_places).map(str::to_owned).collect(),
        table: Some(Table { caption: "Sessions of your account", head, rows }),
        ..Section::default()
    };
    let end = Section {
        heading: "End several sessions",
        texts: vec![
            "Programs that you gave a refresh token have sessions, too. They end with the others, and your API keys are deleted."
                .to_owned(),
        ],
        forms: [("others", "End all other sessions"), ("all", "End all sessions and sign out here")]
            .map(|(action, button)| Form { is_destructive: true, ..Form::of_action(action, button) })
            .into(),
        ..Section::default()
    };
    said.respond(PATH, Page { title: "Sessions", sections: vec![list, end], ..Page::default() })
}

fn row<'a>(session: &'a Session, name: &'a str) -> Row<'a> {
    let about = if session.is_current { format!("{name} (this session)") } else { name.to_owned() };
    let cells = vec![
        Cell::Text(about),
        Cell::Text(network(session)),
        Cell::Time(session.create_time),
        Cell::Time(session.last_use_time),
        Cell::Time(session.expire_time),
    ];
    let end = Form { subject: name, is_destructive: true, ..Form::of_action("end", "End") };
    Row { cells, form: Some(Form { hidden: [end.hidden, vec![("session", session.id.as_str())]].concat(), ..end }) }
}

/// The network of a session, with its place if that is known.
fn network(session: &Session) -> String {
    match (session.network.as_str(), session.place.as_str()) {
        ("", _) => "unknown".to_owned(),
        (network, "") => network.to_owned(),
        (network, place) => format!("{network} ({place})"),
    }
}

/// What a person calls a session.
fn name(session: &Session) -> String {
    let device = if session.device.is_empty() { "Unknown device" } else { &session.device };
    let is_program = session.kind() == SessionKind::RefreshToken;
    match (session.impersonator.as_str(), is_program, session.display_name.as_str()) {
        ("", true, "") => "Program without a name".to_owned(),
        ("", true, name) => format!("Program {name}"),
        ("", false, _) => device.to_owned(),
        (operator, ..) => format!("Operator {operator}, who acts for you"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_a_name() {
        let session = |kind: SessionKind, display_name: &str, device: &str, impersonator: &str| Session {
            kind: kind.into(),
            display_name: display_name.into(),
            device: device.into(),
            impersonator: impersonator.into(),
            ..Session::default()
        };
        for (session, expected) in [
            (session(SessionKind::SignIn, "", "Firefox on Windows", ""), "Firefox on Windows"),
            (session(SessionKind::SignIn, "", "", ""), "Unknown device"),
            (session(SessionKind::RefreshToken, "nightly", "curl", ""), "Program nightly"),
            (session(SessionKind::RefreshToken, "", "", ""), "Program without a name"),
            (session(SessionKind::SignIn, "", "Firefox", "ada"), "Operator ada, who acts for you"),
        ] {
            assert_eq!(name(&session), expected);
        }
    }

    #[test]
    fn a_network_has_its_place_if_that_is_known() {
        for (of_session, place, expected) in
            [("1.1.1.0/24", "Berlin, Germany", "1.1.1.0/24 (Berlin, Germany)"), ("1.1.1.0/24", "", "1.1.1.0/24"), ("", "", "unknown")]
        {
            assert_eq!(network(&Session { network: of_session.into(), place: place.into(), ..Session::default() }), expected);
        }
    }
}
