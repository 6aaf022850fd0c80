//! OpenAPI 3.1, made from the contract: paths from `google.api.http`, schemas from the messages as ProtoJSON writes them,
//! descriptions from the comments. Routes of other protocols are described beside it.

mod own;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    Value as Field,
};
use serde_json::{Map, Value, json};
use url::Url;

/// Fields that HTTP carries elsewhere (the cookie, the preview's URL, a header).
const HIDDEN: [&str; 7] = [
    "backlot.auth.v1.SignUpResponse.session_token",
    "backlot.auth.v1.SignInResponse.session_token",
    "backlot.auth.v1.SignOutRequest.session_token",
    "backlot.auth.v1.CreateAccessTokenRequest.session_token",
    "backlot.project_storage.v1.CreatePreviewResponse.capability",
    "backlot.project_storage.v1.SaveProjectResponse.replayed",
    "backlot.project_storage.v1.ResolveConflictResponse.replayed",
];
/// The binding that answers with a stream although its RPC does not.
const STARTS_STREAM: &str = "/api/agent/stream";
/// What answers 201.
const CREATES: [&str; 2] = ["/api/turns", "/api/projects"];
/// The services' reasons are in their contracts; these are of the domain `gateway.backlot.dev`, never renamed.
const REASONS: &str = "Stable, upper-case; what programs act on. The gateway's own: INVALID_FIELD, INVALID_JSON, BODY_BROKEN, BODY_TIMEOUT, \
    TOO_LARGE, URI_TOO_LONG, HEADER_TOO_LARGE, HOST_INVALID, HOST_UNKNOWN, CONTINUATION_UNSUPPORTED, TOOLS_UNSUPPORTED, RESUME_UNSUPPORTED, UNSUPPORTED_MEDIA_TYPE, METHOD_NOT_ALLOWED, ROUTE_NOT_FOUND, PREVIEW_NOT_FOUND, RANGE_NOT_SATISFIABLE, ETAG_MISMATCH, CROSS_ORIGIN, TOKEN_MISSING, \
    TOKEN_INVALID, SESSION_ENDED, SESSION_AMBIGUOUS, RATE_LIMITED, OVERLOADED, DRAINING, TIMEOUT, UNAVAILABLE, INTERNAL.";
/// RPCs that need nobody to be signed in.
const OPEN: [&str; 4] = ["SignUp", "SignIn", "SignOut", "GetKeySet"];

/// One HTTP binding of an RPC.
#[derive(Debug, Clone)]
pub struct Binding {
    /// `GET` and so on.
    pub method: &'static str,
    /// `/api/projects/{project_id}/files/{path=**}`.
    pub template: String,
    /// `*` if the request is the body, else empty.
    pub body: String,
    /// The field of the answer that is the body, else empty.
    pub response_body: String,
    pub rpc: MethodDescriptor,
}

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(proto::DESCRIPTORS).expect("the contract's descriptors are readable"))
}

/// Every HTTP binding of the contract.
#[must_use]
pub fn bindings() -> Vec<Binding> {
    let Some(http) = pool().get_extension_by_name("google.api.http") else { return Vec::new() };
    let mut bindings = Vec::new();
    for rpc in pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = rpc.options();
        if !options.has_extension(&http) {
            continue;
        }
        if let Field::Message(rule) = &*options.get_extension(&http) {
            bindings.extend(binding(&rpc, rule));
            if let Some(Field::List(more)) = rule.get_field_by_name("additional_bindings").as_deref() {
                bindings.extend(more.iter().filter_map(Field::as_message).filter_map(|rule| binding(&rpc, rule)));
            }
        }
    }
    bindings
}

fn binding(rpc: &MethodDescriptor, rule: &DynamicMessage) -> Option<Binding> {
    let text = |name: &str| rule.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let verbs = [("GET", "get"), ("PUT", "put"), ("POST", "post"), ("DELETE", "delete"), ("PATCH", "patch")];
    let (method, field) = verbs.into_iter().find(|(_, field)| rule.has_field_by_name(field))?;
    Some(Binding { method, template: text(field), body: text("body"), response_body: text("response_body"), rpc: rpc.clone() })
}

/// The document; `server` is the public URL.
pub(crate) fn document(server: &Url) -> Value {
    static FIXED: OnceLock<Value> = OnceLock::new();
    let mut document = FIXED.get_or_init(build).clone();
    document["servers"] = json!([{"url": server.as_str().trim_end_matches('/')}]);
    document
}

fn build() -> Value {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for binding in bindings() {
        let path = binding.template.replace("=**", "");
        paths.entry(path).or_default().insert(binding.method.to_ascii_lowercase(), operation(&binding, &mut schemas));
    }
    for (path, method, operation) in own::operations() {
        paths.entry(path.to_owned()).or_default().insert(method.to_owned(), operation);
    }
    schemas.finish();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Backlot",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The backend of AI app builders. Errors are RFC 9457 problem documents with a stable `reason`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.done,
            "responses": {"Problem": {"description": "What went wrong.", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}},
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-backlot_session", "description": "Set by sign-up and sign-in; over plain HTTP its name is `backlot_session_` and eight digits of the cluster."},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "From POST /api/auth/token."},
            },
        },
    })
}

fn operation(binding: &Binding, schemas: &mut Schemas) -> Value {
    let rpc = &binding.rpc;
    let text = comment(&rpc.parent_file(), rpc.path());
    let starts_stream = binding.template == STARTS_STREAM;
    let suffix = match binding.template.as_str() {
        _ if starts_stream => "AndFollow",
        "/api/projects/{project_id}/changes" => "InPath",
        _ => "",
    };
    let mut operation = json!({
        "operationId": format!("{}{suffix}", rpc.name()),
        "tags": [rpc.parent_service().name().trim_end_matches("Service")],
        "summary": text.split_inclusive(". ").next().unwrap_or_default().trim(),
        "description": text,
        "parameters": parameters(binding, schemas),
        "responses": responses(binding, schemas, starts_stream || rpc.is_server_streaming()),
    });
    if binding.body == "*" {
        let schema = schemas.of_message(&rpc.input());
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    if !OPEN.contains(&rpc.name()) {
        operation["security"] =
            if rpc.name() == "CreateAccessToken" { json!([{"session": []}]) } else { json!([{"session": []}, {"bearer": []}]) };
    }
    operation
}

fn responses(binding: &Binding, schemas: &mut Schemas, stream: bool) -> Value {
    let problem = json!({"$ref": "#/components/responses/Problem"});
    if stream {
        let event = schemas.event();
        let content = json!({"text/event-stream": {"schema": {"type": "string"}, "itemSchema": event}, "application/x-ndjson": {"schema": {"type": "string"}, "itemSchema": event}});
        let mut responses = json!({"200": {"description": "The turn's events, one each; `id` is the cursor to come back with.", "content": content}, "default": problem});
        if binding.method == "GET" {
            responses["204"] = json!({"description": "The turn has ended and the cursor is at its last event."});
        }
        return responses;
    }
    let output = binding.rpc.output();
    let schema = match output.get_field_by_name(&binding.response_body) {
        Some(field) => schemas.of_field(&field),
        None => schemas.of_message(&output),
    };
    let status = if binding.method == "POST" && CREATES.contains(&binding.template.as_str()) { "201" } else { "200" };
    json!({status: {"description": "Done.", "content": {"application/json": {"schema": schema}}}, "default": problem})
}

/// Path parameters, and for requests without a body every other field as a query parameter.
fn parameters(binding: &Binding, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    for field in binding.rpc.input().fields() {
        let in_path =
            binding.template.contains(&format!("{{{}}}", field.name())) || binding.template.contains(&format!("{{{}=", field.name()));
        if !in_path && binding.body == "*" {
            continue;
        }
        let (place, name) = if in_path { ("path", field.name()) } else { ("query", field.json_name()) };
        parameters.push(json!({
            "name": name, "in": place, "required": in_path, "description": comment(&field.parent_message().parent_file(), field.path()),
            "schema": schemas.of_field(&field),
        }));
    }
    if binding.body == "*" && ["StartTurn", "SaveProject", "ResolveConflict", "CreateProject"].contains(&binding.rpc.name()) {
        parameters.push(json!({"name": "Idempotency-Key", "in": "header", "required": false, "description": "The same as the field of the body.", "schema": {"type": "string"}}));
    }
    if binding.rpc.is_server_streaming() {
        parameters.push(json!({"name": "Last-Event-ID", "in": "header", "required": false, "description": "Wins over `after`.", "schema": {"type": "integer"}}));
    }
    parameters
}

/// The schemas that were asked for, and those that they need.
#[derive(Default)]
struct Schemas {
    wanted: BTreeSet<String>,
    done: BTreeMap<String, Value>,
}

impl Schemas {
    fn of_message(&mut self, message: &MessageDescriptor) -> Value {
        match message.full_name() {
            "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Duration" => json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"}),
            name => self.reference(name),
        }
    }

    fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        let one = match field.kind() {
            Kind::Message(message) => self.of_message(&message),
            Kind::Enum(kind) => self.reference(kind.full_name()),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "pattern": "^-?[0-9]+$"})
            }
        };
        if field.is_list() { json!({"type": "array", "items": one}) } else { one }
    }

    fn reference(&mut self, name: &str) -> Value {
        self.wanted.insert(name.to_owned());
        json!({"$ref": format!("#/components/schemas/{}", short(name))})
    }

    /// An event as streams write it.
    fn event(&mut self) -> Value {
        self.wanted.insert("backlot.agent_streaming.v1.TurnEvent".to_owned());
        json!({"$ref": "#/components/schemas/StreamedEvent"})
    }

    /// Describes what was asked for until nothing is missing.
    fn finish(&mut self) {
        self.done.insert("Problem".to_owned(), problem());
        self.done.insert("StreamedEvent".to_owned(), streamed_event());
        while let Some(name) = self.wanted.pop_first() {
            if self.done.contains_key(short(&name)) {
                continue;
            }
            let schema = match (pool().get_message_by_name(&name), pool().get_enum_by_name(&name)) {
                (Some(message), _) => self.object(&message),
                (None, Some(kind)) => enumeration(&kind),
                (None, None) => json!({}),
            };
            self.done.insert(short(&name).to_owned(), schema);
        }
    }

    fn object(&mut self, message: &MessageDescriptor) -> Value {
        let file = message.parent_file();
        let mut properties = Map::new();
        for field in message.fields().filter(|field| !HIDDEN.contains(&field.full_name())) {
            let mut schema = self.of_field(&field);
            let text = comment(&file, field.path());
            if !text.is_empty() {
                schema["description"] = text.into();
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let text = comment(&file, message.path());
        json!({"type": "object", "description": text, "properties": properties, "additionalProperties": false})
    }
}

fn enumeration(kind: &EnumDescriptor) -> Value {
    let names: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
    json!({"type": "string", "description": comment(&kind.parent_file(), kind.path()), "enum": names})
}

fn streamed_event() -> Value {
    json!({
        "type": "object",
        "description": "One entry of a turn's log. A reader ignores types that it does not know.",
        "required": ["seq", "turnId", "type", "time", "traceId", "data"],
        "properties": {
            "seq": {"type": "integer", "minimum": 1, "description": "Place in the log, from 1 without gaps."},
            "turnId": {"type": "string"},
            "type": {"type": "string", "examples": proto::event::TYPE_NAMES},
            "time": {"type": "string", "format": "date-time"},
            "traceId": {"type": "string"},
            "data": {"type": "object", "description": "The message of that kind in TurnEvent."},
        },
    })
}

fn problem() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "code", "reason", "domain", "requestId", "traceId"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": text("For people."),
            "instance": text("The path asked for."),
            "code": text("The code of gRPC."),
            "reason": text(REASONS),
            "domain": text("Whose reason it is."),
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "requestId": {"type": "string"},
            "traceId": {"type": "string"},
            "errors": {"type": "array", "items": {"type": "object", "properties": {
                "pointer": text("JSON pointer into the request."), "field": {"type": "string"}, "detail": {"type": "string"}}}},
            "violated-policies": {"type": "array", "items": {"type": "string"}},
        },
    })
}

/// `backlot.auth.v1.User` as `User`; names are unique across the packages, as a test proves.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The comment above a declaration, as one paragraph per paragraph.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.as_ref().map_or(&[][..], |info| &info.location);
    let text = locations.iter().find(|location| location.path == path).map_or("", |location| location.leading_comments());
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|p| !p.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        super::document(&Url::parse("https://apps.example").unwrap())
    }

    #[test]
    fn every_binding_is_described_in_words() {
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
    fn every_reference_leads_somewhere() {
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
        let api: Vec<_> = own.iter().filter(|route| route.template.starts_with("/api/")).collect();
        assert_eq!(api.len(), own::operations().len());
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
        assert!(schemas["SignInResponse"]["properties"].get("sessionToken").is_none());
    }

    #[test]
    fn short_names_are_unique() {
        let mut seen = BTreeMap::new();
        let names = pool().all_messages().map(|m| m.full_name().to_owned()).chain(pool().all_enums().map(|e| e.full_name().to_owned()));
        for name in names.filter(|name| name.starts_with("backlot.")) {
            if let Some(other) = seen.insert(short(&name).to_owned(), name.clone()) {
                panic!("{name} and {other}");
            }
        }
    }

    #[test]
    fn hidden_fields_exist() {
        for name in HIDDEN {
            let (message, field) = name.rsplit_once('.').unwrap();
            assert!(pool().get_message_by_name(message).is_some_and(|m| m.get_field_by_name(field).is_some()), "{name}");
        }
    }
}
