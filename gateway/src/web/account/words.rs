//! What the pages say about a refusal.

use axum::http::StatusCode;
use proto::error::Fault;

use crate::error::status::status_of;

/// The status and the text of a refusal.
pub(crate) fn refusal(fault: &Fault) -> (StatusCode, String) {
    let (status, _) = status_of(fault.code, &fault.reason);
    let text = match fault.reason.as_str() {
        "LINK_INVALID" => "The link has been used, has expired, or is incomplete. Ask for a new one.".to_owned(),
        "BAD_CREDENTIALS" => "The e-mail address or the password is wrong.".to_owned(),
        "EMAIL_TAKEN" => "This e-mail address already has an account. Sign in, or set a new password.".to_owned(),
        "SIGNUP_CLOSED" => "Nobody can sign up here with this address. Ask the operator for an account.".to_owned(),
        "WEAK_PASSWORD" => format!("The password is too easy to guess. {}", descriptions(fault)),
        "INVALID_FIELD" => invalid(fault),
        "RATE_LIMITED" | "SHARE_EXHAUSTED" => match fault.retry_after {
            Some(wait) => format!("Too many attempts. Try again in {}.", duration(wait.as_secs())),
            None => "Too many attempts. Try again later.".to_owned(),
        },
        _ => "This cannot be done now. Try again in a moment.".to_owned(),
    };
    (status, text)
}

fn descriptions(fault: &Fault) -> String {
    fault.violations.iter().map(|violation| violation.description.as_str()).collect::<Vec<_>>().join(" ")
}

/// `The e-mail address must be …. The password must be ….`
fn invalid(fault: &Fault) -> String {
    let sentences = fault.violations.iter().map(|violation| {
        let name = match violation.field.as_str() {
            "email" => "e-mail address",
            "token" => "link",
            other => other,
        };
        format!("The {name} {}.", violation.description)
    });
    sentences.collect::<Vec<_>>().join(" ")
}

fn duration(seconds: u64) -> String {
    let (count, unit) = if seconds > 90 { (seconds.div_ceil(60), "minute") } else { (seconds.max(1), "second") };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::error::{ErrorCode, FieldViolation};

    use super::*;
    use crate::error::fault;

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
            (with("UNAVAILABLE", ErrorCode::Unavailable, vec![]), 503, "This cannot be done now."),
        ] {
            let (code, words) = refusal(&fault);
            assert!(code.as_u16() == status && words.starts_with(text), "{}: {code} {words}", fault.reason);
        }
        assert_eq!([duration(0), duration(1), duration(90), duration(91)], ["1 second", "1 second", "90 seconds", "2 minutes"]);
    }
}
