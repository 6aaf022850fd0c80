//! From messages to the types of the service, with the limits of the fields.

use std::ops::RangeInclusive;

use proto::{
    auth::{ChangePasswordRequest, CreateAccessTokenRequest, SignInRequest, SignUpRequest},
    error::Violations,
    id::SessionId,
};

use crate::{
    account::{Attempt, MAX_NAME, NewAccount},
    email,
    error::{Error, SERVICE},
    origin::MAX_USER_AGENT,
    password,
    password_change::Change,
    session::SessionSecret,
};

/// Characters of a secret. The service's own secrets are shorter; a longer text is not looked up.
pub(super) const MAX_SECRET: usize = 256;

pub(super) fn new_account(request: SignUpRequest) -> Result<NewAccount, Error> {
    let SignUpRequest { email, password, display_name, user_agent, .. } = request;
    let mut violations = Violations::default();
    check_lengths(&mut violations, [new_password(&password)]);
    check_name(&mut violations, &display_name);
    check_lengths(&mut violations, [agent(&user_agent)]);
    let email = violations.parse("email", &email);
    violations.check(SERVICE)?;
    let Some(email) = email else { unreachable!("an address that does not parse is a violation") };
    Ok(NewAccount { email, password, display_name, user_agent })
}

/// Checks only what limits the work. The lookup finds out whether the text is an address with an account.
pub(super) fn attempt(request: SignInRequest) -> Result<Attempt, Error> {
    let SignInRequest { email, password, user_agent, .. } = request;
    let mut violations = Violations::default();
    check_typed_email(&mut violations, &email);
    check_lengths(&mut violations, [old_password("password", &password), agent(&user_agent)]);
    violations.check(SERVICE)?;
    Ok(Attempt { email, password, user_agent })
}

pub(super) fn check_typed_email(violations: &mut Violations, email: &str) {
    check_lengths(violations, [("email", email.chars().count(), 1..=email::MAX_CHARACTERS)]);
    // PostgreSQL stores no NUL in a text, and the other control characters are never part of an address.
    if email.chars().any(char::is_control) {
        violations.add("email", "must contain no control characters");
    }
}

pub(super) fn change(request: ChangePasswordRequest) -> Result<Change, Error> {
    let ChangePasswordRequest { current_password, password, user_agent, .. } = request;
    let mut violations = Violations::default();
    check_lengths(&mut violations, [old_password("current_password", &current_password), new_password(&password), agent(&user_agent)]);
    violations.check(SERVICE)?;
    Ok(Change { current: current_password, new: password, user_agent })
}

/// The name of a program.
pub(super) fn name(display_name: String) -> Result<String, Error> {
    let mut violations = Violations::default();
    check_name(&mut violations, &display_name);
    violations.check(SERVICE)?;
    Ok(display_name)
}

pub(super) fn session_id(text: &str) -> Result<SessionId, Error> {
    let mut violations = Violations::default();
    let id = violations.parse("session_id", text);
    violations.check(SERVICE)?;
    id.ok_or(Error::SessionNotFound)
}

/// What a client exchanges for an access token.
pub(super) enum Exchange {
    Session(SessionSecret),
    RefreshToken(String),
}

pub(super) fn exchange(request: CreateAccessTokenRequest) -> Result<Exchange, Error> {
    let CreateAccessTokenRequest { session_token, refresh_token } = request;
    let mut violations = Violations::default();
    check_lengths(&mut violations, [("refresh_token", refresh_token.chars().count(), 0..=MAX_SECRET)]);
    if !session_token.is_empty() && !refresh_token.is_empty() {
        violations.add("refresh_token", "must be absent if there is a session token");
    }
    violations.check(SERVICE)?;
    if !refresh_token.is_empty() {
        return Ok(Exchange::RefreshToken(refresh_token));
    }
    secret(session_token)?.map(Exchange::Session).ok_or(Error::SessionEnded)
}

/// Returns `None` for an empty text.
pub(super) fn secret(text: String) -> Result<Option<SessionSecret>, Error> {
    let mut violations = Violations::default();
    check_lengths(&mut violations, [("session_token", text.chars().count(), 0..=MAX_SECRET)]);
    violations.check(SERVICE)?;
    Ok(if text.is_empty() { None } else { Some(SessionSecret::from_client(text)) })
}

/// A field with its number of characters and the bounds, both included.
type Length<'a> = (&'a str, usize, RangeInclusive<usize>);

fn new_password(password: &str) -> Length<'static> {
    ("password", password::length(password), password::MIN_CHARACTERS..=password::MAX_CHARACTERS)
}

fn old_password<'a>(field: &'a str, password: &str) -> Length<'a> {
    // The previous release counted the characters as they were typed.
    (field, password.chars().count().min(password::length(password)), 1..=password::MAX_CHARACTERS)
}

fn agent(user_agent: &str) -> Length<'static> {
    ("user_agent", user_agent.chars().count(), 0..=MAX_USER_AGENT)
}

fn check_name(violations: &mut Violations, display_name: &str) {
    check_lengths(violations, [("display_name", display_name.chars().count(), 0..=MAX_NAME)]);
    violations.no_misleading_characters("display_name", display_name);
}

pub(super) fn check_lengths<const N: usize>(violations: &mut Violations, fields: [Length<'_>; N]) {
    for (field, count, bounds) in fields {
        if bounds.contains(&count) {
            continue;
        }
        let (min, max) = bounds.into_inner();
        violations
            .add(field, if min == 0 { format!("must be at most {max} characters") } else { format!("must be {min} to {max} characters") });
    }
}
