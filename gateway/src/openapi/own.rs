//! The routes that are not in the contract, because other protocols made them: the AI SDK's and AG-UI's.

use serde_json::{Value, json};

/// Path, method and operation of each.
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
    let key = json!({"name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string"},
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
        "trigger": {"enum": ["submit-message", "regenerate-message"]},
        "messageId": {"type": "string", "description": "Of the message that is edited, or of the answer that is wanted anew."}}});
    for (name, schema) in wishes() {
        body["properties"][name] = schema;
    }
    body
}

const CLIENT_ID: &str = "^[A-Za-z0-9_-]{1,128}$";

/// Fields of StartTurnRequest that go through.
fn wishes() -> [(&'static str, Value); 5] {
    let text = || json!({"type": "string", "description": "As in StartTurnRequest."});
    let kind = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    [("agent", text()), ("model", text()), ("baseRevision", text()), ("ifActive", kind("IfActive")), ("onDisconnect", kind("OnDisconnect"))]
}

fn resume() -> Value {
    let text = "Follows the turn of the chat that runs, from its first chunk with what has been said joined, or 204 when none runs. With a \
        cursor it goes on behind that event of the chat's newest turn or of `turnId`, also when that has ended meanwhile.";
    let query = |name: &str, kind: &str, text: &str| json!({"name": name, "in": "query", "required": false, "schema": {"type": kind}, "description": text});
    let cursor = json!({"name": "Last-Event-ID", "in": "header", "required": false, "schema": {"type": "integer"}, "description": "Wins over `after`."});
    let after = query("after", "integer", "The last event that the client has.");
    let turn = query("turnId", "string", "The turn that the event is of.");
    let mut responses = ui_stream();
    responses["204"] = json!({"description": "Nothing runs, or the cursor is at the last event."});
    operation(("Chat", "ResumeChat"), text, &[chat(), after, turn, cursor, level()], None, &responses)
}

fn stop() -> Value {
    let text = "Stops the caller's turns of the chat that run or wait, or only the one that is named. That nothing runs is as good. A turn that \
        is committing is a 409, TOO_LATE: its outcome follows.";
    let body = json!({"type": "object", "properties": {
        "activeStreamId": {"type": "string", "description": "The turn's id, which is also the answer's message id."},
        "assistantMessage": {"type": "object", "description": "Not read."}}});
    let done = json!({"type": "object", "required": ["success"], "properties": {"success": {"const": true}}});
    let responses = json!({"200": {"description": "Done.", "content": {"application/json": {"schema": done}}}});
    operation(("Chat", "StopChat"), text, &[chat()], Some(body), &responses)
}

fn agui() -> Value {
    let text = "Runs the agent by AG-UI 1.0. `threadId` is a chat's id; the same `runId` again is the same turn. Only the person's last \
        message is read, and of `forwardedProps` the fields that `POST /api/chat` takes beside its protocol. `tools` and `resume` must be \
        empty: 422, TOOLS_UNSUPPORTED and RESUME_UNSUPPORTED; `state` and `context` are not read. Files, notices, the revision and usage \
        are CUSTOM events.";
    let mut body = json!({"type": "object", "required": ["threadId", "runId", "messages"], "properties": {
        "threadId": {"type": "string"}, "runId": {"type": "string", "maxLength": 255}, "protocolVersion": {"type": "string"},
        "messages": {"type": "array", "items": {"type": "object"}}, "tools": {"type": "array", "maxItems": 0},
        "resume": {"type": "array", "maxItems": 0}, "context": {"type": "array"}, "state": {},
        "forwardedProps": {"type": "object", "properties": {}}}});
    for (name, schema) in wishes() {
        body["properties"]["forwardedProps"]["properties"][name] = schema;
    }
    let responses = json!({"200": {"description": "The run's events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}});
    operation(("AgUi", "RunAgent"), text, &[], Some(body), &responses)
}

fn operation((tag, id): (&str, &str), text: &str, parameters: &[Value], body: Option<Value>, responses: &Value) -> Value {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut responses = responses.clone();
    responses["default"] = json!({"$ref": "#/components/responses/Problem"});
    let mut operation = json!({
        "operationId": id, "tags": [tag], "summary": text.split_inclusive(". ").next().unwrap_or_default().trim(), "description": text,
        "parameters": parameters, "responses": responses, "security": [{"session": []}, {"bearer": []}],
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
    json!({"name": "x-backlot-ui-stream-level", "in": "header", "required": false, "schema": {"enum": ["5", "6", "7"]}, "description": text})
}

fn ui_stream() -> Value {
    let text = "The turn as chunks of the AI SDK's UI message stream, v1: one JSON object each, then `[DONE]`. `id` is the cursor to come back with.";
    json!({"200": {"description": text, "content": {"text/event-stream": {"schema": {"type": "string"}}}}})
}
