//! The page that people see if a preview or its file does not exist. Programs get the problem document.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::{error::Failure, http::media::preference};

/// Whether the client names HTML, and does not just accept anything.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    preference(headers, "text/html").is_named()
}

/// A page in place of the problem document, for clients that prefer HTML or like both equally.
pub(super) fn respond(failure: Failure, headers: &HeaderMap) -> Response {
    let html = preference(headers, "text/html");
    let words = match failure.0.reason.as_str() {
        "PREVIEW_NOT_FOUND" => {
            ("This preview has ended", "There is no such preview, or it was not used for an hour. Open it again from the app builder.")
        }
        "FILE_NOT_FOUND" => ("There is no page here", "The project has no file at this address. It may not have been written yet."),
        _ => return failure.into_response(),
    };
    if !html.is_named() || html.weight < preference(headers, "application/problem+json").weight {
        return failure.into_response();
    }
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, kind)], page(words)).into_response()
}

/// The page contains nothing of the request, so nothing has to be escaped.
fn page((title, text): (&str, &str)) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem; \
         color-scheme: light dark }}</style>\n<h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
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
}
