//! The HTTP status and the title of every reason.

use axum::http::StatusCode;
use proto::error::ErrorCode;

/// Each reason with its status, if that differs from the status of its code, and its title. A title is true for every use of the reason.
const REASONS: &[(&str, Option<StatusCode>, &str)] = &[
    ("ACCOUNT_TOO_LARGE", Some(StatusCode::FORBIDDEN), "The account has no room"),
    ("AGENT_NOT_FOUND", None, "There is no such agent"),
    ("API_KEY_INVALID", None, "The API key is not valid"),
    ("API_KEY_NOT_FOUND", None, "There is no such API key"),
    ("ARCHIVE_ENTRY_REFUSED", None, "The archive has an entry that a project cannot have"),
    ("ARCHIVE_INVALID", None, "The archive cannot be read"),
    ("ARCHIVE_TOO_LARGE", Some(StatusCode::PAYLOAD_TOO_LARGE), "The archive exceeds a limit"),
    ("AUTHOR_REQUIRED", None, "Only the author may change the message"),
    ("BAD_CREDENTIALS", None, "The credentials are wrong"),
    ("BAD_SECOND_FACTOR", None, "The code is wrong or was used before"),
    ("BODY_BROKEN", None, "The request's body ended early"),
    ("BODY_TIMEOUT", Some(StatusCode::REQUEST_TIMEOUT), "The request's body arrived too slowly"),
    ("BUILD_FAILED", Some(StatusCode::UNPROCESSABLE_ENTITY), "The site cannot be built"),
    ("CALLER_DENIED", None, "The caller may not call this RPC"),
    ("CEREMONY_INVALID", None, "No such exchange with a passkey is in progress"),
    ("CHALLENGE_REQUIRED", None, "A challenge must be solved first"),
    ("COMPILER_FAILED", Some(StatusCode::UNPROCESSABLE_ENTITY), "The compiler ended without an answer"),
    ("COMPILER_MISSING", None, "The compiler is not installed"),
    ("COMPILER_TIMEOUT", Some(StatusCode::UNPROCESSABLE_ENTITY), "The compiler took too long"),
    ("CONFLICT_NOT_FOUND", None, "There is no such conflict"),
    ("CONFLICT_RESOLVED", None, "The conflict is already resolved"),
    ("CONTINUATION_UNSUPPORTED", Some(StatusCode::UNPROCESSABLE_ENTITY), "An answer cannot be continued"),
    ("CROSS_ORIGIN", None, "Pages of that origin may not do this"),
    ("CURSOR_AHEAD", None, "There is no such event yet"),
    ("CURSOR_EXPIRED", Some(StatusCode::GONE), "The events are no longer kept"),
    ("DEPLOYMENT_NOT_FOUND", None, "There is no such deployment"),
    ("DEVICE_CODE_INVALID", None, "There is no such code"),
    ("DRAINING", None, "This process is about to stop"),
    ("EMAIL_TAKEN", None, "The e-mail address already has an account"),
    ("EMAIL_UNVERIFIED", None, "The provider has not verified an e-mail address"),
    ("ETAG_MISMATCH", Some(StatusCode::PRECONDITION_FAILED), "A condition of the request does not hold"),
    ("FACTOR_EXISTS", None, "The account has an authenticator app"),
    ("FACTOR_NOT_FOUND", None, "The account has no such factor"),
    ("FILE_CHANGED", None, "The file does not match its ETag"),
    ("FILE_EXISTS", None, "The file already exists"),
    ("FILE_NOT_FOUND", None, "There is no such file"),
    ("FILE_NOT_TEXT", None, "The file is not text"),
    ("FILE_TOO_LARGE", None, "A file is too large"),
    ("FLOW_INVALID", None, "This browser waits for no such answer"),
    ("FOLDER_TOO_LARGE", None, "A folder would have too many entries"),
    ("FORK_TOO_DEEP", None, "The project has as many ancestors as it may have"),
    ("HEADER_TOO_LARGE", Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), "A header of the request is too long"),
    ("HOST_INVALID", None, "The request has no valid Host"),
    ("HOST_UNKNOWN", Some(StatusCode::MISDIRECTED_REQUEST), "The gateway does not serve this host"),
    ("IDENTITY_NOT_FOUND", None, "There is no such identity"),
    ("IDENTITY_TAKEN", None, "The identity belongs to another account"),
    ("IF_MATCH_REQUIRED", Some(StatusCode::PRECONDITION_REQUIRED), "The request needs If-Match"),
    ("IMPERSONATED", None, "An operator who acts for a person may not change the account"),
    ("INTERNAL", None, "Something went wrong on our side"),
    ("INVALID_FIELD", None, "A value of the request is not acceptable"),
    ("INVALID_JSON", None, "The request's body is not valid JSON"),
    ("INVALID_PATH", None, "A file cannot have this path"),
    ("INVITE_INVALID", None, "The invite is not valid"),
    ("INVITE_REQUIRED", None, "Sign-up needs an invite"),
    ("KEY_REUSED", Some(StatusCode::UNPROCESSABLE_ENTITY), "The key was used for another request"),
    ("KEY_REQUIRED", None, "The key has to be entered again"),
    ("LABEL_NOT_FOUND", None, "There is no such label"),
    ("LOCK_NOT_FOUND", None, "There is no such lock"),
    ("PATH_LOCKED", None, "The path is locked"),
    ("MERGE_TOO_COMPLEX", None, "The projects have merged each other in too many ways"),
    ("MESSAGE_NOT_FOUND", None, "There is no such message"),
    ("LENGTH_REQUIRED", Some(StatusCode::LENGTH_REQUIRED), "The request needs Content-Length"),
    ("LAST_SIGN_IN", None, "The account needs another way to sign in first"),
    ("LINK_INVALID", None, "The link is not valid"),
    ("LOAD_TOO_LARGE", None, "The project is too large for one answer"),
    ("MESSAGE_TOO_LARGE", Some(StatusCode::PAYLOAD_TOO_LARGE), "The request is too large for the service"),
    ("METHOD_NOT_ALLOWED", Some(StatusCode::METHOD_NOT_ALLOWED), "The path does not support this method"),
    ("MODEL_NOT_FOUND", None, "There is no such model"),
    ("MODULE_NOT_FOUND", None, "There is no such module"),
    ("NOTHING_TO_REDO", None, "There is nothing to redo"),
    ("NOTHING_TO_UNDO", None, "There is nothing to undo"),
    ("OVERLOADED", None, "The server is overloaded"),
    ("OWN_TEMPLATE", None, "You published this template"),
    ("PAGE_TOKEN_INVALID", None, "The page token is of another list, or too old"),
    ("PASSKEYS_NOT_OFFERED", None, "Passkeys cannot be used here"),
    ("PASSKEY_INVALID", None, "The answer of the passkey is not valid"),
    ("PASSKEY_NOT_FOUND", None, "There is no such passkey"),
    ("PROJECTS_RESTRICTED", None, "A key that is restricted to projects may not do this"),
    ("PREVIEW_NOT_FOUND", None, "There is no such preview"),
    ("PROJECT_NOT_FOUND", None, "There is no such project"),
    ("PROJECT_TOO_LARGE", None, "The project would be too large"),
    ("PROVIDER_DENIED", None, "The sign-in was cancelled at the provider"),
    ("PROVIDER_NOT_FOUND", None, "There is no such provider"),
    ("PROVIDER_REFUSED", None, "The answer of the provider is not valid"),
    ("PROVIDER_SIGN_IN_TOO_OLD", None, "The sign-in at the provider is too old"),
    ("PROVIDER_SIGN_IN_TOO_WEAK", None, "The sign-in at the provider is not strong enough"),
    ("PROVIDER_UNAVAILABLE", None, "The provider does not answer"),
    ("PROVIDER_KEYS_DISABLED", None, "This cluster stores no keys of providers"),
    ("PROVIDER_KEY_CHANGED", None, "The stored key was changed at the same time"),
    ("PROVIDER_KEY_EXISTS", None, "There is a stored key for the provider already"),
    ("PROVIDER_KEY_NOT_FOUND", None, "There is no such stored key"),
    ("PUBLISHER_REQUIRED", None, "Somebody else published the template"),
    ("RANGE_NOT_SATISFIABLE", Some(StatusCode::RANGE_NOT_SATISFIABLE), "The file has no such part"),
    ("RATE_LIMITED", None, "Too many requests"),
    ("RESUME_UNSUPPORTED", Some(StatusCode::UNPROCESSABLE_ENTITY), "There is nothing to resume"),
    ("REVIEW_NOT_FOUND", None, "There is no such review"),
    ("REVISION_NOT_FOUND", None, "There is no such revision"),
    ("ROLE_REQUIRED", None, "Your role in the project does not allow this"),
    ("ROUTE_NOT_FOUND", None, "There is nothing at this path"),
    ("SCOPE_REQUIRED", None, "The key may not do this"),
    ("SECOND_FACTOR_MISSING", None, "Add a second factor first"),
    ("SECOND_FACTOR_REQUIRED", None, "A second factor has to complete the sign-in"),
    ("SERVICE_ACCOUNT_NOT_FOUND", None, "There is no such service account"),
    ("SESSION_AMBIGUOUS", None, "The cookies belong to more than one session"),
    ("SESSION_ENDED", None, "The session has ended"),
    ("SESSION_NOT_FOUND", None, "There is no such session"),
    ("SESSION_REQUIRED", None, "A program may not do this; sign in"),
    ("SHARE_EXHAUSTED", None, "One client may not use more of this resource"),
    ("SIGNUP_CLOSED", None, "Sign-up is closed"),
    ("SIGN_IN_EXPIRED", None, "The sign-in has ended; sign in again"),
    ("SITE_NOT_FOUND", None, "There is no site"),
    ("SITES_DISABLED", Some(StatusCode::CONFLICT), "Sites are not served here"),
    ("SLUG_RESERVED", None, "The slug is reserved"),
    ("SLUG_TAKEN", None, "The slug is taken"),
    ("STALE_REVISION", None, "The project changed since that revision"),
    ("STEP_UP_REQUIRED", None, "Prove again who you are"),
    ("TEMPLATE_NOT_FOUND", None, "There is no such template"),
    ("TIMEOUT", None, "The request took too long"),
    ("TOKEN_INVALID", None, "The access token is not valid"),
    ("TOKEN_MISSING", None, "Sign in first"),
    ("TOKEN_REUSED", None, "The refresh token was used before"),
    ("TOOLS_UNSUPPORTED", Some(StatusCode::UNPROCESSABLE_ENTITY), "Tools of the client are not supported"),
    ("TOO_LARGE", Some(StatusCode::PAYLOAD_TOO_LARGE), "The request's body is too large"),
    ("TOO_LATE", None, "The turn can no longer be cancelled"),
    ("TOO_MANY_CHANGES", None, "A save has too many changes"),
    ("TOO_MANY_CREDENTIALS", Some(StatusCode::FORBIDDEN), "The account has as many of these credentials as it may have"),
    ("TOO_MANY_FILES", None, "The project would have too many files"),
    ("TOO_MANY_IDENTITIES", Some(StatusCode::FORBIDDEN), "The account has as many identities as it may have"),
    ("TOO_MANY_LABELS", Some(StatusCode::FORBIDDEN), "The project has as many labels as it may have"),
    ("TOO_MANY_LOCKS", Some(StatusCode::FORBIDDEN), "The project has as many locks as it may have"),
    ("TOO_MANY_PROJECTS", Some(StatusCode::FORBIDDEN), "The account has as many projects as it may have"),
    ("TOO_MANY_TEMPLATES", Some(StatusCode::FORBIDDEN), "The account has as many templates as it may have"),
    ("TOO_MANY_VERSIONS", Some(StatusCode::FORBIDDEN), "The template has as many versions as it may have"),
    ("TREE_TOO_LARGE", Some(StatusCode::PAYLOAD_TOO_LARGE), "The project is too large to be compiled"),
    ("TURN_ACTIVE", None, "Another turn of the project is running"),
    ("TURN_NOT_FOUND", None, "There is no such turn"),
    ("TURN_NOT_RUNNING", None, "The turn does not run"),
    ("TURN_OPEN", None, "A turn that may read the message is running"),
    ("TURN_REPLACED", None, "The turn to replace is no longer in the conversation"),
    ("UNAVAILABLE", None, "The service is not available"),
    ("UNSUPPORTED_MEDIA_TYPE", Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), "The type or the coding of the body is not accepted"),
    ("URI_TOO_LONG", Some(StatusCode::URI_TOO_LONG), "The path and query are too long"),
    ("USER_DISABLED", None, "The account is disabled"),
    ("WEAK_PASSWORD", None, "The password is too easy to guess"),
    ("WRITE_EXPIRED", None, "The files arrived too slowly"),
];

fn by_code(code: ErrorCode) -> (StatusCode, &'static str) {
    match code {
        ErrorCode::InvalidArgument => (StatusCode::BAD_REQUEST, "The request is not acceptable"),
        ErrorCode::Unauthenticated => (StatusCode::UNAUTHORIZED, "The request has no valid credentials"),
        ErrorCode::Forbidden => (StatusCode::FORBIDDEN, "This is not allowed"),
        ErrorCode::NotFound => (StatusCode::NOT_FOUND, "The resource does not exist"),
        ErrorCode::Conflict => (StatusCode::CONFLICT, "The current state does not allow it"),
        ErrorCode::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        ErrorCode::Timeout => (StatusCode::GATEWAY_TIMEOUT, "The request took too long"),
        ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "The service is not available"),
        ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side"),
        ErrorCode::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "This release does not support it"),
    }
}

/// The status and the title of a reason. A reason that is not in the table, such as one of a service of a later release, has those of its
/// code.
pub(crate) fn status_of(code: ErrorCode, reason: &str) -> (StatusCode, &'static str) {
    let (status, title) = by_code(code);
    match REASONS.iter().find(|(name, ..)| *name == reason) {
        Some((_, own, title)) => (own.unwrap_or(status), title),
        None => (status, title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_status() {
        let rows = [
            (ErrorCode::InvalidArgument, "INVALID_FIELD", 400),
            (ErrorCode::InvalidArgument, "FILE_TOO_LARGE", 400),
            (ErrorCode::InvalidArgument, "TOO_LARGE", 413),
            (ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", 415),
            (ErrorCode::Unauthenticated, "SESSION_ENDED", 401),
            (ErrorCode::Forbidden, "ROLE_REQUIRED", 403),
            (ErrorCode::NotFound, "PROJECT_NOT_FOUND", 404),
            (ErrorCode::InvalidArgument, "METHOD_NOT_ALLOWED", 405),
            (ErrorCode::Timeout, "BODY_TIMEOUT", 408),
            (ErrorCode::Conflict, "EMAIL_TAKEN", 409),
            (ErrorCode::Conflict, "ETAG_MISMATCH", 412),
            (ErrorCode::Conflict, "KEY_REUSED", 422),
            (ErrorCode::InvalidArgument, "RANGE_NOT_SATISFIABLE", 416),
            (ErrorCode::InvalidArgument, "CONTINUATION_UNSUPPORTED", 422),
            (ErrorCode::InvalidArgument, "IF_MATCH_REQUIRED", 428),
            (ErrorCode::NotFound, "CURSOR_EXPIRED", 410),
            (ErrorCode::RateLimited, "TOO_MANY_PROJECTS", 403),
            (ErrorCode::RateLimited, "TOO_MANY_LABELS", 403),
            (ErrorCode::RateLimited, "TOO_MANY_LOCKS", 403),
            (ErrorCode::RateLimited, "ACCOUNT_TOO_LARGE", 403),
            (ErrorCode::RateLimited, "TOO_MANY_TEMPLATES", 403),
            (ErrorCode::RateLimited, "RATE_LIMITED", 429),
            (ErrorCode::Internal, "INTERNAL", 500),
            (ErrorCode::Unavailable, "OVERLOADED", 503),
            (ErrorCode::Timeout, "TIMEOUT", 504),
        ];
        for (code, reason, status) in rows {
            assert_eq!(status_of(code, reason).0.as_u16(), status, "{reason}");
        }
    }

    #[test]
    fn every_reason_has_its_own_title() {
        let reasons = crate::web::openapi::reasons().chain(["CALLER_DENIED", "RANGE_NOT_SATISFIABLE", "IF_MATCH_REQUIRED"]);
        let mut titles = std::collections::BTreeMap::new();
        for reason in reasons.collect::<std::collections::BTreeSet<_>>() {
            let own: Vec<_> = REASONS.iter().filter(|(name, ..)| *name == reason).map(|(.., title)| *title).collect();
            assert_eq!(own.len(), 1, "{reason} has the titles {own:?}");
            if let Some(other) = titles.insert(own[0], reason) {
                panic!("{reason} and {other} have the same title");
            }
        }
        for (reason, title) in [("BAD_CREDENTIALS", "The credentials are wrong"), ("TOKEN_MISSING", "Sign in first")] {
            assert_eq!(status_of(ErrorCode::Unauthenticated, reason), (StatusCode::UNAUTHORIZED, title));
        }
    }
}
