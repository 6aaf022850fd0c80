//! Encodes requests for chat completions.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    Dialect, NAME,
    content::{TAGS, THINKING_PART},
};
use crate::model::provider::{
    AssistantBlock, MaxTokensField, ModelMessage, ModelRequest, ToolResult, ToolSpec,
    calls::{arguments_object, wire_ids},
};

/// `max_tokens` is the limit of the request, or a lower one that the model accepts.
pub(super) fn body(request: &ModelRequest, dialect: &Dialect, max_tokens: u32, is_openai: bool) -> Value {
    let field = match dialect.max_tokens {
        MaxTokensField::MaxTokens => "max_tokens",
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
    };
    let mut body = json!({"model": request.model, field: max_tokens, "stream": true});
    if dialect.stream_options {
        body["stream_options"] = json!({"include_usage": true});
    }
    if dialect.without_reasoning {
        body["reasoning_effort"] = "none".into();
    }
    if is_openai {
        body["prompt_cache_key"] = request.prompt_key.as_str().into();
    }
    // Some servers refuse an empty list.
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().copied().map(tool).collect();
    }
    let system = (!request.system.is_empty()).then(|| json!({"role": "system", "content": request.system}));
    let ids = wire_ids(request, NAME);
    let mut sent: Vec<Value> = request.messages.iter().flat_map(|message| messages(message, &ids)).collect();
    before_first(&mut sent, &request.tree);
    body["messages"] = system.into_iter().chain(sent).collect();
    body
}

/// Puts a text before the first one of the user.
fn before_first(messages: &mut Vec<Value>, text: &str) {
    if text.is_empty() {
        return;
    }
    match messages.first_mut().filter(|first| first["role"] == "user") {
        Some(first) => first["content"] = format!("{text}{}", first["content"].as_str().unwrap_or_default()).into(),
        None => messages.insert(0, json!({"role": "user", "content": text})),
    }
}

fn tool(spec: &ToolSpec) -> Value {
    json!({"type": "function", "function": {"name": spec.name, "description": spec.description, "parameters": spec.input_schema}})
}

fn messages(message: &ModelMessage, ids: &HashMap<&str, &str>) -> Vec<Value> {
    match message {
        ModelMessage::User { text } => vec![json!({"role": "user", "content": text})],
        ModelMessage::Assistant { blocks } => assistant(blocks, ids).into_iter().collect(),
        ModelMessage::ToolResults(results) => results.iter().map(|result| tool_result(result, ids)).collect(),
    }
}

/// Builds an assistant message. Everything that the server needs back is put where it came from.
#[derive(Default)]
struct AssistantMessage {
    text: String,
    /// Typed parts of reasoning, which go before the text.
    parts: Vec<Value>,
    calls: Vec<Value>,
    fields: Map<String, Value>,
}

fn assistant(blocks: &[AssistantBlock], ids: &HashMap<&str, &str>) -> Option<Value> {
    let mut message = AssistantMessage::default();
    for block in blocks {
        match block {
            AssistantBlock::Text(more) => message.text.push_str(more),
            AssistantBlock::ToolCall { id, tool, input, opaque } => {
                message.call(ids.get(id.as_str()).unwrap_or(&id.as_str()), tool, input, opaque)
            }
            AssistantBlock::Reasoning { text, opaque } if opaque["provider"] == NAME => message.reasoning(text, opaque),
            AssistantBlock::Reasoning { .. } => {}
        }
    }
    message.finish()
}

impl AssistantMessage {
    fn call(&mut self, id: &str, tool: &str, input: &Value, opaque: &Value) {
        let arguments = arguments_object(input).to_string();
        let mut call = json!({"id": id, "type": "function", "function": {"name": tool, "arguments": arguments}});
        if opaque["provider"] == NAME {
            for (field, value) in opaque["fields"].as_object().into_iter().flatten() {
                call[field.as_str()] = value.clone();
            }
            for (field, value) in opaque["message"].as_object().into_iter().flatten() {
                // An empty text means that the server sent the field. Its text is in the blocks of reasoning.
                self.fields.entry(field.as_str()).or_insert_with(|| value.clone());
            }
        }
        self.calls.push(call);
    }

    fn reasoning(&mut self, text: &str, opaque: &Value) {
        match opaque["field"].as_str() {
            Some(THINKING_PART) => self.parts.push(json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]})),
            Some(field) => match TAGS.iter().find(|(open, _)| *open == field) {
                Some((open, close)) => self.text.push_str(&format!("{open}{text}{close}")),
                None => {
                    let before = self.fields.get(field).and_then(Value::as_str).unwrap_or_default();
                    self.fields.insert(field.to_owned(), format!("{before}{text}").into());
                }
            },
            None => {}
        }
        // The previous release stored the details here.
        if let Some(details) = opaque["details"].as_array() {
            let all = self.fields.entry("reasoning_details").or_insert_with(|| Value::Array(Vec::new()));
            if let Some(all) = all.as_array_mut() {
                all.extend(details.iter().cloned());
            }
        }
    }

    fn finish(self) -> Option<Value> {
        let Self { text, mut parts, calls, fields } = self;
        if text.is_empty() && calls.is_empty() {
            return None;
        }
        let content = match (parts.is_empty(), text.is_empty()) {
            (true, true) => Value::Null,
            (true, false) => text.into(),
            (false, empty) => {
                parts.extend((!empty).then(|| json!({"type": "text", "text": text})));
                parts.into()
            }
        };
        let mut message = json!({"role": "assistant", "content": content});
        if !calls.is_empty() {
            // Servers need reasoning back only in messages with calls.
            for (field, value) in fields {
                message[field.as_str()] = value;
            }
            message["tool_calls"] = calls.into();
        }
        Some(message)
    }
}

fn tool_result(result: &ToolResult, ids: &HashMap<&str, &str>) -> Value {
    // The protocol has no field for failures.
    let content = if result.is_error { format!("Error: {}", result.content) } else { result.content.clone() };
    let id = result.call_id.as_str();
    json!({"role": "tool", "tool_call_id": ids.get(id).unwrap_or(&id), "content": content})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(messages: Vec<ModelMessage>) -> ModelRequest {
        static LIST: std::sync::LazyLock<ToolSpec> =
            std::sync::LazyLock::new(|| ToolSpec { name: "list_files", description: "Lists.", input_schema: json!({"type": "object"}) });
        let tools = vec![&*LIST];
        ModelRequest {
            model: "m".into(),
            system: "Be brief.".into(),
            tree: String::new(),
            messages,
            history: 0,
            tools,
            max_tokens: 9,
            prompt_key: "turn".into(),
        }
    }

    #[test]
    fn the_files_come_before_the_first_message() {
        let of = |messages| body(&ModelRequest { tree: "Files.\n\n".into(), ..request(messages) }, &PLAIN, 9, false)["messages"].clone();
        let sent = of(vec![ModelMessage::User { text: "Hi".into() }]);
        assert_eq!(sent[1], json!({"role": "user", "content": "Files.\n\nHi"}));
        assert_eq!(of(Vec::new())[1], json!({"role": "user", "content": "Files.\n\n"}));
    }

    const PLAIN: Dialect = Dialect { stream_options: true, max_tokens: MaxTokensField::MaxTokens, without_reasoning: false };

    #[test]
    fn the_request_of_a_turn_is_stable() {
        let blocks = vec![
            AssistantBlock::Reasoning {
                text: "hm".into(),
                opaque: json!({"provider": "openai", "field": "reasoning", "details": [{"type": "x", "data": "y"}]}),
            },
            AssistantBlock::Reasoning { text: "of another".into(), opaque: json!({"provider": "anthropic", "signature": "s"}) },
            AssistantBlock::Text("Looking.".into()),
            AssistantBlock::ToolCall { id: "c1".into(), tool: "list_files".into(), input: json!({"a": 1}), opaque: Value::Null },
            AssistantBlock::ToolCall { id: "c2".into(), tool: "list_files".into(), input: json!("{\"a"), opaque: Value::Null },
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
        assert_eq!(body(&request(messages), &PLAIN, 9, false).to_string(), expected);
    }

    #[test]
    fn the_dialect_selects_the_fields() {
        let mut bare = request(vec![ModelMessage::User { text: "Hi".into() }]);
        bare.tools.clear();
        bare.system.clear();
        let dialect = Dialect { stream_options: false, max_tokens: MaxTokensField::MaxCompletionTokens, without_reasoning: true };
        let expected = r#"{"model":"m","max_completion_tokens":9,"stream":true,"reasoning_effort":"none","prompt_cache_key":"turn","messages":[{"role":"user","content":"Hi"}]}"#;
        assert_eq!(body(&bare, &dialect, 9, true).to_string(), expected);
    }

    #[test]
    fn opaque_fields_are_sent_back_where_they_came_from() {
        let reasoning = |field: &str, text: &str| AssistantBlock::Reasoning {
            text: text.into(),
            opaque: json!({"provider": "openai", "field": field}),
        };
        let call = |opaque: Value| AssistantBlock::ToolCall { id: "call_1_1".into(), tool: "list_files".into(), input: json!({}), opaque };
        let long = "i".repeat(50);
        let opaque = json!({
            "provider": "openai", "id": long, "fields": {"extra_content": {"google": {"thought_signature": "s"}}},
            "message": {"reasoning_content": "", "reasoning_details": [{"index": 0}], "thinking_blocks": [1]},
        });
        let sent = |blocks: Vec<AssistantBlock>| {
            let results = vec![ToolResult { call_id: "call_1_1".into(), content: "none".into(), is_error: false }];
            let request = request(vec![ModelMessage::Assistant { blocks }, ModelMessage::ToolResults(results)]);
            body(&request, &PLAIN, 9, false)["messages"].as_array().unwrap()[1..].to_vec()
        };
        let messages = sent(vec![reasoning("reasoning_content", "h"), reasoning("reasoning_content", "m"), call(opaque.clone())]);
        let function = json!({"name": "list_files", "arguments": "{}"});
        assert_eq!(
            messages[0],
            json!({
                "role": "assistant", "content": null, "reasoning_content": "hm", "reasoning_details": [{"index": 0}], "thinking_blocks": [1],
                "tool_calls": [{"id": long, "type": "function", "function": function, "extra_content": {"google": {"thought_signature": "s"}}}],
            })
        );
        assert_eq!(messages[1]["tool_call_id"], long);
        assert_eq!(sent(vec![call(opaque)])[0]["reasoning_content"], "", "the server sent an empty field");
        let tagged = sent(vec![reasoning("<think>", "hm"), AssistantBlock::Text("Yes".into()), call(Value::Null)]);
        assert_eq!(tagged[0]["content"], "<think>hm</think>Yes");
        let parts = sent(vec![reasoning(THINKING_PART, "hm"), AssistantBlock::Text("Yes".into()), call(Value::Null)]);
        assert_eq!(
            parts[0]["content"],
            json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Yes"}])
        );
        let foreign = json!({"provider": "anthropic", "id": "x", "fields": {"a": 1}, "message": {"b": 2}});
        assert_eq!(sent(vec![call(foreign)])[0]["tool_calls"][0], json!({"id": "call_1_1", "type": "function", "function": function}));
    }
}
