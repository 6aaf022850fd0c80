//! What both dialects need for tool calls: names that are unique within the turn, and arguments that were streamed.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{ModelMessage, ModelRequest};

/// The longest id of a call that OpenAI takes back.
const MAX_ID_BYTES: usize = 40;

/// Names blocks and calls so that no two of a turn are the same. The number of messages that are not the user's grows with
/// every step, so it tells the steps of a turn apart without a counter.
pub(super) struct Names {
    step: usize,
    next: usize,
    calls: BTreeSet<String>,
}

impl Names {
    pub(super) fn new(request: &ModelRequest) -> Self {
        let step = 1 + request.messages.iter().filter(|m| !matches!(m, ModelMessage::User { .. })).count();
        Self { step, next: 0, calls: request.calls().map(|(id, _)| id.to_owned()).collect() }
    }

    /// Whether an id is nothing that names a call here: clients and providers take short ones of plain characters. The provider
    /// that made it gets it back.
    pub(super) fn is_foreign(wire_id: &str) -> bool {
        wire_id.len() > MAX_ID_BYTES || !wire_id.bytes().all(|byte| byte.is_ascii_graphic())
    }

    pub(super) fn block(&mut self) -> String {
        self.next += 1;
        format!("b{}.{}", self.step, self.next)
    }

    /// The provider's own id unless it is empty, foreign or was used before: some count from zero in every answer.
    pub(super) fn call(&mut self, wire_id: &str) -> String {
        let mut id = if Self::is_foreign(wire_id) { String::new() } else { wire_id.to_owned() };
        while id.is_empty() || self.calls.contains(&id) {
            self.next += 1;
            id = format!("call_{}_{}", self.step, self.next);
        }
        self.calls.insert(id.clone());
        id
    }
}

/// What a provider wants back with a call: its own id, where that could not name the call here, and fields as it sent them. Null
/// if there is nothing.
pub(super) fn opaque<const N: usize>(provider: &str, wire_id: &str, parts: [(&str, Map<String, Value>); N]) -> Value {
    let mut opaque = Map::new();
    if Names::is_foreign(wire_id) {
        opaque.insert("id".to_owned(), wire_id.into());
    }
    opaque.extend(parts.into_iter().filter(|(_, fields)| !fields.is_empty()).map(|(name, fields)| (name.to_owned(), fields.into())));
    if opaque.is_empty() {
        return Value::Null;
    }
    opaque.insert("provider".to_owned(), provider.into());
    opaque.into()
}

/// The provider's own ids of calls that have another one here.
pub(super) fn wire_ids<'r>(request: &'r ModelRequest, provider: &str) -> HashMap<&'r str, &'r str> {
    let ours = request.calls().filter(|(_, opaque)| opaque["provider"] == provider);
    ours.filter_map(|(id, opaque)| Some((id, opaque["id"].as_str()?))).collect()
}

/// The arguments of a call; no text means no arguments.
pub(super) fn parse_arguments(json: &str) -> Option<Value> {
    if json.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    serde_json::from_str::<FirstWins>(json).ok().map(|object| Value::Object(object.0))
}

/// Both protocols take back only objects.
pub(super) fn arguments_object(input: &Value) -> Value {
    match input {
        Value::Object(_) => input.clone(),
        other => Value::Object(Map::from_iter([("invalid".to_owned(), other.clone())])),
    }
}

struct FirstWins(Map<String, Value>);

impl<'de> Deserialize<'de> for FirstWins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = FirstWins;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<FirstWins, A::Error> {
                crate::model::json::first_wins(access).map(FirstWins)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::provider::AssistantBlock;

    fn request(messages: Vec<ModelMessage>) -> ModelRequest {
        ModelRequest { model: String::new(), system: String::new(), messages, tools: Vec::new(), max_tokens: 1, prompt_key: String::new() }
    }

    #[test]
    fn names_differ_between_the_steps_of_a_turn() {
        let user = ModelMessage::User { text: "x".into() };
        let call = AssistantBlock::ToolCall { id: "call_0".into(), tool: "t".into(), input: json!({}), opaque: Value::Null };
        let mut first = Names::new(&request(vec![user.clone()]));
        let mut second =
            Names::new(&request(vec![user, ModelMessage::Assistant { blocks: vec![call] }, ModelMessage::ToolResults(Vec::new())]));
        assert_eq!([first.block(), first.block(), second.block()], ["b1.1", "b1.2", "b3.1"]);
        assert_eq!([first.call("call_0"), first.call(""), first.call("call_0")], ["call_0", "call_1_3", "call_1_4"]);
        assert_eq!([second.call("call_0"), second.call("toolu_1")], ["call_3_2", "toolu_1"]);
        assert_eq!([second.call(&"x".repeat(41)), second.call("a\nb"), second.call("é")], ["call_3_3", "call_3_4", "call_3_5"]);
    }

    #[test]
    fn arguments_are_an_object_or_nothing() {
        assert_eq!(parse_arguments(""), Some(json!({})));
        assert_eq!(parse_arguments(r#" {"a":[1]} "#), Some(json!({"a":[1]})));
        assert_eq!(parse_arguments(r#"{"a":1,"a":2}"#), Some(json!({"a":1})));
        for text in ["[1]", "\"x\"", "{\"a\":", "{} {}", "null"] {
            assert_eq!(parse_arguments(text), None, "{text}");
        }
        assert_eq!(arguments_object(&json!("{\"a\":")), json!({"invalid":"{\"a\":"}));
    }
}
