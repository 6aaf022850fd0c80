//! The schemas of messages as ProtoJSON.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value as Field};
use serde_json::{Map, Value, json};

use super::responses::{oauth_error, problem, problem_field};
use crate::contract::{Binding, bindings, comment, pool};

/// A field that is not in the JSON, but in the URL of a preview.
const IN_URL: &str = "backlot.project_storage.v1.CreatePreviewResponse.capability";
/// Fields with this name are not in the JSON, but the header Idempotency-Replayed.
const IN_HEADER: &str = "replayed";

/// Whether a field of an answer is not in its JSON.
pub(super) fn is_hidden(field: &FieldDescriptor) -> bool {
    field.full_name() == IN_URL || field.name() == IN_HEADER
}
const TURN_EVENT: &str = "backlot.agent_streaming.v1.TurnEvent";
const PROJECT_EVENT: &str = "backlot.project_storage.v1.ProjectEvent";

/// The schemas that operations refer to, and those that these refer to.
pub(super) struct Schemas {
    pending: BTreeSet<String>,
    /// Messages of requests. Their unknown fields are refused, and their lists may be absent.
    in_requests: BTreeSet<String>,
    pub(super) done: BTreeMap<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let mut in_requests = BTreeSet::new();
        let mut open: Vec<MessageDescriptor> =
            bindings().into_iter().filter(|binding| binding.body == "*").map(|binding| binding.rpc.input()).collect();
        while let Some(message) = open.pop() {
            if in_requests.insert(message.full_name().to_owned()) {
                open.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
            }
        }
        let fixed = [
            ("Problem", problem()),
            ("ProblemField", problem_field()),
            ("OauthError", oauth_error()),
            (
                "TurnEventFrame",
                frame("A turn's event as server-sent event.", &json_text(&json!({"$ref": "#/components/schemas/StreamedEvent"}))),
            ),
            (
                "ProjectEventFrame",
                frame("A project's event as server-sent event.", &json_text(&json!({"$ref": "#/components/schemas/StreamedProjectEvent"}))),
            ),
        ];
        let done = fixed.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        let mut schemas = Self { pending: BTreeSet::new(), in_requests, done };
        let (of_turn, of_project) = (schemas.turn_event(), schemas.project_event());
        schemas.done.insert(streamed("Turn"), of_turn);
        schemas.done.insert(streamed("Project"), of_project);
        schemas
    }

    pub(super) fn of_message(&mut self, message: &MessageDescriptor) -> Value {
        match message.full_name() {
            "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Duration" => json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"}),
            name => self.reference(name),
        }
    }

    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            return json!({"type": "object", "additionalProperties": {"type": "string"}});
        }
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

    /// The schema of a body, without the fields of the path, and whether a body is required.
    pub(super) fn of_body(&mut self, binding: &Binding, id: &str) -> (Value, bool) {
        let message = binding.rpc.input();
        let in_body = |field: &FieldDescriptor| !binding.has_variable(field.name());
        let is_required = message.fields().any(|field| in_body(&field) && is_required(&field));
        if message.fields().all(|field| in_body(&field)) {
            return (self.of_message(&message), is_required);
        }
        let name = format!("{id}Body");
        let schema = self.object(&message, in_body);
        self.done.insert(name.clone(), schema);
        (json!({"$ref": format!("#/components/schemas/{name}")}), is_required)
    }

    fn reference(&mut self, name: &str) -> Value {
        self.pending.insert(name.to_owned());
        json!({"$ref": format!("#/components/schemas/{}", short(name))})
    }

    /// Adds schemas until every reference has one.
    pub(super) fn finish(&mut self) {
        while let Some(name) = self.pending.pop_first() {
            if self.done.contains_key(short(&name)) {
                continue;
            }
            let schema = match (pool().get_message_by_name(&name), pool().get_enum_by_name(&name)) {
                (Some(message), _) => self.object(&message, |_| true),
                (None, Some(kind)) => enumeration(&kind),
                (None, None) => json!({}),
            };
            self.done.insert(short(&name).to_owned(), schema);
        }
    }

    fn object(&mut self, message: &MessageDescriptor, is_shown: impl Fn(&FieldDescriptor) -> bool) -> Value {
        let file = message.parent_file();
        let is_in_request = self.in_requests.contains(message.full_name());
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in message.fields().filter(|field| is_shown(field) && !is_hidden(field)) {
            let mut schema = self.of_field(&field);
            let text = comment(&file, field.path());
            if !text.is_empty() {
                schema["description"] = text.into();
            }
            // A response has all its lists, even if they are empty.
            if is_required(&field) || (field.is_list() && !is_in_request) {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({"type": "object", "description": comment(&file, message.path()), "properties": properties});
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if is_in_request {
            schema["additionalProperties"] = false.into();
        }
        schema
    }

    /// What the data of an event may be: the message of each kind, or one that a later release adds.
    fn event_data(&mut self, event: &str) -> Value {
        let kinds = pool().get_message_by_name(event).into_iter().flat_map(|event| event.fields().collect::<Vec<_>>());
        let kinds: Vec<MessageDescriptor> =
            kinds.filter(|field| field.containing_oneof().is_some()).filter_map(|field| field.kind().as_message().cloned()).collect();
        let mut data: Vec<Value> = kinds.iter().map(|kind| self.of_message(kind)).collect();
        data.push(json!({"type": "object", "description": "An event of a type that this document does not contain."}));
        json!({"anyOf": data, "description": "What happened."})
    }

    /// The event of a project in a stream.
    fn project_event(&mut self) -> Value {
        let data = self.event_data(PROJECT_EVENT);
        json!({
            "type": "object",
            "description": "Something that happened to a project. A reader ignores types that it does not know.",
            "required": ["seq", "projectId", "type", "data"],
            "properties": {
                "seq": {"type": "integer", "minimum": 0, "description": "The cursor to resume with: the number of the newest revision that a reader knows with this event."},
                "projectId": {"type": "string", "description": "The project."},
                "type": {"type": "string", "description": "The type of the message in `data`: `revision.committed` stands for RevisionCommitted.", "examples": proto::project_event::TYPE_NAMES},
                "data": data,
            },
        })
    }

    /// The event of a turn in a stream.
    fn turn_event(&mut self) -> Value {
        let data = self.event_data(TURN_EVENT);
        json!({
            "type": "object",
            "description": "One entry of a turn's log. A reader ignores types that it does not know.",
            "required": ["seq", "turnId", "type", "time", "traceId", "data"],
            "properties": {
                "seq": {"type": "integer", "minimum": 1, "description": "The position in the log, from 1 without gaps."},
                "turnId": {"type": "string", "description": "The turn."},
                "type": {"type": "string", "description": "The type of the message in `data`: `text.delta` stands for TextDelta.", "examples": proto::event::TYPE_NAMES},
                "time": {"type": "string", "format": "date-time", "description": "When it was written, by the clock of the writer."},
                "traceId": {"type": "string", "description": "The trace of the request that started the turn."},
                "data": data,
            },
        })
    }
}

/// The name of the schema of an event in a stream of turns or of projects.
pub(super) fn streamed(of: &str) -> String {
    if of == "Turn" { "StreamedEvent".to_owned() } else { format!("Streamed{of}Event") }
}

/// Whether the contract marks a field as required: a request must have it, or every response has it.
fn is_required(field: &FieldDescriptor) -> bool {
    let Some(behavior) = pool().get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let Field::List(list) = &*options.get_extension(&behavior) else { return false };
    list.iter().any(|value| matches!(value, Field::EnumNumber(2)))
}

fn enumeration(kind: &EnumDescriptor) -> Value {
    let names: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
    json!({"type": "string", "description": comment(&kind.parent_file(), kind.path()), "enum": names})
}

/// A server-sent event. In OpenAPI 3.1 the schema of a stream is that of one event.
pub(super) fn frame(text: &str, data: &Value) -> Value {
    json!({
        "type": "object",
        "description": text,
        "required": ["data"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$", "description": "The cursor to resume with, sent as Last-Event-ID."},
            "retry": {"type": "integer", "minimum": 1, "description": "Milliseconds that a reader waits before it reconnects."},
            "data": data,
        },
    })
}

/// A string that contains JSON of this form.
pub(super) fn json_text(form: &Value) -> Value {
    json!({"type": "string", "contentMediaType": "application/json", "contentSchema": form})
}

/// Lines of JSON as one string, since a schema of each line exists only from OpenAPI 3.2 on.
pub(super) fn lines(line: &Value) -> Value {
    json!({"type": "string", "contentMediaType": "application/x-ndjson", "contentSchema": {"type": "array", "items": line}})
}

/// `backlot.auth.v1.User` as `User`; a test checks that names are unique across the packages.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
