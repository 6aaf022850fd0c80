//! A request in the words of chat completions.

use serde_json::{Map, Value, json};

use super::{Dialect, NAME};
use crate::provider::{AssistantBlock, MaxTokensField, ModelMessage, ModelRequest, ToolResult, ToolSpec, calls::arguments_object};

pub(super) fn body(request: &ModelRequest, dialect: &Dialect, is_openai: bool) -> Value {
    let max_tokens = match dialect.max_tokens {
        MaxTokensField::MaxTokens => "max_tokens",
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
    };
    let mut body = json!({"model": request.model, max_tokens: request.max_tokens, "stream": true});
    if dialect.stream_options {
        body["stream_options"] = json!({"include_usage": true});
    }
    if dialect.without_reasoning {
        body["reasoning_effort"] = "none".into();
    }
    if is_openai {
        body["prompt_cache_key"] = request.prompt_key.as_str().into();
    }
    // An empty list is an error for some.
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().copied().map(tool).collect();
    }
    let system = (!request.system.is_empty()).then(|| json!({"role": "system", "content": request.system}));
    body["messages"] = system.into_iter().chain(request.messages.iter().flat_map(messages)).collect();
    body
}

fn tool(spec: &ToolSpec) -> Value {
    json!({"type": "function", "function": {"name": spec.name, "description": spec.description, "parameters": spec.input_schema}})
}

fn messages(message: &ModelMessage) -> Vec<Value> {
    match message {
        ModelMessage::User { text } => vec![json!({"role": "user", "content": text})],
        ModelMessage::Assistant { blocks } => assistant(blocks).into_iter().collect(),
        ModelMessage::ToolResults(results) => results.iter().map(tool_result).collect(),
    }
}

/// One message: text joined, calls in order, reasoning in the field that it came in.
fn assistant(blocks: &[AssistantBlock]) -> Option<Value> {
    let (mut text, mut calls, mut reasoning) = (String::new(), Vec::new(), Map::new());
    for block in blocks {
        match block {
            AssistantBlock::Text(more) => text.push_str(more),
            AssistantBlock::ToolCall { id, tool, input } => {
                let arguments = arguments_object(input).to_string();
                calls.push(json!({"id": id, "type": "function", "function": {"name": tool, "arguments": arguments}}));
            }
            AssistantBlock::Reasoning { text, opaque } if opaque["provider"] == NAME => add_reasoning(&mut reasoning, text, opaque),
            AssistantBlock::Reasoning { .. } => {}
        }
    }
    if text.is_empty() && calls.is_empty() {
        return None;
    }
    let content = if text.is_empty() { Value::Null } else { text.into() };
    let mut message = json!({"role": "assistant", "content": content});
    if !calls.is_empty() {
        // Reasoning belongs to the calls that it led to; a backend that wants it back wants it only there.
        for (field, value) in reasoning {
            message[field.as_str()] = value;
        }
        message["tool_calls"] = calls.into();
    }
    Some(message)
}

fn add_reasoning(reasoning: &mut Map<String, Value>, text: &str, opaque: &Value) {
    if let Some(field) = opaque["field"].as_str() {
        let so_far = reasoning.entry(field).or_insert_with(|| Value::String(String::new()));
        *so_far = Value::String(format!("{}{text}", so_far.as_str().unwrap_or_default()));
    }
    if let (Some(details), Some(all)) =
        (opaque["details"].as_array(), reasoning.entry("reasoning_details").or_insert_with(|| Value::Array(Vec::new())).as_array_mut())
    {
        all.extend(details.iter().cloned());
    }
    if reasoning.get("reasoning_details").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        reasoning.remove("reasoning_details");
    }
}

fn tool_result(result: &ToolResult) -> Value {
    // The protocol has no field for a failure.
    let content = if result.is_error { format!("Error: {}", result.content) } else { result.content.clone() };
    json!({"role": "tool", "tool_call_id": result.call_id, "content": content})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(messages: Vec<ModelMessage>) -> ModelRequest {
        static LIST: std::sync::LazyLock<ToolSpec> =
            std::sync::LazyLock::new(|| ToolSpec { name: "list_files", description: "Lists.", input_schema: json!({"type": "object"}) });
        let tools = vec![&*LIST];
        ModelRequest { model: "m".into(), system: "Be brief.".into(), messages, tools, max_tokens: 9, prompt_key: "turn".into() }
    }

    const PLAIN: Dialect = Dialect { stream_options: true, max_tokens: MaxTokensField::MaxTokens, without_reasoning: false };

    #[test]
    fn a_whole_turn_byte_for_byte() {
        let blocks = vec![
            AssistantBlock::Reasoning {
                text: "hm".into(),
                opaque: json!({"provider": "openai", "field": "reasoning", "details": [{"type": "x", "data": "y"}]}),
            },
            AssistantBlock::Reasoning { text: "of another".into(), opaque: json!({"provider": "anthropic", "signature": "s"}) },
            AssistantBlock::Text("Looking.".into()),
            AssistantBlock::ToolCall { id: "c1".into(), tool: "list_files".into(), input: json!({"a": 1}) },
            AssistantBlock::ToolCall { id: "c2".into(), tool: "list_files".into(), input: json!("{\"a") },
        ];
        let results = vec![
            ToolResult { call_id: "c1".into(), content: "none".into(), is_error: false },
            ToolResult { call_id: "c2".into(), content: "no object".into(), is_error: true },
        ];
        let messages = vec![
            ModelMessage::User { text: "Hi".into() },
            ModelMessage::Assistant { blocks },
            ModelMessage::ToolResults(results),
            ModelMessage::Assistant { blocks: Vec::new() },
            ModelMessage::Assistant { blocks: vec![AssistantBlock::Text("Done.".into())] },
        ];
        let expected = concat!(
            r#"{"model":"m","max_tokens":9,"stream":true,"stream_options":{"include_usage":true},"#,
            r#""tools":[{"type":"function","function":{"name":"list_files","description":"Lists.","parameters":{"type":"object"}}}],"messages":["#,
            r#"{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},"#,
            r#"{"role":"assistant","content":"Looking.","reasoning":"hm","reasoning_details":[{"type":"x","data":"y"}],"tool_calls":["#,
            r#"{"id":"c1","type":"function","function":{"name":"list_files","arguments":"{\"a\":1}"}},"#,
            r#"{"id":"c2","type":"function","function":{"name":"list_files","arguments":"{\"invalid\":\"{\\\"a\"}"}}]},"#,
            r#"{"role":"tool","tool_call_id":"c1","content":"none"},{"role":"tool","tool_call_id":"c2","content":"Error: no object"},"#,
            r#"{"role":"assistant","content":"Done."}]}"#,
        );
        assert_eq!(body(&request(messages), &PLAIN, false).to_string(), expected);
    }

    #[test]
    fn every_dialect() {
        let mut bare = request(vec![ModelMessage::User { text: "Hi".into() }]);
        bare.tools.clear();
        bare.system.clear();
        let dialect = Dialect { stream_options: false, max_tokens: MaxTokensField::MaxCompletionTokens, without_reasoning: true };
        let expected = r#"{"model":"m","max_completion_tokens":9,"stream":true,"reasoning_effort":"none","prompt_cache_key":"turn","messages":[{"role":"user","content":"Hi"}]}"#;
        assert_eq!(body(&bare, &dialect, true).to_string(), expected);
    }
}
