//! The fields of an answer that are sent back unread: signatures, encrypted reasoning, and fields of the server's own.

use serde_json::{Map, Value};

/// Fields of a call that are sent back with it.
pub(super) const CALL_FIELDS: [&str; 4] = ["extra_content", "provider_specific_fields", "thought_signature", "signature"];
/// Fields of a message that are sent back with it. The last delta counts.
const MESSAGE_FIELDS: [&str; 2] = ["extra_content", "provider_specific_fields"];
/// Fields with reasoning as text. A server that has sent one of them, even if it was empty, may refuse the message without it.
pub(super) const TEXT_FIELDS: [&str; 2] = ["reasoning_content", "reasoning"];
/// The fields of a list entry whose fragments are joined.
const JOINED: [&str; 4] = ["text", "summary", "data", "thinking"];

/// Copies the given fields of an object.
pub(super) fn keep(fields: &[&str], from: &Value, to: &mut Map<String, Value>) {
    for field in fields {
        match (to.get_mut(*field), &from[*field]) {
            (_, Value::Null) => {}
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new.clone()),
            (_, value) => drop(to.insert((*field).to_owned(), value.clone())),
        }
    }
}

/// The opaque fields of one message.
#[derive(Debug, Default)]
pub(super) struct OpaqueFields {
    fields: Map<String, Value>,
    details: Vec<Value>,
    blocks: Vec<Value>,
}

impl OpaqueFields {
    /// Adds the fields of a delta.
    pub(super) fn delta(&mut self, delta: &Value) {
        keep(&MESSAGE_FIELDS, delta, &mut self.fields);
        for field in TEXT_FIELDS {
            if delta[field].is_string() {
                self.fields.entry(field).or_insert_with(|| "".into());
            }
        }
        for fragment in delta["reasoning_details"].as_array().into_iter().flatten() {
            add_detail(&mut self.details, fragment);
        }
        for fragment in delta["thinking_blocks"].as_array().into_iter().flatten() {
            add_block(&mut self.blocks, fragment);
        }
    }

    /// Takes all fields by name.
    pub(super) fn take(&mut self) -> Map<String, Value> {
        let mut fields = std::mem::take(&mut self.fields);
        for (name, list) in [("reasoning_details", &mut self.details), ("thinking_blocks", &mut self.blocks)] {
            if !list.is_empty() {
                fields.insert(name.to_owned(), std::mem::take(list).into());
            }
        }
        fields
    }
}

/// The text in the lists of reasoning, for viewers.
pub(super) fn reasoning_text(delta: &Value) -> String {
    let details = delta["reasoning_details"].as_array().into_iter().flatten();
    let from_details = details.filter_map(|detail| detail["text"].as_str().or_else(|| detail["summary"].as_str()));
    let blocks = delta["thinking_blocks"].as_array().into_iter().flatten().filter_map(|block| block["thinking"].as_str());
    let text: String = from_details.collect();
    if text.is_empty() { blocks.collect() } else { text }
}

/// Joins fragments with the same index and type to one entry.
fn add_detail(all: &mut Vec<Value>, fragment: &Value) {
    let same =
        |detail: &&mut Value| !fragment["index"].is_null() && detail["index"] == fragment["index"] && detail["type"] == fragment["type"];
    match all.iter_mut().rev().find(same) {
        Some(detail) => join(detail, fragment),
        None => all.push(fragment.clone()),
    }
}

/// Joins fragments to one block until the block has a signature.
fn add_block(all: &mut Vec<Value>, fragment: &Value) {
    let open = |block: &&mut Value| {
        block["type"] == fragment["type"] && block["thinking"].is_string() && block["signature"].as_str().unwrap_or_default().is_empty()
    };
    match all.last_mut().filter(open) {
        Some(block) => join(block, fragment),
        None => all.push(fragment.clone()),
    }
}

fn join(entry: &mut Value, fragment: &Value) {
    let (Some(entry), Some(fragment)) = (entry.as_object_mut(), fragment.as_object()) else { return };
    for (name, new) in fragment {
        match (entry.get_mut(name), new) {
            (_, Value::Null) => {}
            (Some(Value::String(old)), Value::String(new)) if JOINED.contains(&name.as_str()) => old.push_str(new),
            _ => drop(entry.insert(name.clone(), new.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn collected(deltas: &[Value]) -> Value {
        let mut fields = OpaqueFields::default();
        deltas.iter().for_each(|delta| fields.delta(delta));
        Value::Object(fields.take())
    }

    #[test]
    fn fragments_of_one_entry_are_joined() {
        let detail = |index: u32, text: &str, signature: Value| json!({"type": "reasoning.text", "index": index, "text": text, "signature": signature});
        assert_eq!(
            collected(&[
                json!({"reasoning_details": [detail(0, "a", Value::Null)]}),
                json!({"reasoning_details": [detail(0, "b", json!("s0")), detail(1, "c", Value::Null)]}),
                json!({"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "x"}]}),
                json!({"reasoning_details": [detail(1, "d", json!("s1"))]}),
            ]),
            json!({"reasoning_details": [detail(0, "ab", json!("s0")), detail(1, "cd", json!("s1")), {"type": "reasoning.encrypted", "index": 1, "data": "x"}]})
        );
        let encrypted = json!({"type": "reasoning.encrypted", "data": "x"});
        let two = json!({"reasoning_details": [encrypted, encrypted]});
        assert_eq!(collected(std::slice::from_ref(&two)), two, "without an index each fragment is an entry");
        let block =
            |text: &str, signature: &str| json!({"thinking_blocks": [{"type": "thinking", "thinking": text, "signature": signature}]});
        assert_eq!(
            collected(&[block("a", ""), block("b", ""), block("", "s"), block("c", "t")]),
            json!({"thinking_blocks": [{"type": "thinking", "thinking": "ab", "signature": "s"}, {"type": "thinking", "thinking": "c", "signature": "t"}]})
        );
    }

    #[test]
    fn fields_are_kept_unchanged() {
        assert_eq!(collected(&[json!({"content": "x", "role": "assistant", "reasoning_content": null})]), json!({}));
        assert_eq!(collected(&[json!({"reasoning_content": ""})]), json!({"reasoning_content": ""}));
        assert_eq!(
            collected(&[json!({"extra_content": {"google": {"thought_signature": "a"}}}), json!({"extra_content": {"x": 1}})]),
            json!({"extra_content": {"google": {"thought_signature": "a"}, "x": 1}})
        );
    }
}
