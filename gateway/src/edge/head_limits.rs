//! How long the parts of a request's head may be. A part that is too long would be passed on to the services, in messages, metadata and
//! error texts, over connections that all clients share.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use proto::error::{ErrorCode, FieldViolation};

use crate::error::{Failure, fault};

/// Limits in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    /// Path and query together, as sent.
    pub(crate) target: usize,
    /// One value of a header.
    pub(crate) header: usize,
}

impl HeadLimits {
    fn check(self, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
        let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
        if target > self.target {
            let field = if uri.path().len() > self.target { "path" } else { "query" };
            return Err(too_long("URI_TOO_LONG", field, self.target));
        }
        match headers.iter().find(|(_, value)| value.len() > self.header) {
            Some((name, _)) => Err(too_long("HEADER_TOO_LARGE", name.as_str(), self.header)),
            None => Ok(()),
        }
    }
}

fn too_long(reason: &str, field: &str, limit: usize) -> Failure {
    let description = match reason {
        "URI_TOO_LONG" => format!("path and query together must be at most {limit} bytes"),
        _ => format!("must be at most {limit} bytes"),
    };
    let mut fault = fault(ErrorCode::InvalidArgument, reason, format!("`{field}`: {description}")).with("limit", limit.to_string());
    fault.violations = vec![FieldViolation { field: field.to_owned(), description }];
    fault.into()
}

/// The middleware that refuses a head with a part that is too long.
pub(crate) async fn check(State(limits): State<HeadLimits>, request: Request, next: Next) -> Response {
    match limits.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_limit() {
        let limits = HeadLimits { target: 20, header: 10 };
        let check = |target: &str, header: (&str, usize)| {
            let request = Request::get(target).header(header.0, "v".repeat(header.1)).body(()).unwrap();
            limits.check(request.uri(), request.headers()).map_err(|f| (f.0.reason.clone(), f.0.violations[0].field.clone()))
        };
        let refused = |reason: &str, field: &str| Err((reason.to_owned(), field.to_owned()));
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        for (target, header, outcome) in [
            (path(20), ("cookie", 10), Ok(())),
            (path(21), ("cookie", 1), refused("URI_TOO_LONG", "path")),
            (format!("/?{}", "q".repeat(18)), ("cookie", 1), Ok(())),
            (format!("/?{}", "q".repeat(19)), ("cookie", 1), refused("URI_TOO_LONG", "query")),
            (format!("http://apps.example{}", path(20)), ("cookie", 1), Ok(())),
            (path(1), ("cookie", 11), refused("HEADER_TOO_LARGE", "cookie")),
            (path(1), ("authorization", 11), refused("HEADER_TOO_LARGE", "authorization")),
            (path(1), ("tracestate", 11), refused("HEADER_TOO_LARGE", "tracestate")),
        ] {
            assert_eq!(check(&target, header), outcome, "{target} {header:?}");
        }
    }
}
