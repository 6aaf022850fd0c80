//! Encodes requests for the Messages API. The order of keys and tools is stable, and `cache_control` marks let the provider cache everything
//! before them. The last mark, after the newest block, is for the next step of the turn. The others are for the next turns: each ends before
//! a part that may be another one then.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::NAME;
use crate::model::provider::{
    AssistantBlock, ModelMessage, ModelRequest, ToolResult, ToolSpec,
    calls::{arguments_object, wire_ids},
};

/// `paused` is the content before each pause, which is sent back unchanged. `max_tokens` is the limit of the request, or a lower one that
/// the model accepts.
pub(super) fn body(request: &ModelRequest, paused: &[Vec<Value>], max_tokens: u32) -> Value {
    let ids = wire_ids(request, NAME);
    let (history, turn) = request.messages.split_at(request.history.min(request.messages.len()));
    let encode = |messages: &[ModelMessage]| -> Vec<Value> { messages.iter().filter_map(|each| message(each, &ids)).collect() };
    let (mut messages, mut turn) = (encode(history), encode(turn));
    let has_history = messages.last_mut().is_some_and(|message| mark(last_block(message)));
    mark(turn.iter_mut().rev().find(|message| message["role"] == "user").and_then(last_block));
    messages.append(&mut turn);
    if let Some(mut tree) = text_block(&request.tree) {
        mark(Some(&mut tree));
        before_first(&mut messages, tree);
    }
    let mut body = json!({"model": request.model, "max_tokens": max_tokens, "stream": true});
    if !request.tools.is_empty() {
        let mut tools: Vec<Value> = request.tools.iter().copied().map(tool).collect();
        if !has_history {
            // At most four marks are allowed. Agents change less often than conversations grow.
            mark(tools.last_mut());
        }
        body["tools"] = tools.into();
    }
    if !request.system.is_empty() {
        body["system"] = json!([{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}]);
    }
    messages.extend(paused.iter().map(|content| json!({"role": "assistant", "content": content})));
    body["messages"] = messages.into();
    body
}

fn last_block(message: &mut Value) -> Option<&mut Value> {
    message["content"].as_array_mut()?.last_mut()
}

/// Marks the end of what can be cached. Returns whether there is a block to mark.
fn mark(block: Option<&mut Value>) -> bool {
    match block {
        Some(block) => block["cache_control"] = json!({"type": "ephemeral"}),
        None => return false,
    }
    true
}

/// Puts a block before the first one of the user.
fn before_first(messages: &mut Vec<Value>, block: Value) {
    match messages.first_mut().filter(|first| first["role"] == "user").and_then(|first| first["content"].as_array_mut()) {
        Some(content) => content.insert(0, block),
        None => messages.insert(0, json!({"role": "user", "content": [block]})),
    }
}

fn tool(spec: &ToolSpec) -> Value {
    json!({"name": spec.name, "description": spec.description, "input_schema": spec.input_schema})
}

/// `None` for a message without content. The API refuses empty text.
fn message(message: &ModelMessage, ids: &HashMap<&str, &str>) -> Option<Value> {
    let (role, content): (_, Vec<Value>) = match message {
        ModelMessage::User { text } => ("user", text_block(text).into_iter().collect()),
        ModelMessage::Assistant { blocks } => ("assistant", blocks.iter().filter_map(|block| assistant_block(block, ids)).collect()),
        ModelMessage::ToolResults(results) => ("user", results.iter().map(|result| tool_result(result, ids)).collect()),
    };
    (!content.is_empty()).then(|| json!({"role": role, "content": content}))
}

fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

fn assistant_block(block: &AssistantBlock, ids: &HashMap<&str, &str>) -> Option<Value> {
    match block {
        AssistantBlock::Text(text) => text_block(text),
        AssistantBlock::ToolCall { id, tool, input, opaque } => {
            let id = ids.get(id.as_str()).unwrap_or(&id.as_str()).to_owned();
            let mut call = json!({"type": "tool_use", "id": id, "name": tool, "input": arguments_object(input)});
            if opaque["provider"] == NAME {
                for (field, value) in opaque["fields"].as_object().into_iter().flatten() {
                    call[field.as_str()] = value.clone();
                }
            }
            Some(call)
        }
        AssistantBlock::Reasoning { text, opaque } if opaque["provider"] == NAME => {
            if let Some(block) = opaque.get("block") {
                return Some(block.clone());
            }
            if let Some(signature) = opaque["signature"].as_str() {
                return Some(json!({"type": "thinking", "thinking": text, "signature": signature}));
            }
            Some(json!({"type": "redacted_thinking", "data": opaque["data"].as_str()?}))
        }
        AssistantBlock::Reasoning { .. } => None,
    }
}

fn tool_result(result: &ToolResult, ids: &HashMap<&str, &str>) -> Value {
    let id = result.call_id.as_str();
    let mut block = json!({"type": "tool_result", "tool_use_id": ids.get(id).unwrap_or(&id), "content": result.content});
    if result.is_error {
        block["is_error"] = true.into();
    }
    block
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
            prompt_key: "t".into(),
        }
    }

    #[test]
    fn the_request_of_a_turn_is_stable() {
        let thinking = json!({"provider": "anthropic", "signature": "c2ln"});
        let messages = vec![
            ModelMessage::User { text: "Hi".into() },
            ModelMessage::Assistant {
                blocks: vec![
                    AssistantBlock::Reasoning { text: "hm".into(), opaque: thinking },
                    AssistantBlock::Reasoning { text: String::new(), opaque: json!({"provider": "anthropic", "data": "ZGF0YQ"}) },
                    AssistantBlock::Reasoning { text: "of another".into(), opaque: json!({"provider": "openai"}) },
                    AssistantBlock::Reasoning { text: "lost".into(), opaque: Value::Null },
                    AssistantBlock::Text(" \n".into()),
                    AssistantBlock::Text("Looking.".into()),
                    AssistantBlock::ToolCall { id: "toolu_1".into(), tool: "list_files".into(), input: json!({}), opaque: Value::Null },
                    AssistantBlock::ToolCall { id: "toolu_2".into(), tool: "list_files".into(), input: json!("{\"a"), opaque: Value::Null },
                ],
            },
            ModelMessage::ToolResults(vec![
                ToolResult { call_id: "toolu_1".into(), content: "none".into(), is_error: false },
                ToolResult { call_id: "toolu_2".into(), content: "no object".into(), is_error: true },
            ]),
        ];
        let expected = concat!(
            r#"{"model":"m","max_tokens":9,"stream":true,"tools":[{"name":"list_files","description":"Lists.","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"#,
            r#""system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":["#,
            r#"{"role":"user","content":[{"type":"text","text":"Hi"}]},"#,
            r#"{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"redacted_thinking","data":"ZGF0YQ"},"#,
            r#"{"type":"text","text":"Looking."},{"type":"tool_use","id":"toolu_1","name":"list_files","input":{}},"#,
            r#"{"type":"tool_use","id":"toolu_2","name":"list_files","input":{"invalid":"{\"a"}}]},"#,
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"none"},"#,
            r#"{"type":"tool_result","tool_use_id":"toolu_2","content":"no object","is_error":true,"cache_control":{"type":"ephemeral"}}]}]}"#,
        );
        assert_eq!(body(&request(messages), &[], 9).to_string(), expected);
    }

    #[test]
    fn empty_messages_and_fields_are_left_out() {
        let mut bare = request(vec![ModelMessage::Assistant { blocks: Vec::new() }, ModelMessage::User { text: "Hi".into() }]);
        bare.system.clear();
        bare.tools.clear();
        let expected = r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}]}"#;
        assert_eq!(body(&bare, &[], 9).to_string(), expected);
    }

    #[test]
    fn there_are_at_most_four_marks() {
        let text = |text: &str| ModelMessage::User { text: text.into() };
        let answer = || ModelMessage::Assistant { blocks: vec![AssistantBlock::Text("Done.".into())] };
        let marks = |request: &ModelRequest| {
            let body = body(request, &[], 9);
            let all = [body["tools"].as_array(), body["system"].as_array()].into_iter().flatten().flatten();
            let blocks =
                body["messages"].as_array().into_iter().flatten().flat_map(|message| message["content"].as_array().into_iter().flatten());
            let marked = all.chain(blocks).filter(|block| block.get("cache_control").is_some());
            marked.map(|block| block["name"].as_str().or(block["text"].as_str()).unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let first = ModelRequest { tree: "Files.".into(), ..request(vec![text("One")]) };
        assert_eq!(marks(&first), ["list_files", "Be brief.", "Files.", "One"]);
        let second =
            ModelRequest { history: 2, ..ModelRequest { tree: "Files.".into(), ..request(vec![text("One"), answer(), text("Two")]) } };
        assert_eq!(marks(&second), ["Be brief.", "Files.", "Done.", "Two"]);
        let bare = ModelRequest { tree: String::new(), ..second };
        assert_eq!(marks(&bare), ["Be brief.", "Done.", "Two"]);
    }

    #[test]
    fn the_content_before_a_pause_is_sent_back() {
        let paused = vec![json!({"type": "server_tool_use", "id": "srv"})];
        let body = body(&request(vec![ModelMessage::User { text: "Hi".into() }]), &[paused], 9);
        assert_eq!(body["messages"][1], json!({"role": "assistant", "content": [{"type": "server_tool_use", "id": "srv"}]}));
    }
}
