//! The routes of other protocols, which are not in the contract: the AI SDK's and AG-UI's.

use serde_json::{Value, json};

use super::{
    reasons::Shape,
    responses::{refusals, with_headers},
    schemas::{frame, json_text},
    summary,
};

/// The tags of the routes.
pub(super) const TAGS: [(&str, &str); 2] =
    [("Chat", "Chats in the protocol of the AI SDK's `useChat` (UI message stream, v1)."), ("AgUi", "Runs in the protocol AG-UI 1.0.")];

/// Path, method and operation of each route.
pub(super) fn operations() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("/api/chat", "post", send()),
        ("/api/chat/{id}/stream", "get", resume()),
        ("/api/chat/{id}/stop", "post", stop()),
        ("/api/agui", "post", agui()),
    ]
}

fn send() -> Value {
    let text = "Answers a message with a UI message stream. The chat is the id of a project, or an id that the client chose, whose first \
        message creates a project. Only the last message of the user is read, from `message` or from the end of `messages`, and only its \
        text parts are accepted. A repeated message follows the turn that it started. An edited message (`messageId` is its id, with \
        another text) and `regenerate-message` hide the messages from there on; files stay. While another turn runs the answer is 409, \
        TURN_ACTIVE, with `metadata.turn_id`, unless `ifActive` has another value. A client cannot continue an answer: 422, \
        CONTINUATION_UNSUPPORTED. The message id of an answer is the id of its turn.";
    let key = json!({"name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "Replaces the key that is derived from chat, message id and text."});
    operation(("Chat", "SendChatMessage"), text, &[level(), key], Some(chat_body()), &ui_stream())
}

fn chat_body() -> Value {
    let message = json!({"type": "object", "description": "A UIMessage of the AI SDK.", "required": ["role", "parts"], "properties": {
        "id": {"type": "string", "pattern": CLIENT_ID}, "role": {"const": "user"},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}}}});
    let mut body = json!({"type": "object", "required": ["id"], "properties": {
        "id": {"type": "string", "description": "The chat: the id of a project, or 1 to 128 characters of `A-Za-z0-9_-`."},
        "message": message, "messages": {"type": "array", "items": {"type": "object"}, "description": "Only the last one is read."},
        "trigger": {"type": "string", "enum": ["submit-message", "regenerate-message"]},
        "messageId": {"type": "string", "description": "The id of the message that is edited, or of the answer to regenerate."}}});
    for (name, schema) in turn_options() {
        body["properties"][name] = schema;
    }
    body
}

const CLIENT_ID: &str = "^[A-Za-z0-9_-]{1,128}$";

/// Fields that are passed to StartTurnRequest.
fn turn_options() -> [(&'static str, Value); 11] {
    let text = || json!({"type": "string", "description": "As in StartTurnRequest."});
    let paths = || json!({"type": "array", "items": {"type": "string"}, "description": "As in StartTurnRequest."});
    let kind = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let metadata = json!({"type": "object", "additionalProperties": {"type": "string"}, "description": "As in StartTurnRequest."});
    [
        ("agent", text()),
        ("model", text()),
        ("baseRevision", text()),
        ("ifActive", kind("IfActive")),
        ("onDisconnect", kind("OnDisconnect")),
        ("requireCleanFiles", json!({"type": "boolean", "description": "As in StartTurnRequest."})),
        ("mode", kind("TurnMode")),
        ("planTurnId", text()),
        ("pinnedPaths", paths()),
        ("excludedPaths", paths()),
        ("metadata", metadata),
    ]
}

fn resume() -> Value {
    let text = "Follows the running turn of the chat from its first chunk, with earlier deltas joined; 204 if no turn runs. With a cursor \
        it continues after that event of the chat's newest turn, or of `turnId`, even if the turn has ended in the meantime.";
    let query = |name: &str, schema: Value, text: &str| json!({"name": name, "in": "query", "required": false, "schema": schema, "description": text});
    let cursor = json!({"name": "Last-Event-ID", "in": "header", "required": false, "schema": {"type": "integer", "minimum": 0, "maximum": u32::MAX}, "description": "Has precedence over `after`."});
    let after = query("after", json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}), "The last event that the client has.");
    let turn = query("turnId", json!({"type": "string"}), "The turn of that event.");
    let mut responses = ui_stream();
    responses["204"] = json!({"description": "No turn runs, or the cursor is at the last event.", "headers": with_headers(&[])});
    operation(("Chat", "ResumeChat"), text, &[chat(), after, turn, cursor, level()], None, &responses)
}

fn stop() -> Value {
    let text = "Stops the caller's turns of the chat that run or wait, or only the named one. It also succeeds if no turn runs. A turn that is \
        committing cannot be stopped: 409, TOO_LATE.";
    let body = json!({"type": "object", "properties": {
        "activeStreamId": {"type": "string", "description": "The id of the turn, which is also the message id of the answer."},
        "assistantMessage": {"type": "object", "description": "Not read."}}});
    let done = json!({"type": "object", "required": ["success"], "properties": {"success": {"const": true}}});
    let responses =
        json!({"200": {"description": "Done.", "headers": with_headers(&[]), "content": {"application/json": {"schema": done}}}});
    operation(("Chat", "StopChat"), text, &[chat()], Some(body), &responses)
}

fn agui() -> Value {
    let text = "Runs the agent with AG-UI 1.0. `threadId` is the id of a chat. A repeated `runId` follows the same turn. Only the last \
        message of the user is read. `forwardedProps` may have the same further fields as `POST /api/chat`. `tools` and `resume` must be \
        empty: 422, TOOLS_UNSUPPORTED and RESUME_UNSUPPORTED. `state` and `context` are not read. Files, notices, the revision and usage \
        are CUSTOM events.";
    let mut body = json!({"type": "object", "required": ["threadId", "runId", "messages"], "properties": {
        "threadId": {"type": "string"}, "runId": {"type": "string", "maxLength": 255}, "protocolVersion": {"type": "string"},
        "messages": {"type": "array", "items": {"type": "object"}}, "tools": {"type": "array", "items": {}, "maxItems": 0},
        "resume": {"type": "array", "items": {}, "maxItems": 0}, "context": {"type": "array", "items": {}}, "state": {},
        "forwardedProps": {"type": "object", "properties": {}}}});
    for (name, schema) in turn_options() {
        body["properties"]["forwardedProps"]["properties"][name] = schema;
    }
    let event =
        json!({"type": "object", "description": "An event of AG-UI.", "required": ["type"], "properties": {"type": {"type": "string"}}});
    let frame = frame("One event of the run.", &json_text(&event));
    let responses = json!({"200": {"description": "The run's events.", "headers": with_headers(&["Location", "X-Backlot-Turn-Id", "Idempotency-Replayed"]),
        "content": {"text/event-stream": {"schema": frame}}}});
    operation(("AgUi", "RunAgent"), text, &[], Some(body), &responses)
}

fn operation((tag, id): (&str, &str), text: &str, parameters: &[Value], body: Option<Value>, responses: &Value) -> Value {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_resume = id == "ResumeChat";
    let shape =
        Shape { id, changes: !is_resume, has_body: body.is_some(), has_variable: is_resume || id == "StopChat", needs_person: true };
    let mut answers = refusals(shape);
    answers.extend(responses.as_object().into_iter().flatten().map(|(status, answer)| (status.clone(), answer.clone())));
    let mut operation = json!({
        "operationId": id, "tags": [tag], "summary": summary(&text), "description": text,
        "parameters": parameters, "responses": answers, "security": [{"session": []}, {"bearer": []}],
    });
    if let Some(schema) = body {
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

fn chat() -> Value {
    json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "The chat: the id of a project, or an id that the client chose."})
}

fn level() -> Value {
    let text = "The major version of the AI SDK whose chunks the client knows; 5 if absent.";
    json!({"name": "x-backlot-ui-stream-level", "in": "header", "required": false, "schema": {"type": "string", "enum": ["5", "6", "7"]}, "description": text})
}

fn ui_stream() -> Value {
    let text =
        "The turn as chunks of the AI SDK's UI message stream, v1: one JSON object each, then `[DONE]`. `id` is the cursor to resume with.";
    let chunk = json!({"type": "object", "description": "A chunk of the UI message stream.", "required": ["type"], "properties": {"type": {"type": "string"}}});
    let data = json!({"anyOf": [json_text(&chunk), {"const": "[DONE]"}]});
    let frame = frame("One chunk. The data of the last one is `[DONE]`, which is not JSON.", &data);
    let headers = with_headers(&["Location", "X-Backlot-Turn-Id", "X-Vercel-Ai-Ui-Message-Stream", "Idempotency-Replayed"]);
    json!({"200": {"description": text, "headers": headers, "content": {"text/event-stream": {"schema": frame}}}})
}
