//! The page that people see if a preview, a site or its file does not exist, or if it cannot be shown now. Programs get the problem document.
//! A preview has words for members of its project, a site those of [`crate::web::site`] for everybody.

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};

use crate::{
    error::{Failure, status::status_of},
    http::media::preference,
};

/// Whether the client names HTML, and does not just accept anything.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    preference(headers, "text/html").is_named()
}

/// The title and the text of a page.
pub(crate) type Words = (&'static str, &'static str);

/// The page of a preview in place of the problem document, for clients that prefer HTML or like both equally.
pub(crate) fn respond(failure: Failure, headers: &HeaderMap) -> Response {
    let words = match failure.0.reason.as_str() {
        "PREVIEW_NOT_FOUND" => {
            ("This preview has ended", "There is no such preview, or it was not used for an hour. Open it again from the app builder.")
        }
        "TURN_NOT_RUNNING" | "TURN_NOT_FOUND" => (
            "This turn does not run",
            "The files of a turn can be seen here while it runs. If it has committed them, the preview of the project shows them.",
        ),
        "FILE_NOT_FOUND" => ("There is no page here", "The project has no file at this address. It may not have been written yet."),
        "COMPILER_MISSING" => (
            "This page cannot be shown",
            "It has to be compiled, and this installation has no compiler of this release. Its operator can install `backlot-compiler` beside `backlot`.",
        ),
        "COMPILER_FAILED" | "COMPILER_TIMEOUT" => (
            "This page cannot be compiled",
            "The compiler ended without an answer. Undo the last change, or make the file that you changed simpler.",
        ),
        "TREE_TOO_LARGE" => ("This project is too large", "It has more files, or more bytes of source code, than a preview may have."),
        "UNAVAILABLE" | "OVERLOADED" | "SHARE_EXHAUSTED" | "TIMEOUT" => {
            ("This page cannot be shown now", "A part of the app builder is not available, or has too much work. Try again in a moment.")
        }
        _ => return failure.into_response(),
    };
    respond_with(words, failure, headers)
}

/// A page in place of the problem document, for clients that prefer HTML or like both equally.
pub(crate) fn respond_with(words: Words, failure: Failure, headers: &HeaderMap) -> Response {
    let html = preference(headers, "text/html");
    if !html.is_named() || html.weight < preference(headers, "application/problem+json").weight {
        return failure.into_response();
    }
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let (status, _) = status_of(failure.0.code, &failure.0.reason);
    (status, [(header::CONTENT_TYPE, kind)], page(words)).into_response()
}

/// The page contains nothing of the request, so nothing has to be escaped.
fn page((title, text): Words) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem; \
         color-scheme: light dark }}</style>\n<h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use proto::error::ErrorCode;

    use super::*;
    use crate::error::fault;

    #[test]
    fn people_get_a_page_and_programs_a_problem() {
        let is_page = |reason: &str, accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            let response = respond(fault(ErrorCode::NotFound, reason, "x").into(), &headers);
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            response.extensions().get::<Failure>().is_none()
        };
        assert!(is_page("FILE_NOT_FOUND", "text/html,*/*;q=0.8") && is_page("PREVIEW_NOT_FOUND", "text/html"));
        for accept in ["*/*", "application/json", "text/html;q=0", "application/problem+json, text/html;q=0.5"] {
            assert!(!is_page("FILE_NOT_FOUND", accept), "{accept}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_compiled_says_why() {
        for (code, reason, status) in [
            (ErrorCode::Unavailable, "UNAVAILABLE", 503),
            (ErrorCode::Unavailable, "COMPILER_MISSING", 503),
            (ErrorCode::Conflict, "COMPILER_FAILED", 422),
            (ErrorCode::Timeout, "COMPILER_TIMEOUT", 422),
            (ErrorCode::RateLimited, "TREE_TOO_LARGE", 413),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/html"))]);
            let response = respond(fault(code, reason, "x").into(), &headers);
            assert_eq!(response.status().as_u16(), status, "{reason}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{reason}");
        }
    }
}
