//! The routes of other protocols, which are not in the contract: the AI SDK's and AG-UI's.

use serde_json::{Value, json};

use super::{
    answers::{refusals, with_headers},
    reasons::Shape,
    schemas::{frame, json_text},
    summary,
};

/// The tags of the routes.
pub(super) const TAGS: [(&str, &str); 2] =
    [("Chat", "Chats as the AI SDK's `useChat` speaks them (UI message stream, v1)."), ("AgUi", "Runs as AG-UI 1.0 speaks them.")];

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
    let text = "Answers a message in a UI message stream. The chat is a project's id or a client-made one, whose first message makes the \
        project. Only the person's last message is read, in `message` or at the end of `messages`; only its text parts are taken. The \
        same message again follows the turn that it started; an edited one (`messageId` is its id, with another text) and \
        `regenerate-message` hide the messages from there on, while files stay. While another turn runs it is a 409, TURN_ACTIVE, with \
        `metadata.turn_id`, unless `ifActive` says otherwise. An answer cannot be continued by the client: 422, \
        CONTINUATION_UNSUPPORTED. An answer's message id is its turn's id.";
    let key = json!({"name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "In place of the one that is made of chat, message id and text."});
    operation(("Chat", "SendChatMessage"), text, &[level(), key], Some(chat_body()), &ui_stream())
}

fn chat_body() -> Value {
    let message = json!({"type": "object", "description": "A UIMessage of the AI SDK.", "required": ["role", "parts"], "properties": {
        "id": {"type": "string", "pattern": CLIENT_ID}, "role": {"const": "user"},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}}}});
    let mut body = json!({"type": "object", "required": ["id"], "properties": {
        "id": {"type": "string", "description": "The chat: a project's id, or 1 to 128 of `A-Za-z0-9_-`."},
        "message": message, "messages": {"type": "array", "items": {"type": "object"}, "description": "Only the last is read."},
        "trigger": {"type": "string", "enum": ["submit-message", "regenerate-message"]},
        "messageId": {"type": "string", "description": "Of the message that is edited, or of the answer that is wanted anew."}}});
    for (name, schema) in turn_options() {
        body["properties"][name] = schema;
    }
    body
}

const CLIENT_ID: &str = "^[A-Za-z0-9_-]{1,128}$";

/// Fields that are passed to StartTurnRequest.
fn turn_options() -> [(&'static str, Value); 5] {
    let text = || json!({"type": "string", "description": "As in StartTurnRequest."});
    let kind = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    [("agent", text()), ("model", text()), ("baseRevision", text()), ("ifActive", kind("IfActive")), ("onDisconnect", kind("OnDisconnect"))]
}

fn resume() -> Value {
    let text = "Follows the turn of the chat that runs, from its first chunk with what has been said joined, or 204 when none runs. With a \
        cursor it goes on behind that event of the chat's newest turn or of `turnId`, also when that has ended meanwhile.";
    let query = |name: &str, schema: Value, text: &str| json!({"name": name, "in": "query", "required": false, "schema": schema, "description": text});
    let cursor = json!({"name": "Last-Event-ID", "in": "header", "required": false, "schema": {"type": "integer", "minimum": 0, "maximum": u32::MAX}, "description": "Wins over `after`."});
    let after = query("after", json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}), "The last event that the client has.");
    let turn = query("turnId", json!({"type": "string"}), "The turn that the event is of.");
    let mut responses = ui_stream();
    responses["204"] = json!({"description": "Nothing runs, or the cursor is at the last event.", "headers": with_headers(&[])});
    operation(("Chat", "ResumeChat"), text, &[chat(), after, turn, cursor, level()], None, &responses)
}

fn stop() -> Value {
    let text = "Stops the caller's turns of the chat that run or wait, or only the one that is named. That nothing runs is as good. A turn that \
        is committing is a 409, TOO_LATE: its outcome follows.";
    let body = json!({"type": "object", "properties": {
        "activeStreamId": {"type": "string", "description": "The turn's id, which is also the answer's message id."},
        "assistantMessage": {"type": "object", "description": "Not read."}}});
    let done = json!({"type": "object", "required": ["success"], "properties": {"success": {"const": true}}});
    let responses =
        json!({"200": {"description": "Done.", "headers": with_headers(&[]), "content": {"application/json": {"schema": done}}}});
    operation(("Chat", "StopChat"), text, &[chat()], Some(body), &responses)
}

fn agui() -> Value {
    let text = "Runs the agent by AG-UI 1.0. `threadId` is a chat's id; the same `runId` again is the same turn. Only the person's last \
        message is read, and of `forwardedProps` the fields that `POST /api/chat` takes beside its protocol. `tools` and `resume` must be \
        empty: 422, TOOLS_UNSUPPORTED and RESUME_UNSUPPORTED; `state` and `context` are not read. Files, notices, the revision and usage \
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
    json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "The chat: a project's id or a client-made one."})
}

fn level() -> Value {
    let text = "The major of the AI SDK whose chunks the client knows; without it, those of 5.";
    json!({"name": "x-backlot-ui-stream-level", "in": "header", "required": false, "schema": {"type": "string", "enum": ["5", "6", "7"]}, "description": text})
}

fn ui_stream() -> Value {
    let text = "The turn as chunks of the AI SDK's UI message stream, v1: one JSON object each, then `[DONE]`. `id` is the cursor to come back with.";
    let chunk = json!({"type": "object", "description": "A chunk of the UI message stream.", "required": ["type"], "properties": {"type": {"type": "string"}}});
    let data = json!({"anyOf": [json_text(&chunk), {"const": "[DONE]"}]});
    let frame = frame("One chunk; the last one's data is `[DONE]`, which is no JSON.", &data);
    let headers = with_headers(&["Location", "X-Backlot-Turn-Id", "X-Vercel-Ai-Ui-Message-Stream", "Idempotency-Replayed"]);
    json!({"200": {"description": text, "headers": headers, "content": {"text/event-stream": {"schema": frame}}}})
}
