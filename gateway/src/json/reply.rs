//! Messages as responses.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use proto::error::ErrorCode;
use serde::Serialize;

use crate::error::{Failure, fault};

/// What a handler returns.
pub(crate) type Reply = Result<Response, Failure>;

/// A message as the response.
pub(crate) fn reply(message: &impl Serialize) -> Reply {
    respond(StatusCode::OK, message)
}

/// A message as the response to a creation, with the path of what was created.
pub(crate) fn created(message: &impl Serialize, location: &str) -> Reply {
    let mut response = respond(StatusCode::CREATED, message)?;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A message as the response to a request whose work is done later.
pub(crate) fn accepted(message: &impl Serialize) -> Reply {
    respond(StatusCode::ACCEPTED, message)
}

fn respond(status: StatusCode, message: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(message).map_err(|e| fault(ErrorCode::Internal, "INTERNAL", e.to_string()))?;
    Ok((status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

#[cfg(test)]
mod tests {
    use proto::project_storage::{ListMessagesResponse, LoadProjectResponse, Revision};

    #[test]
    fn required_fields_are_written_without_a_value() {
        let written = |message: &dyn Fn() -> serde_json::Result<serde_json::Value>| message().unwrap();
        let page = written(&|| serde_json::to_value(ListMessagesResponse::default()));
        assert_eq!(page, serde_json::json!({ "messages": [] }));
        let load = written(&|| serde_json::to_value(LoadProjectResponse { revision: Some(Revision::default()), ..Default::default() }));
        let revision = serde_json::json!({ "id": "", "number": 0, "parentIds": [], "actor": "ACTOR_UNSPECIFIED", "labels": [] });
        assert_eq!(load, serde_json::json!({ "revision": revision, "files": [] }));
    }
}
