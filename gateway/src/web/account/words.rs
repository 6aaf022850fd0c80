//! What the pages say about a refusal.

use std::time::Duration;

use proto::error::{Fault, FieldViolation};

use super::refusal::Refusal;
use crate::{
    error::{problem::retry_after, status::status_of},
    http::quota::whole_seconds,
};

/// Reasons whose text is always the same.
const TEXTS: &[(&str, &str)] = &[
    ("LINK_INVALID", "The link has been used, has expired, or is incomplete. Ask for a new one."),
    ("BAD_CREDENTIALS", "The e-mail address or the password is wrong."),
    ("BAD_SECOND_FACTOR", "The code is wrong, or was used before."),
    ("SIGN_IN_EXPIRED", "The sign-in took too long, or had too many attempts. Sign in again."),
    ("PASSKEYS_NOT_OFFERED", "Passkeys cannot be used at this address."),
    ("PASSKEY_INVALID", "The passkey was not accepted. Use another one, or another way to sign in."),
    ("PASSKEY_NOT_FOUND", "There is no such passkey."),
    ("CEREMONY_INVALID", "The passkey was used too late, or twice. Start again."),
    ("FACTOR_EXISTS", "Your account already has an authenticator app."),
    ("FACTOR_NOT_FOUND", "There is no authenticator app, or the code came too late. Start again."),
    ("EMAIL_TAKEN", "This e-mail address already has an account. Sign in, or set a new password."),
    ("INVITE_REQUIRED", "You need an invite to sign up here. Ask the operator for one."),
    (
        "INVITE_INVALID",
        "The invite has been used, was revoked, has expired, or is for another e-mail address. Ask the operator for a new one.",
    ),
    ("EMAIL_UNVERIFIED", "The provider has not confirmed an e-mail address of yours. Confirm it there and start again, or sign up here."),
    ("PROVIDER_NOT_FOUND", "This site does not offer sign-in with this provider."),
    ("PROVIDER_DENIED", "The sign-in was cancelled at the provider."),
    ("PROVIDER_REFUSED", "The answer of the provider is not valid. Start over; if it happens again, tell the operator."),
    ("PROVIDER_SIGN_IN_TOO_OLD", "You signed in at the provider too long ago. Sign out there, and start again."),
    (
        "PROVIDER_SIGN_IN_TOO_WEAK",
        "This site needs a stronger sign-in at the provider, such as one with a second factor. Sign out there, and start again with it.",
    ),
    ("PROVIDER_UNAVAILABLE", "The provider does not answer. Try again in a moment."),
    (
        "FLOW_INVALID",
        "This browser has not started this sign-in, has started another one since, or has taken longer than ten minutes. Start again.",
    ),
    ("IDENTITY_TAKEN", "This account of the provider is linked to another account here."),
    ("IDENTITY_NOT_FOUND", "The account is no longer linked."),
    ("TOO_MANY_IDENTITIES", "Your account cannot have more linked accounts. Unlink one of them first."),
    ("LAST_SIGN_IN", "You would no longer be able to sign in. Set a password, link another account or add another passkey first."),
    ("SIGNUP_CLOSED", "Nobody can sign up here with this address. Ask the operator for an account."),
    ("IMPERSONATED", "An operator who acts for you cannot change the account."),
    ("DEVICE_CODE_INVALID", "There is no such code, or it has expired or was used. Start again on the device."),
    ("API_KEY_NOT_FOUND", "This key is deleted already."),
    ("PROVIDER_KEY_NOT_FOUND", "This key is deleted already."),
    ("PROVIDER_KEY_EXISTS", "You have a key of this provider already. Delete it first."),
    ("PROVIDER_KEY_CHANGED", "The key was changed at the same time. Try again."),
    ("PROVIDER_KEYS_DISABLED", "This site stores no keys of model providers."),
    ("SERVICE_ACCOUNT_NOT_FOUND", "This service account is deleted already."),
    ("USER_DISABLED", "The operator has disabled this account."),
    ("TOO_MANY_CREDENTIALS", "You have reached the limit of your account. Delete one first."),
    ("SESSION_NOT_FOUND", "This session has already ended."),
    ("SESSION_REQUIRED", "For this you must have signed in yourself. An operator who acts for you cannot do it."),
    ("SECOND_FACTOR_MISSING", "This site requires a second factor. Add one first."),
    ("STEP_UP_REQUIRED", "For this you must prove again that it is you. Start again."),
    ("KEY_REQUIRED", "The stored key cannot be read any more. Delete it, and store it again."),
];

/// Reasons that are about one field of the contract.
const OF_FIELDS: &[(&str, &str)] = &[
    ("BAD_SECOND_FACTOR", "code"),
    ("DEVICE_CODE_INVALID", "user_code"),
    ("EMAIL_TAKEN", "email"),
    ("PROVIDER_KEY_EXISTS", "provider"),
    ("WEAK_PASSWORD", "password"),
];

/// What a page says about a fault.
pub(crate) fn refusal(fault: &Fault) -> Refusal {
    let (status, _) = status_of(fault.code, &fault.reason);
    let wait = retry_after(fault, status);
    if fault.reason == "INVALID_FIELD" {
        return Refusal { status, wait, fields: fault.violations.iter().map(invalid).collect(), ..Refusal::default() };
    }
    let fixed = TEXTS.iter().find(|(reason, _)| *reason == fault.reason).map(|(_, text)| (*text).to_owned());
    let text = fixed.unwrap_or_else(|| text(fault, wait));
    let refusal = match OF_FIELDS.iter().find(|(reason, _)| *reason == fault.reason) {
        Some((_, field)) => Refusal::of_field(status, field, text),
        None => Refusal::new(status, text),
    };
    Refusal { wait, ..refusal }
}

/// The text of a refusal that depends on more than the reason.
fn text(fault: &Fault, wait: Option<Duration>) -> String {
    let later = || wait.map_or_else(|| "later".to_owned(), |wait| format!("in {}", duration(whole_seconds(wait))));
    match fault.reason.as_str() {
        "WEAK_PASSWORD" => format!("The password is too easy to guess. {}", descriptions(fault)),
        "CHALLENGE_REQUIRED" => {
            let later = later();
            format!(
                "Many wrong passwords came from your network, or for this account. Sign in from a network in which you have signed in before, set a \
                 new password, or try again {later}."
            )
        }
        "RATE_LIMITED" | "SHARE_EXHAUSTED" => format!("Too many attempts. Try again {}.", later()),
        _ => "This cannot be done now. Try again in a moment.".to_owned(),
    }
}

fn descriptions(fault: &Fault) -> String {
    fault.violations.iter().map(|violation| violation.description.as_str()).collect::<Vec<_>>().join(" ")
}

/// The field, and a sentence: `The e-mail address must be ….`
fn invalid(violation: &FieldViolation) -> (String, String) {
    let name = match violation.field.as_str() {
        "email" => "e-mail address",
        "new_email" => "new e-mail address",
        "token" => "link",
        "current_password" => "current password",
        "user_code" => "code",
        "display_name" => "name",
        "base_url" => "address",
        "credential" => "answer of the passkey",
        "challenge_solution" => "solution of the task",
        "lifetime_days" => "number of days",
        "project_ids" => "list of projects",
        "key_id" => "key",
        "service_account_id" => "service account",
        "passkey_id" => "passkey",
        field if field.starts_with("project_ids[") => "id of a project",
        other => other,
    };
    (violation.field.clone(), format!("The {name} {}.", violation.description))
}

fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..=90 => (seconds.max(1), "second"),
        91..7_200 => (seconds.div_ceil(60), "minute"),
        7_200.. => (seconds.div_ceil(3_600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use proto::error::ErrorCode;

    use super::*;
    use crate::error::fault;

    #[test]
    fn a_refusal_names_its_fields() {
        let violation = |field: &str| FieldViolation { field: field.into(), description: "is wrong".into() };
        let invalid = Fault {
            violations: vec![violation("email"), violation("project_ids[1]")],
            ..fault(ErrorCode::InvalidArgument, "INVALID_FIELD", "x")
        };
        let refused = refusal(&invalid);
        assert_eq!((refused.text.as_str(), refused.about("email").as_str()), ("", "The e-mail address is wrong."));
        assert_eq!(refused.about("project_ids"), "The id of a project is wrong.");
        let wrong = refusal(&fault(ErrorCode::Unauthenticated, "BAD_SECOND_FACTOR", "x"));
        assert_eq!(wrong.about("code"), "The code is wrong, or was used before.");
        assert!(
            refusal(&fault(ErrorCode::Unauthenticated, "BAD_CREDENTIALS", "x")).fields.is_empty(),
            "nobody learns which of them is wrong"
        );
    }

    #[test]
    fn a_refusal_has_a_status_and_a_sentence() {
        let field = |field: &str, description: &str| FieldViolation { field: field.into(), description: description.into() };
        let with = |reason: &str, code, violations| Fault { violations, ..fault(code, reason, "x") };
        for (fault, status, text) in [
            (with("LINK_INVALID", ErrorCode::InvalidArgument, vec![]), 400, "The link has been used"),
            (with("BAD_CREDENTIALS", ErrorCode::Unauthenticated, vec![]), 401, "The e-mail address or the password is wrong."),
            (with("EMAIL_TAKEN", ErrorCode::Conflict, vec![]), 409, "This e-mail address already has an account."),
            (
                with("WEAK_PASSWORD", ErrorCode::InvalidArgument, vec![field("password", "Add another word.")]),
                400,
                "The password is too easy to guess. Add another word.",
            ),
            (
                with("INVALID_FIELD", ErrorCode::InvalidArgument, vec![field("email", "must contain exactly one @")]),
                400,
                "The e-mail address must contain exactly one @.",
            ),
            (
                fault(ErrorCode::RateLimited, "RATE_LIMITED", "x").retry_after(Duration::from_secs(840)),
                429,
                "Too many attempts. Try again in 14 minutes.",
            ),
            (with("RATE_LIMITED", ErrorCode::RateLimited, vec![]), 429, "Too many attempts. Try again in 1 second."),
            (
                fault(ErrorCode::RateLimited, "CHALLENGE_REQUIRED", "x").retry_after(Duration::from_secs(840)),
                429,
                "Many wrong passwords came from your network, or for this account. Sign in from a network in which you have signed in before, set a \
                 new password, or try again in 14 minutes.",
            ),
            (with("CHALLENGE_REQUIRED", ErrorCode::RateLimited, vec![]), 429, "Many wrong passwords came from your network, or"),
            (with("SESSION_REQUIRED", ErrorCode::Forbidden, vec![]), 403, "For this you must have signed in yourself."),
            (with("STEP_UP_REQUIRED", ErrorCode::Forbidden, vec![]), 403, "For this you must prove again that it is you."),
            (with("KEY_REQUIRED", ErrorCode::InvalidArgument, vec![]), 400, "The stored key cannot be read any more."),
            (with("UNAVAILABLE", ErrorCode::Unavailable, vec![]), 503, "This cannot be done now."),
        ] {
            let refusal = refusal(&fault);
            assert_eq!(refusal.wait.is_some(), [429, 503].contains(&status), "{}", fault.reason);
            let words = [refusal.text].into_iter().chain(refusal.fields.into_iter().map(|(_, text)| text)).collect::<String>();
            assert!(refusal.status.as_u16() == status && words.starts_with(text), "{}: {} {words}", fault.reason, refusal.status);
        }
        assert_eq!([duration(0), duration(1), duration(90), duration(91)], ["1 second", "1 second", "90 seconds", "2 minutes"]);
        assert_eq!([duration(7_199), duration(7_200), duration(86_400)], ["120 minutes", "2 hours", "24 hours"]);
    }
}
