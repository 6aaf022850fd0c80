//! The route of a publication. The gateway builds the files and streams them, so it is no binding of the contract.

use serde_json::{Value, json};

use super::{
    reasons::Shape,
    responses::{refusals, with_headers},
    schemas::Schemas,
    summary,
};
use crate::contract::{comment, pool};

const PATH: &str = "/api/projects/{project_id}/publish";
const SETTINGS: &str = "backlot.project_storage.v1.SiteSettings";
const RESPONSE: &str = "backlot.project_storage.v1.PublishSiteResponse";

/// Path, method and operation.
pub(super) fn operation(schemas: &mut Schemas) -> (&'static str, &'static str, Value) {
    let text = "Builds the site of a revision and serves it at the address of its slug, at once and whole, in place of the deployment before. A \
        project in Vite's layout is built for production; the files of any other project are its site. Files whose names begin with a dot are \
        never published. BUILD_FAILED names the errors of the files. Needs the role of an admin; counted by policy `save`.";
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut answers = refusals(Shape { id: "PublishSite", changes: true, has_body: true, has_variable: true, needs_person: true });
    let mut of_message = |name: &str| pool().get_message_by_name(name).map(|message| schemas.of_message(&message));
    let (settings, response) = (of_message(SETTINGS), of_message(RESPONSE));
    let done = json!({
        "description": "Done.", "headers": with_headers(&["Location", "Idempotency-Replayed"]),
        "content": {"application/json": {"schema": response}},
    });
    answers.insert("201".to_owned(), done);
    let project = pool().get_message_by_name(SETTINGS).and_then(|message| message.get_field_by_name("project_id"));
    let about = project.map(|field| comment(&field.parent_message().parent_file(), field.path())).unwrap_or_default();
    let operation = json!({
        "operationId": "PublishSite", "tags": ["ProjectStorage"], "summary": summary(&text), "description": text,
        "parameters": [
            {"name": "project_id", "in": "path", "required": true, "description": about, "schema": {"type": "string", "format": "uuid"}},
            {"name": "Idempotency-Key", "in": "header", "required": false,
             "description": "The same as the field of the body, with or without quotes.",
             "schema": {"type": "string", "minLength": 1, "maxLength": 255}},
        ],
        "responses": answers, "security": [{"session": []}, {"bearer": []}],
        "requestBody": {"required": true, "content": {"application/json": {"schema": settings}}},
    });
    (PATH, "post", operation)
}
