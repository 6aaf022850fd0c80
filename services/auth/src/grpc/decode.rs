//! From messages to the types of the service, with the limits of the fields.

use std::ops::RangeInclusive;

use proto::{
    auth::{ChangePasswordRequest, CreateAccessTokenRequest, SignInRequest, SignUpRequest},
    error::Violations,
    id::{SessionId, UserId},
    text::is_blank,
};

use crate::{
    account::{Attempt, MAX_NAME, NewAccount},
    challenge::MAX_SOLUTION,
    email,
    error::{Error, SERVICE},
    origin::MAX_USER_AGENT,
    password,
    password_change::Change,
    session::SessionSecret,
};

/// Characters of a secret. The service's own secrets are shorter; a longer text is not looked up.
pub(super) const MAX_SECRET: usize = 256;

/// `password_min` is the least characters of a new password.
pub(super) fn new_account(request: SignUpRequest, password_min: usize) -> Result<NewAccount, Error> {
    let SignUpRequest { email, password, display_name, user_agent, invite_token, .. } = request;
    let mut violations = Violations::default();
    check_lengths(&mut violations, [new_password(&password, password_min)]);
    check_name(&mut violations, &display_name);
    check_lengths(&mut violations, [agent(&user_agent), ("invite_token", invite_token.chars().count(), 0..=MAX_SECRET)]);
    let email = violations.parse("email", &email);
    violations.check(SERVICE)?;
    let Some(email) = email else { unreachable!("an address that does not parse is a violation") };
    Ok(NewAccount { email, password, display_name, user_agent, invite_token })
}

/// Checks only what limits the work. The lookup finds out whether the text is an address with an account.
pub(super) fn attempt(request: SignInRequest) -> Result<Attempt, Error> {
    let SignInRequest { email, password, user_agent, challenge_solution, .. } = request;
    let mut violations = Violations::default();
    check_typed_email(&mut violations, &email);
    let solution = ("challenge_solution", challenge_solution.chars().count(), 0..=MAX_SOLUTION);
    check_lengths(&mut violations, [old_password("password", &password), agent(&user_agent), solution]);
    violations.check(SERVICE)?;
    Ok(Attempt { email, password, user_agent, challenge_solution })
}

pub(super) fn check_typed_email(violations: &mut Violations, email: &str) {
    check_lengths(violations, [("email", email.chars().count(), 1..=email::MAX_CHARACTERS)]);
    // PostgreSQL stores no NUL in a text, and the other control characters are never part of an address.
    if email.chars().any(char::is_control) {
        violations.add("email", "must contain no control characters");
    }
}

pub(super) fn change(request: ChangePasswordRequest, password_min: usize) -> Result<Change, Error> {
    let ChangePasswordRequest { current_password, password, user_agent, .. } = request;
    let mut violations = Violations::default();
    check_lengths(
        &mut violations,
        [old_password("current_password", &current_password), new_password(&password, password_min), agent(&user_agent)],
    );
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
    ApiKey(String),
}

pub(super) fn exchange(request: CreateAccessTokenRequest) -> Result<Exchange, Error> {
    let CreateAccessTokenRequest { session_token, refresh_token, api_key } = request;
    let mut violations = Violations::default();
    let length = |text: &str| text.chars().count();
    check_lengths(
        &mut violations,
        [("refresh_token", length(&refresh_token), 0..=MAX_SECRET), ("api_key", length(&api_key), 0..=MAX_SECRET)],
    );
    if !session_token.is_empty() && !refresh_token.is_empty() {
        violations.add("refresh_token", "must be absent if there is a session token");
    }
    let has_other = !session_token.is_empty() || !refresh_token.is_empty();
    if !api_key.is_empty() && has_other {
        violations.add("api_key", "must be absent if there is another token");
    }
    violations.check(SERVICE)?;
    if !api_key.is_empty() {
        return Ok(Exchange::ApiKey(api_key));
    }
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
pub(super) type Length<'a> = (&'a str, usize, RangeInclusive<usize>);

pub(super) fn new_password(password: &str, min: usize) -> Length<'static> {
    ("password", password::length(password), min..=password::MAX_CHARACTERS)
}

pub(super) fn old_password<'a>(field: &'a str, password: &str) -> Length<'a> {
    // The previous release counted the characters as they were typed.
    (field, password.chars().count().min(password::length(password)), 1..=password::MAX_CHARACTERS)
}

/// A password that some uses of the message do not need.
pub(super) fn optional_password(password: &str) -> Length<'static> {
    let (field, length, _) = old_password("password", password);
    (field, length, 0..=password::MAX_CHARACTERS)
}

pub(super) fn agent(user_agent: &str) -> Length<'static> {
    ("user_agent", user_agent.chars().count(), 0..=MAX_USER_AGENT)
}

pub(super) fn check_name(violations: &mut Violations, display_name: &str) {
    check_lengths(violations, [("display_name", display_name.chars().count(), 0..=MAX_NAME)]);
    violations.no_misleading_characters("display_name", display_name);
}

/// The same for a name that must be there.
pub(super) fn check_required_name(violations: &mut Violations, display_name: &str) {
    check_name(violations, display_name);
    if is_blank(display_name) {
        violations.add("display_name", format!("must be 1 to {MAX_NAME} characters"));
    }
}

/// The service account that a request names; `None` for an empty text.
pub(super) fn service_account(violations: &mut Violations, text: &str) -> Option<UserId> {
    if text.is_empty() { None } else { violations.parse("service_account_id", text) }
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
