//! The routes of imports. Their body is an archive and not a message, so they are no bindings of the contract.

use serde_json::{Value, json};

use super::{
    bytes,
    reasons::Shape,
    responses::{refusals, with_headers},
    schemas::{Schemas, frame, json_text},
    summary,
};
use crate::contract::{comment, pool};

/// The paths.
pub(super) const PATHS: [&str; 2] = ["/api/projects/import", "/api/projects/{project_id}/import"];
const SETTINGS: &str = "backlot.project_storage.v1.ImportSettings";
/// The fields of the settings that are headers over HTTP.
const IN_HEADERS: [&str; 3] = ["request_id", "if_match", "size_bytes"];

/// Path, method and operation of each route.
pub(super) fn operations(schemas: &mut Schemas) -> Vec<(&'static str, &'static str, Value)> {
    let into = "Imports an archive into a project as one revision, or not at all. The limits, the answer and the report are those of \
        `POST /api/projects/import`. Needs the role of an editor; counted by policy `save`.";
    let new = "Imports a zip, tar or tar.gz file as a new project, or not at all. With `draftId` it is the project of that draft. The \
        format is known by the content. With `Accept: text/event-stream` the answer is the progress, then an event `done` with the result, or an event `error` with a \
        problem document. A repeat with the same key and archive has the same result. Counted by policy `save`.";
    vec![
        (PATHS[0], "post", operation(("ImportProject", new, false), schemas)),
        (PATHS[1], "post", operation(("ImportIntoProject", into, true), schemas)),
    ]
}

fn operation((id, text, is_existing): (&str, &str, bool), schemas: &mut Schemas) -> Value {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut answers = refusals(Shape { id, changes: true, has_body: true, has_variable: is_existing, needs_person: true });
    let (status, headers): (_, &[&str]) =
        if is_existing { ("200", &["ETag", "Idempotency-Replayed"]) } else { ("201", &["Location", "ETag", "Idempotency-Replayed"]) };
    answers.insert(status.to_owned(), result(headers, schemas));
    if status != "200" {
        answers.insert("200".to_owned(), events());
    }
    json!({
        "operationId": id, "tags": ["ProjectStorage"], "summary": summary(&text), "description": text,
        "parameters": parameters(is_existing, schemas), "responses": answers, "security": [{"session": []}, {"bearer": []}],
        "requestBody": {"required": true, "content": {
            "application/zip": bytes(), "application/gzip": bytes(), "application/x-tar": bytes(), "application/octet-stream": bytes()}},
    })
}

fn result(headers: &[&str], schemas: &mut Schemas) -> Value {
    let schema = pool().get_message_by_name("backlot.project_storage.v1.ImportResult").map(|message| schemas.of_message(&message));
    let mut content = json!({"application/json": {"schema": schema}});
    content["text/event-stream"] = json!({"schema": event_frame()});
    json!({"description": "Done.", "headers": with_headers(headers), "content": content})
}

fn events() -> Value {
    let content = json!({"text/event-stream": {"schema": event_frame()}});
    json!({"description": "The progress and the result as events.", "headers": with_headers(&[]), "content": content})
}

fn event_frame() -> Value {
    let data = json!({"type": "object", "description": "The progress, the result, or a problem document."});
    frame("One event: `progress`, `done` or `error`.", &json_text(&data))
}

fn parameters(is_existing: bool, schemas: &mut Schemas) -> Vec<Value> {
    let header = |name: &str, text: &str, schema: Value| json!({"name": name, "in": "header", "required": false, "description": text, "schema": schema});
    let mut parameters = vec![
        header(
            "Idempotency-Key",
            "The id of the request, with or without quotes.",
            json!({"type": "string", "minLength": 1, "maxLength": 255}),
        ),
        header("If-Match", "ETags of which the current one must be one, else 412, ETAG_MISMATCH.", json!({"type": "string"})),
    ];
    let Some(settings) = pool().get_message_by_name(SETTINGS) else { return parameters };
    for field in settings.fields().filter(|field| !IN_HEADERS.contains(&field.name())) {
        let in_path = is_existing && field.name() == "project_id";
        let is_of_new = ["draft_id", "display_name"].contains(&field.name());
        if (is_existing && is_of_new) || (!is_existing && field.name() == "project_id") {
            continue;
        }
        let (place, name) = if in_path { ("path", field.name()) } else { ("query", field.json_name()) };
        parameters.push(json!({
            "name": name, "in": place, "required": in_path, "description": comment(&settings.parent_file(), field.path()),
            "schema": schemas.of_field(&field),
        }));
    }
    parameters
}
