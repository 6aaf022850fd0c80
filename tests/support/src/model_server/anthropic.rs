//! Anthropic Messages, version 2023-06-01: the frames of an answer, refusals, and the validation of requests.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Part, Refusal, Stop, Usage},
    request::{Complaint, Request, is_valid_tool_name, require, text_of},
};

const VERSION: &str = "2023-06-01";
const MAX_CACHE_CONTROLS: usize = 4;

/// The SSE events of an answer.
pub(super) fn frames(answer: &Answer, request: &Request, index: usize) -> Vec<String> {
    let start = json!({
        "type": "message_start",
        "message": {
            "id": format!("msg_{index:04}"), "type": "message", "role": "assistant", "model": request.model(), "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage(answer.usage, 1),
        },
    });
    let mut frames = vec![frame(&start), frame(&json!({"type": "ping"}))];
    for (block, part) in answer.parts.iter().enumerate() {
        frames.extend(content(answer, part, (index, block)));
    }
    let reason = match answer.stop_reason() {
        Stop::EndTurn => "end_turn",
        Stop::ToolUse => "tool_use",
        Stop::MaxTokens => "max_tokens",
        Stop::Refusal => "refusal",
        Stop::Other(word) => word,
    };
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    frames.push(frame(&json!({"type": "message_delta", "delta": delta, "usage": usage(answer.usage, answer.usage.output)})));
    frames.push(frame(&json!({"type": "message_stop"})));
    if let Some((at, error)) = &answer.error_at {
        frames.truncate(*at);
        frames.push(frame(&refusal(error, index).1));
    }
    frames
}

/// The usage, which is cumulative in this protocol.
fn usage(usage: Usage, output: u32) -> Value {
    json!({
        "input_tokens": usage.input.saturating_sub(usage.cache_read + usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": output,
    })
}

fn content(answer: &Answer, part: &Part, (index, block): (usize, usize)) -> Vec<String> {
    let delta = |delta: Value| frame(&json!({"type": "content_block_delta", "index": block, "delta": delta}));
    let (start, deltas): (Value, Vec<String>) = match part {
        Part::Raw(event) => return vec![format!("{event}\n\n")],
        Part::Text(text) => (
            json!({"type": "text", "text": ""}),
            answer.fragments_of(text).iter().map(|fragment| delta(json!({"type": "text_delta", "text": fragment}))).collect(),
        ),
        Part::Reasoning(text) => {
            let signature = delta(json!({"type": "signature_delta", "signature": format!("c2lnbmF0dXJl{index}{block}")}));
            let thoughts =
                answer.fragments_of(text).iter().map(|fragment| delta(json!({"type": "thinking_delta", "thinking": fragment}))).collect();
            (json!({"type": "thinking", "thinking": "", "signature": ""}), [thoughts, vec![signature]].concat())
        }
        Part::Tool { name, input } => (
            json!({"type": "tool_use", "id": format!("toolu_{index:04}_{block}"), "name": name, "input": {}}),
            answer
                .fragments_of(input)
                .iter()
                .map(|fragment| delta(json!({"type": "input_json_delta", "partial_json": fragment})))
                .collect(),
        ),
    };
    let start = frame(&json!({"type": "content_block_start", "index": block, "content_block": start}));
    let stop = frame(&json!({"type": "content_block_stop", "index": block}));
    [vec![start], deltas, vec![stop]].concat()
}

fn frame(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}

/// The status and the body of an error. The body is also the data of an error event.
pub(super) fn refusal(refusal: &Refusal, index: usize) -> (u16, Value) {
    let kind = match refusal.status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    let error = json!({"type": kind, "message": refusal.message});
    (refusal.status, json!({"type": "error", "error": error, "request_id": format!("req_{index:04}")}))
}

/// Refuses a request that the provider would refuse.
pub(super) fn check(request: &Request) -> Result<(), Complaint> {
    let has_key = !request.header("x-api-key").is_empty() || request.header("authorization").starts_with("Bearer ");
    if !has_key {
        return Err(Complaint(401, "x-api-key header is required".into()));
    }
    require(request.header("anthropic-version") == VERSION, || format!("anthropic-version: {VERSION} is required"))?;
    require(request.header("content-type").starts_with("application/json"), || "content-type must be application/json".into())?;
    let body = &request.body;
    require(body.is_object(), || "the body must be a JSON object".into())?;
    require(body["model"].is_string(), || "model: field required".into())?;
    require(body["max_tokens"].as_u64().is_some_and(|n| n > 0), || "max_tokens: must be a positive integer".into())?;
    require(body["stream"] == true, || "stream: this model server only streams".into())?;
    require(matches!(body["system"], Value::Null | Value::String(_) | Value::Array(_)), || "system: must be a text or blocks".into())?;
    check_tools(body)?;
    let count = body.to_string().matches("\"cache_control\":{").count();
    require(count <= MAX_CACHE_CONTROLS, || format!("at most {MAX_CACHE_CONTROLS} blocks may have cache_control, found {count}"))?;
    check_messages(request.messages())
}

fn check_tools(body: &Value) -> Result<(), Complaint> {
    for (i, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        require(tool["name"].as_str().is_some_and(is_valid_tool_name), || format!("tools.{i}.name: must match ^[a-zA-Z0-9_-]{{1,64}}$"))?;
        require(tool["input_schema"]["type"] == "object", || format!("tools.{i}.input_schema.type: must be object"))?;
    }
    Ok(())
}

fn check_messages(messages: &[Value]) -> Result<(), Complaint> {
    require(messages.first().is_some_and(|m| m["role"] == "user"), || "messages: the first must be of role user".into())?;
    let mut called: Vec<&str> = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        require(matches!(role, "user" | "assistant"), || format!("messages.{i}.role: must be user or assistant"))?;
        let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let has_content = !blocks.is_empty() || message["content"].as_str().is_some_and(|text| !text.is_empty());
        require(has_content, || format!("messages.{i}: must have non-empty content"))?;
        let answered: Vec<&str> = blocks.iter().filter(|b| b["type"] == "tool_result").filter_map(|b| b["tool_use_id"].as_str()).collect();
        for id in &called {
            require(answered.contains(id), || format!("messages.{i}: tool_use id {id} without a tool_result immediately after"))?;
        }
        for id in &answered {
            require(called.contains(id), || format!("messages.{i}: tool_result {id} without a tool_use in the previous message"))?;
        }
        called.clear();
        for block in blocks {
            check_block(i, role, block)?;
            called.extend(block["id"].as_str().filter(|_| block["type"] == "tool_use"));
        }
    }
    require(called.is_empty(), || format!("messages: tool_use ids {called:?} without tool_result"))
}

fn check_block(i: usize, role: &str, block: &Value) -> Result<(), Complaint> {
    let kind = block["type"].as_str().unwrap_or_default();
    match kind {
        "text" => {
            require(!text_of(&Value::Array(vec![block.clone()])).is_empty(), || format!("messages.{i}: text blocks must be non-empty"))
        }
        "tool_use" => {
            require(role == "assistant", || format!("messages.{i}: tool_use belongs to the assistant"))?;
            require(block["input"].is_object(), || format!("messages.{i}: tool_use input must be an object"))
        }
        "tool_result" => require(role == "user", || format!("messages.{i}: tool_result belongs to the user")),
        "thinking" => {
            require(block["signature"].as_str().is_some_and(|s| !s.is_empty()), || format!("messages.{i}: thinking without signature"))
        }
        "redacted_thinking" | "image" | "document" => Ok(()),
        _ => Err(Complaint(400, format!("messages.{i}: unknown block type {kind:?}"))),
    }
}
