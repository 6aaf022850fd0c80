//! OpenAI chat completions: the frames of an answer, refusals, and the validation of requests. API keys are optional, as with Ollama and
//! vLLM.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Part, Refusal, Stop},
    request::{Complaint, Request, is_valid_tool_name, require},
};

/// The SSE events of an answer: the chunks, the usage if requested, and `[DONE]`.
pub(super) fn frames(answer: &Answer, request: &Request, index: usize) -> Vec<String> {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": format!("chatcmpl-{index:04}"), "object": "chat.completion.chunk", "created": 1_800_000_000, "model": request.model(),
            "choices": choices, "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let delta_chunk = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]), Value::Null);
    let mut frames = vec![delta_chunk(json!({"role": "assistant", "content": ""}))];
    let mut calls = 0;
    for part in &answer.parts {
        match part {
            Part::Raw(event) => frames.push(format!("{event}\n\n")),
            Part::Text(text) => frames.extend(answer.fragments_of(text).iter().map(|fragment| delta_chunk(json!({"content": fragment})))),
            Part::Reasoning(text) => {
                frames.extend(answer.fragments_of(text).iter().map(|fragment| delta_chunk(json!({"reasoning_content": fragment}))))
            }
            Part::Tool { name, input } => {
                let id = format!("call_{index:04}_{calls}");
                let function = json!({"name": name, "arguments": ""});
                frames.push(delta_chunk(json!({"tool_calls": [{"index": calls, "id": id, "type": "function", "function": function}]})));
                let arguments =
                    |fragment: &String| delta_chunk(json!({"tool_calls": [{"index": calls, "function": {"arguments": fragment}}]}));
                frames.extend(answer.fragments_of(input).iter().map(arguments));
                calls += 1;
            }
        }
    }
    let reason = match answer.stop_reason() {
        Stop::EndTurn => "stop",
        Stop::ToolUse => "tool_calls",
        Stop::MaxTokens => "length",
        Stop::Refusal => "content_filter",
        Stop::Other(word) => word,
    };
    frames.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}]), Value::Null));
    if request.body["stream_options"]["include_usage"] == true {
        frames.push(chunk(json!([]), usage(answer)));
    }
    frames.push("data: [DONE]\n\n".to_owned());
    if let Some((at, error)) = &answer.error_at {
        frames.truncate(*at);
        frames.push(format!("data: {}\n\n", refusal(error).1));
    }
    frames
}

fn usage(answer: &Answer) -> Value {
    let usage = answer.usage;
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

/// The status and the body of an error. The body is also the data of an error event. Overload has the status 503.
pub(super) fn refusal(refusal: &Refusal) -> (u16, Value) {
    let (status, kind, code) = match refusal.status {
        429 => (429, "requests", json!("rate_limit_exceeded")),
        529 => (503, "server_error", json!("overloaded")),
        status @ 400..=499 => (status, "invalid_request_error", Value::Null),
        status => (status, "server_error", Value::Null),
    };
    (status, json!({"error": {"message": refusal.message, "type": kind, "param": null, "code": code}}))
}

/// Refuses a request that the provider would refuse.
pub(super) fn check(request: &Request) -> Result<(), Complaint> {
    require(request.header("content-type").starts_with("application/json"), || "content-type must be application/json".into())?;
    let body = &request.body;
    require(body.is_object(), || "the body must be a JSON object".into())?;
    require(body["model"].is_string(), || "you must provide a model parameter".into())?;
    require(body["stream"] == true, || "stream: this model server only streams".into())?;
    for field in ["max_tokens", "max_completion_tokens"] {
        require(body[field].is_null() || body[field].as_u64().is_some_and(|n| n > 0), || format!("{field} must be a positive integer"))?;
    }
    for (i, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let function = &tool["function"];
        require(tool["type"] == "function", || format!("tools[{i}].type must be function"))?;
        require(function["name"].as_str().is_some_and(is_valid_tool_name), || {
            format!("tools[{i}].function.name must match ^[a-zA-Z0-9_-]{{1,64}}$")
        })?;
        require(function["parameters"]["type"] == "object", || format!("tools[{i}].function.parameters.type must be object"))?;
    }
    check_messages(request.messages())
}

fn check_messages(messages: &[Value]) -> Result<(), Complaint> {
    require(!messages.is_empty(), || "messages: must not be empty".into())?;
    let mut open: Vec<&str> = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let known = open.iter().position(|open| *open == id);
            require(known.is_some(), || format!("messages[{i}]: tool_call_id {id:?} answers no preceding tool call"))?;
            open.remove(known.unwrap_or_default());
            continue;
        }
        require(open.is_empty(), || format!("messages[{i}]: tool_calls {open:?} must be answered first"))?;
        require(matches!(role, "system" | "developer" | "user" | "assistant"), || format!("messages[{i}].role: unknown role {role:?}"))?;
        let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let content = &message["content"];
        let has_content = content.is_string() || content.as_array().is_some_and(|parts| !parts.is_empty());
        require(has_content || (role == "assistant" && !calls.is_empty()), || format!("messages[{i}].content: must be a text or parts"))?;
        for call in calls {
            let function = &call["function"];
            let is_complete =
                call["id"].is_string() && call["type"] == "function" && function["name"].is_string() && function["arguments"].is_string();
            require(is_complete, || format!("messages[{i}].tool_calls: each needs id, type function, name and arguments as text"))?;
            open.extend(call["id"].as_str());
        }
    }
    require(open.is_empty(), || format!("messages: tool_calls {open:?} have no answer"))
}
