//! The OpenAPI 3.1 document, generated from the contract: paths from `google.api.http`, schemas from the messages as ProtoJSON,
//! descriptions from the comments. [`protocols`] describes the routes of other protocols, and [`reasons`] the refusals of each operation.

mod device;
mod imports;
mod operations;
mod protocols;
mod reasons;
mod responses;
mod schemas;
mod sites;

use std::{collections::BTreeMap, sync::OnceLock};

use serde_json::{Map, Value, json};
use url::Url;

use self::{
    operations::{ACCEPTED, ANSWERS_ETAG, COOKIES, CREATES, DOWNLOAD, EXPORTS, KEYED, OPEN, OWN_DATA, READ, SECOND, UPLOAD, USAGE, WATCH},
    reasons::Shape,
    responses::{not_modified, refusals, with_headers, zip},
    schemas::{Schemas, lines},
};
use crate::{
    contract::{Binding, bindings, comment, pool},
    http::etag::VERSIONED,
};

fn is_versioned(binding: &Binding) -> bool {
    VERSIONED.contains(&(binding.method, &binding.template))
}

/// The id and the description of an operation.
fn named(binding: &Binding) -> (String, String) {
    let rpc = &binding.rpc;
    match SECOND.iter().find(|(template, ..)| *template == binding.template) {
        Some((_, suffix, text)) => (format!("{}{suffix}", rpc.name()), (*text).to_owned()),
        None => (rpc.name().to_owned(), comment(&rpc.parent_file(), rpc.path())),
    }
}

/// Every reason that an operation may answer with.
#[cfg(test)]
pub(crate) fn reasons() -> impl Iterator<Item = &'static str> {
    reasons::all()
}

/// The reasons of an operation that not every operation has.
#[cfg(test)]
pub(crate) fn own_reasons(id: &str) -> impl Iterator<Item = &'static str> {
    reasons::own(id)
}

/// The document; `server` is the public URL.
pub(crate) fn document(server: &Url) -> Value {
    static FIXED: OnceLock<Value> = OnceLock::new();
    let mut document = FIXED.get_or_init(build).clone();
    document["servers"] = json!([{"url": server.as_str().trim_end_matches('/'), "description": "This cluster."}]);
    document
}

fn build() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for binding in bindings() {
        let path = binding.template.replace("=**", "");
        paths.entry(path).or_default().insert(binding.method.to_ascii_lowercase(), operation(&binding, &mut schemas));
    }
    for (path, method, operation) in own_operations(&mut schemas) {
        paths.entry(path.to_owned()).or_default().insert(method.to_owned(), operation);
    }
    schemas.finish();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Backlot",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The backend of AI app builders. Errors are RFC 9457 problem documents with a stable `reason`. Only a request that is not valid HTTP, such as one with a control byte in a header, gets a 400 or 431 without a body.",
            "contact": {"name": "The operator of this cluster"},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas.done,
            "responses": responses::all(),
            "headers": responses::headers(),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-backlot_session", "description": "Set by sign-up and sign-in; over plain HTTP its name is `backlot_session_` and eight digits of the cluster."},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An API key, or an access token from `POST /api/auth/token`, which is valid for five minutes. A page of another site signs in with `tokenInAnswer` and gets the token for the `sessionToken` of the answer."},
            },
        },
    })
}

/// Path, method and operation of each route that is no binding of the contract.
fn own_operations(schemas: &mut Schemas) -> Vec<(&'static str, &'static str, Value)> {
    let mut all = protocols::operations();
    all.extend(device::operations());
    all.extend(imports::operations(schemas));
    all.push(sites::operation(schemas));
    all
}

/// A tag for each service with routes, and those of other protocols.
fn tags() -> Vec<Value> {
    let mut tags: BTreeMap<String, String> = protocols::TAGS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    for binding in bindings() {
        let service = binding.rpc.parent_service();
        let text = comment(&binding.rpc.parent_file(), service.path());
        tags.insert(tag(&binding), text);
    }
    tags.into_iter().map(|(name, text)| json!({"name": name, "description": text})).collect()
}

fn tag(binding: &Binding) -> String {
    binding.rpc.parent_service().name().trim_end_matches("Service").to_owned()
}

fn operation(binding: &Binding, schemas: &mut Schemas) -> Value {
    let rpc = &binding.rpc;
    let (id, text) = named(binding);
    let needs_person = !OPEN.contains(&rpc.name());
    let mut operation = json!({
        "operationId": id,
        "tags": [tag(binding)],
        "summary": summary(&text),
        "description": text,
        "parameters": parameters(binding, schemas),
        "security": match rpc.name() {
            _ if !needs_person => json!([]),
            // Without credentials the secret of the session, a refresh token or an API key is in the body.
            "CreateAccessToken" => json!([{"session": []}, {"bearer": []}, {}]),
            _ => json!([{"session": []}, {"bearer": []}]),
        },
    });
    if binding.body == "*" {
        let (schema, required) = schemas.of_body(binding, &id);
        operation["requestBody"] = json!({"required": required, "content": {"application/json": {"schema": schema}}});
    }
    if binding.rpc.name() == UPLOAD {
        operation["requestBody"] =
            json!({"required": true, "description": "The content.", "content": {"application/octet-stream": bytes()}});
    }
    let shape = Shape {
        id: &id,
        changes: binding.method != "GET",
        has_body: binding.body == "*",
        has_variable: binding.template.contains('{'),
        needs_person,
    };
    let mut responses = refusals(shape);
    responses.extend(successes(binding, &id, schemas));
    operation["responses"] = responses.into();
    operation
}

/// The first sentence of a text.
fn summary(text: &str) -> &str {
    text.split_inclusive(". ").next().unwrap_or_default().trim()
}

/// The responses of success.
fn successes(binding: &Binding, id: &str, schemas: &mut Schemas) -> Vec<(String, Value)> {
    let is_get = binding.method == "GET";
    let follows = id == "StartTurnAndFollow";
    match binding.rpc.name() {
        name if EXPORTS.contains(&name) => return vec![("200".to_owned(), archive()), ("304".to_owned(), not_modified())],
        OWN_DATA => return vec![("200".to_owned(), zip())],
        DOWNLOAD => return download(),
        _ => {}
    }
    if binding.rpc.name() == READ {
        let content = json!({"application/x-ndjson": {"schema": lines(&schemas.of_message(&binding.rpc.output()))}});
        let text = "The files. A body that does not end as HTTP requires is not complete.";
        return vec![("200".to_owned(), json!({"description": text, "headers": with_headers(&[]), "content": content}))];
    }
    if follows || binding.rpc.is_server_streaming() {
        let mut headers = Vec::new();
        if follows {
            headers.extend(["Location", "X-Backlot-Turn-Id", "Idempotency-Replayed"]);
        }
        if binding.rpc.name() == WATCH {
            return vec![("200".to_owned(), events("The project's events", "Project", &headers))];
        }
        let mut responses = vec![("200".to_owned(), events("The turn's events", "Turn", &headers))];
        if is_get {
            let text = "The turn has ended, and the cursor is at its last event.";
            responses.push(("204".to_owned(), json!({"description": text, "headers": with_headers(&[])})));
        }
        return responses;
    }
    let output = binding.rpc.output();
    let schema = match output.get_field_by_name(&binding.response_body) {
        Some(field) => schemas.of_field(&field),
        None => schemas.of_message(&output),
    };
    let schema = if binding.rpc.name() == USAGE { with_tokens(&schema, schemas) } else { schema };
    let creates = !is_get && CREATES.contains(&binding.template.as_str());
    let reads_version = is_get && is_versioned(binding);
    let parts: [(bool, &str); 4] = [
        (creates, "Location"),
        (KEYED.contains(&binding.rpc.name()), "Idempotency-Replayed"),
        (reads_version || ANSWERS_ETAG.contains(&id), "ETag"),
        (COOKIES.contains(&id), "Set-Cookie"),
    ];
    let headers: Vec<&str> = parts.into_iter().filter_map(|(holds, name)| holds.then_some(name)).collect();
    let answer = json!({"description": "Done.", "headers": with_headers(&headers), "content": {"application/json": {"schema": schema}}});
    let status = match id {
        _ if creates => "201",
        _ if ACCEPTED.contains(&id) => "202",
        _ => "200",
    };
    let mut responses = vec![(status.to_owned(), answer)];
    if id == "SignUp" {
        let content = json!({"application/json": {"schema": schemas.of_message(&output)}});
        let text = "The address has to be verified with the link of a mail. No session was started.";
        responses.push(("202".to_owned(), json!({"description": text, "headers": with_headers(&[]), "content": content})));
    }
    if reads_version {
        responses.push(("304".to_owned(), not_modified()));
    }
    responses
}

/// The answer of GetUsage with the tokens of the account's turns.
fn with_tokens(usage: &Value, schemas: &mut Schemas) -> Value {
    let tokens = pool().get_message_by_name("backlot.agent_streaming.v1.GetTokenUsageResponse").map(|message| schemas.of_message(&message));
    json!({"allOf": [usage, {"type": "object", "required": ["tokens"], "properties": {"tokens": tokens}}]})
}

/// A body that is not JSON.
fn bytes() -> Value {
    json!({"schema": {"type": "string", "format": "binary"}})
}

/// The response of an export.
fn archive() -> Value {
    let content = json!({"application/zip": bytes(), "application/gzip": bytes()});
    let text = "The archive. A body that does not end as HTTP requires is not complete.";
    json!({"description": text, "headers": with_headers(&["ETag", "Content-Disposition"]), "content": content})
}

/// The responses of a download.
fn download() -> Vec<(String, Value)> {
    let answer = |text: &str, headers: &[&str]| json!({"description": text, "headers": with_headers(headers), "content": {"*/*": bytes()}});
    let part = answer("A part of the file.", &["ETag", "Content-Range"]);
    vec![("200".to_owned(), answer("The file.", &["ETag"])), ("206".to_owned(), part), ("304".to_owned(), not_modified())]
}

/// The response of an event stream of turns or of projects.
fn events(what: &str, of: &str, headers: &[&str]) -> Value {
    let schema = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let (frame, event) = (format!("{of}EventFrame"), schemas::streamed(of));
    let content = json!({
        "text/event-stream": {"schema": schema(&frame)},
        "application/x-ndjson": {"schema": lines(&schema(&event))},
    });
    let text = format!(
        "{what}. As server-sent events each one is a {frame}, whose `data` is a {event} and whose `id` is the cursor to resume with. With \
         `Accept: application/x-ndjson` each line is a {event}."
    );
    json!({"description": text, "headers": with_headers(headers), "content": content})
}

/// Path parameters, query parameters (all other fields of requests without a body) and headers.
fn parameters(binding: &Binding, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    for field in binding.rpc.input().fields() {
        let in_path = binding.has_variable(field.name());
        // The size of an upload is its Content-Length.
        let in_upload = binding.rpc.name() == UPLOAD && ["data", "size_bytes"].contains(&field.name());
        if !in_path && (binding.body == "*" || in_upload) {
            continue;
        }
        let (place, name) = if in_path { ("path", field.name()) } else { ("query", field.json_name()) };
        let mut parameter = json!({
            "name": name, "in": place, "required": in_path, "description": comment(&field.parent_message().parent_file(), field.path()),
            "schema": schemas.of_field(&field),
        });
        if field.is_map() {
            // `name[key]=value`
            parameter["style"] = "deepObject".into();
        }
        parameters.push(parameter);
    }
    let header = |name: &str, text: &str, schema: Value| json!({"name": name, "in": "header", "required": false, "description": text, "schema": schema});
    if KEYED.contains(&binding.rpc.name()) {
        let text = "The same as the field of the body or of the query, with or without quotes.";
        parameters.push(header("Idempotency-Key", text, json!({"type": "string", "minLength": 1, "maxLength": 255})));
    }
    if binding.rpc.name() == DOWNLOAD {
        parameters.push(header("Range", "One range of bytes; several are answered with the whole file.", json!({"type": "string"})));
    } else if binding.rpc.is_server_streaming() && ![EXPORTS[0], EXPORTS[1], OWN_DATA, READ].contains(&binding.rpc.name()) {
        let number = json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
        parameters.push(header("Last-Event-ID", "Has precedence over `after`.", number));
    }
    let is_get = binding.method == "GET";
    if is_versioned(binding) && is_get {
        parameters.push(header(
            "If-None-Match",
            "ETags that the client has. The answer is 304 if the current one is among them.",
            json!({"type": "string"}),
        ));
    }
    if is_versioned(binding) || ["UpdateProject", "DeleteProject", "ResolveConflict"].contains(&binding.rpc.name()) {
        parameters.push(header(
            "If-Match",
            "ETags of which the current one must be one, else 412, ETAG_MISMATCH.",
            json!({"type": "string"}),
        ));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        reasons::{BETWEEN_ROLES, has_code, knows},
        schemas::{is_hidden, short},
        *,
    };

    fn document() -> Value {
        super::document(&Url::parse("https://apps.example").unwrap())
    }

    #[test]
    fn every_binding_has_a_description() {
        let document = document();
        for binding in bindings() {
            let path = binding.template.replace("=**", "");
            let operation = &document["paths"][&path][binding.method.to_ascii_lowercase()];
            assert!(operation["description"].as_str().is_some_and(|text| text.ends_with('.')), "{path}: {operation}");
        }
        assert_eq!(document["servers"][0]["url"], "https://apps.example");
        assert_eq!(document["paths"]["/api/projects/{project_id}/files/{path}"]["get"]["parameters"][0]["in"], "path");
    }

    #[test]
    fn every_reference_can_be_resolved() {
        fn walk(value: &Value, seen: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    seen.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|v| walk(v, seen));
                }
                Value::Array(list) => list.iter().for_each(|v| walk(v, seen)),
                _ => {}
            }
        }
        let (document, mut references) = (document(), Vec::new());
        walk(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn routes_of_other_protocols_are_described() {
        let document = document();
        let own = crate::router::own_routes();
        let is_api = |template: &str| template.starts_with("/api/") || template.starts_with("/.well-known/");
        let api: Vec<_> = own.iter().filter(|route| is_api(route.template)).collect();
        assert_eq!(api.len(), protocols::operations().len() + device::operations().len() + imports::PATHS.len() + 1);
        for route in api {
            let operation = &document["paths"][route.template][route.method.to_ascii_lowercase()];
            assert!(operation["description"].as_str().is_some_and(|text| text.ends_with('.')), "{route:?}");
        }
    }

    #[test]
    fn schemas_are_proto_json() {
        let schemas = &document()["components"]["schemas"];
        assert_eq!(schemas["Project"]["properties"]["createTime"]["format"], "date-time");
        assert_eq!(schemas["IfActive"]["enum"][1], "IF_ACTIVE_QUEUE");
        assert_eq!(schemas["FileContent"]["properties"]["binary"]["contentEncoding"], "base64");
        assert!(schemas["CreatePreviewResponse"]["properties"].get("capability").is_none());
    }

    #[test]
    fn short_names_are_unique() {
        let mut seen = BTreeMap::new();
        let messages = pool().all_messages().filter(|message| !message.is_map_entry());
        let names = messages.map(|m| m.full_name().to_owned()).chain(pool().all_enums().map(|e| e.full_name().to_owned()));
        for name in names.filter(|name| name.starts_with("backlot.")) {
            if let Some(other) = seen.insert(short(&name).to_owned(), name.clone()) {
                panic!("{name} and {other}");
            }
        }
    }

    #[test]
    fn hidden_fields_exist() {
        let hidden = pool().all_messages().flat_map(|message| message.fields().collect::<Vec<_>>()).filter(is_hidden);
        let mut names: Vec<_> = hidden.map(|field| field.name().to_owned()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names, ["capability", "replayed"]);
    }

    fn operations(document: &Value) -> Vec<(String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let of_path = |(path, methods): (&String, &Value)| {
            let named = |(method, operation): (&String, &Value)| (format!("{method} {path}"), operation.clone());
            methods.as_object().unwrap().iter().map(named).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of_path).collect()
    }

    /// Every object of the document, with its path.
    fn objects(value: &Value, place: &str, seen: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(map) => {
                seen.push((place.to_owned(), value.clone()));
                map.iter().for_each(|(name, inner)| objects(inner, &format!("{place}/{name}"), seen));
            }
            Value::Array(list) => list.iter().enumerate().for_each(|(at, inner)| objects(inner, &format!("{place}/{at}"), seen)),
            _ => {}
        }
    }

    #[test]
    fn the_document_has_no_keyword_of_another_version() {
        let (document, mut seen) = (document(), Vec::new());
        objects(&document, "", &mut seen);
        for (place, object) in seen {
            for word in ["itemSchema", "itemEncoding", "prefixEncoding", "nullable", "additionalOperations"] {
                assert!(object.get(word).is_none(), "{place}: {word} is not in OpenAPI 3.1");
            }
            assert!(object.get("type") != Some(&json!("array")) || object.get("items").is_some(), "{place}: the array has no items");
        }
    }

    #[test]
    fn every_operation_has_its_own_description_and_id() {
        let (document, mut seen) = (document(), BTreeSet::new());
        for (name, operation) in operations(&document) {
            for member in ["operationId", "summary", "description"] {
                let text = operation[member].as_str().unwrap_or_default();
                assert!(!text.is_empty() && seen.insert((member, text.to_owned())), "{name}: {member} `{text}`");
            }
            assert!(knows(operation["operationId"].as_str().unwrap()), "{name}: openapi/reasons.rs has no entry");
        }
    }

    #[test]
    fn every_answer_has_its_headers_and_reasons() {
        let document = document();
        for (name, operation) in operations(&document) {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let place = answer["$ref"].as_str().map(|place| place.trim_start_matches('#').to_owned());
                let answer = place.map_or_else(|| answer.clone(), |place| document.pointer(&place).unwrap().clone());
                assert!(answer["headers"]["X-Request-Id"].is_object(), "{name} {status}");
                let is_refusal = status.parse::<u16>().unwrap() >= 400;
                assert_eq!(answer["x-reasons"].is_array(), is_refusal, "{name} {status}");
                let is_oauth = answer["content"]["application/json"]["schema"]["$ref"] == responses::OAUTH_ERROR;
                assert_eq!(answer["content"]["application/problem+json"].is_object(), is_refusal && !is_oauth, "{name} {status}");
            }
            for status in ["400", "412", "414", "421", "429", "431", "500", "503", "504"] {
                assert!(operation["responses"].get(status).is_some(), "{name}: no {status}");
            }
            let reads_version = operation["responses"].get("304").is_some();
            let has_condition = operation["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "If-None-Match");
            assert_eq!(reads_version, has_condition, "{name}");
        }
    }

    #[test]
    fn every_reason_of_the_contract_belongs_to_an_operation() {
        let mut documented = BTreeSet::new();
        for (_, operation) in operations(&document()) {
            for answer in operation["responses"].as_object().unwrap().values() {
                let answer = answer["$ref"]
                    .as_str()
                    .map_or_else(|| answer.clone(), |place| document().pointer(place.trim_start_matches('#')).unwrap().clone());
                documented.extend(answer["x-reasons"].as_array().into_iter().flatten().map(|reason| reason.as_str().unwrap().to_owned()));
            }
        }
        assert!(documented.iter().all(|reason| has_code(reason)), "{documented:?}");
        let mut contract = BTreeSet::new();
        for binding in bindings() {
            let text = comment(&binding.rpc.parent_file(), binding.rpc.parent_service().path());
            let list = text.split("never renamed:").nth(1).unwrap().split(['.', ';']).next().unwrap().to_owned();
            contract.extend(list.split(',').map(|reason| reason.trim().to_owned()));
        }
        assert!(contract.len() > 40, "{contract:?}");
        let gateways = crate::web::openapi::responses::problem()["properties"]["reason"]["description"].as_str().unwrap().to_owned();
        for reason in &contract {
            assert_ne!(documented.contains(reason), BETWEEN_ROLES.contains(&reason.as_str()), "{reason}");
        }
        for reason in documented.difference(&contract) {
            assert!(gateways.contains(reason.as_str()), "{reason} is in no list");
        }
    }

    #[test]
    fn fields_that_are_always_present_are_required() {
        let schemas = &document()["components"]["schemas"];
        let required = |name: &str| serde_json::from_value::<Vec<String>>(schemas[name]["required"].clone()).unwrap_or_default();
        assert_eq!(required("SignUpRequest"), ["email", "password"]);
        assert_eq!(required("ListProjectsResponse"), ["projects"]);
        assert_eq!(required("RenameFile"), ["newPath"]);
        assert_eq!(required("SetLabelBody"), ["revision"]);
        assert!(schemas["UpdateProjectBody"]["properties"].get("projectId").is_none());
        assert!(required("SaveProjectInPathBody").contains(&"changes".to_owned()));
        // Requests are read strictly. Readers of responses should ignore unknown fields.
        assert_eq!(schemas["FileChange"]["additionalProperties"], false);
        assert!(schemas["Project"].get("additionalProperties").is_none());
        let with = schemas.as_object().unwrap().values().filter(|schema| schema["required"].is_array()).count();
        assert!(with > 60, "{with} schemas have required fields");
    }
}
