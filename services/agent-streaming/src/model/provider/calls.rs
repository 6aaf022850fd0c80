//! Tool calls: ids that are unique within the turn, and arguments. Shared by the Anthropic and the OpenAI provider.

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

/// The longest call id that OpenAI accepts.
const MAX_ID_BYTES: usize = 40;

/// Generates ids of blocks and calls that are unique within the turn. The ids contain the number of messages that are not from the user,
/// which grows with every step.
pub(super) struct IdGenerator {
    step: usize,
    next: usize,
    calls: BTreeSet<String>,
}

impl IdGenerator {
    pub(super) fn new(request: &ModelRequest) -> Self {
        let step = 1 + request.messages.iter().filter(|m| !matches!(m, ModelMessage::User { .. })).count();
        Self { step, next: 0, calls: request.calls().map(|(id, _)| id.to_owned()).collect() }
    }

    /// Whether a provider's id cannot be used here: clients and other providers accept only short ids of printable ASCII. The provider
    /// itself gets its own id back.
    fn is_unusable(wire_id: &str) -> bool {
        wire_id.len() > MAX_ID_BYTES || !wire_id.bytes().all(|byte| byte.is_ascii_graphic())
    }

    pub(super) fn block(&mut self) -> String {
        self.next += 1;
        format!("b{}.{}", self.step, self.next)
    }

    /// The provider's own id, unless it is empty, unusable or was used before (some providers count from zero in every answer).
    pub(super) fn call(&mut self, wire_id: &str) -> String {
        let mut id = if Self::is_unusable(wire_id) { String::new() } else { wire_id.to_owned() };
        while id.is_empty() || self.calls.contains(&id) {
            self.next += 1;
            id = format!("call_{}_{}", self.step, self.next);
        }
        self.calls.insert(id.clone());
        id
    }
}

/// The opaque value of a call: the provider's own id, if it was replaced, and the provider's own fields. Null if there are none.
pub(super) fn opaque<const N: usize>(provider: &str, wire_id: &str, parts: [(&str, Map<String, Value>); N]) -> Value {
    let mut opaque = Map::new();
    if IdGenerator::is_unusable(wire_id) {
        opaque.insert("id".to_owned(), wire_id.into());
    }
    opaque.extend(parts.into_iter().filter(|(_, fields)| !fields.is_empty()).map(|(name, fields)| (name.to_owned(), fields.into())));
    if opaque.is_empty() {
        return Value::Null;
    }
    opaque.insert("provider".to_owned(), provider.into());
    opaque.into()
}

/// The provider's own ids of the calls whose ids were replaced, by the id here.
pub(super) fn wire_ids<'r>(request: &'r ModelRequest, provider: &str) -> HashMap<&'r str, &'r str> {
    let ours = request.calls().filter(|(_, opaque)| opaque["provider"] == provider);
    ours.filter_map(|(id, opaque)| Some((id, opaque["id"].as_str()?))).collect()
}

/// Parses the arguments of a call. Empty text means no arguments.
pub(super) fn parse_arguments(json: &str) -> Option<Value> {
    if json.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    serde_json::from_str::<FirstOfDuplicates>(json).ok().map(|object| Value::Object(object.0))
}

/// The arguments as an object, because both protocols accept only objects.
pub(super) fn arguments_object(input: &Value) -> Value {
    match input {
        Value::Object(_) => input.clone(),
        other => Value::Object(Map::from_iter([("invalid".to_owned(), other.clone())])),
    }
}

/// An object in which the first of several equal keys is used.
struct FirstOfDuplicates(Map<String, Value>);

impl<'de> Deserialize<'de> for FirstOfDuplicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = FirstOfDuplicates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<FirstOfDuplicates, A::Error> {
                crate::model::json::first_wins(access).map(FirstOfDuplicates)
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
        ModelRequest {
            model: String::new(),
            system: String::new(),
            tree: String::new(),
            messages,
            history: 0,
            tools: Vec::new(),
            max_tokens: 1,
            prompt_key: String::new(),
        }
    }

    #[test]
    fn ids_are_unique_over_the_steps_of_a_turn() {
        let user = ModelMessage::User { text: "x".into() };
        let call = AssistantBlock::ToolCall { id: "call_0".into(), tool: "t".into(), input: json!({}), opaque: Value::Null };
        let mut first = IdGenerator::new(&request(vec![user.clone()]));
        let mut second =
            IdGenerator::new(&request(vec![user, ModelMessage::Assistant { blocks: vec![call] }, ModelMessage::ToolResults(Vec::new())]));
        assert_eq!([first.block(), first.block(), second.block()], ["b1.1", "b1.2", "b3.1"]);
        assert_eq!([first.call("call_0"), first.call(""), first.call("call_0")], ["call_0", "call_1_3", "call_1_4"]);
        assert_eq!([second.call("call_0"), second.call("toolu_1")], ["call_3_2", "toolu_1"]);
        assert_eq!([second.call(&"x".repeat(41)), second.call("a\nb"), second.call("é")], ["call_3_3", "call_3_4", "call_3_5"]);
    }

    #[test]
    fn arguments_are_parsed_only_as_an_object() {
        assert_eq!(parse_arguments(""), Some(json!({})));
        assert_eq!(parse_arguments(r#" {"a":[1]} "#), Some(json!({"a":[1]})));
        assert_eq!(parse_arguments(r#"{"a":1,"a":2}"#), Some(json!({"a":1})));
        for text in ["[1]", "\"x\"", "{\"a\":", "{} {}", "null"] {
            assert_eq!(parse_arguments(text), None, "{text}");
        }
        assert_eq!(arguments_object(&json!("{\"a\":")), json!({"invalid":"{\"a\":"}));
    }
}
