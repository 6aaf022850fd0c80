//! Lock files in YAML. A short text can have many nodes, or repeat a long one by aliases, so that both are counted.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::error::Error;

/// The most characters that can begin or end a node. A lock file of 3,000 packages has less than 100,000.
const MAX_MARKS: usize = 400_000;
/// The most bytes of memory for the values of a file.
const MAX_BYTES: usize = 64 << 20;
/// Bytes of memory of a value without its text.
const NODE: usize = 64;

/// Reads a file.
pub(super) fn read(file: &str, text: &str) -> Result<Value, Error> {
    // Every node is a line, an element or a member. The parser keeps all nodes at once.
    let marks = text.bytes().filter(|byte| b"\n\r,:[{?".contains(byte)).count();
    let elements = text.as_bytes().windows(2).filter(|pair| matches!(pair, [b'-', b' ' | b'\t'])).count();
    let breaks = text.chars().filter(|c| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')).count();
    if marks + elements + breaks > MAX_MARKS {
        return Err(Error::too_large(file, MAX_MARKS as u64, "nodes"));
    }
    let left = Cell::new(MAX_BYTES);
    ByteLimit(&left).deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|error| {
        if left.get() == 0 { Error::too_large(file, MAX_BYTES as u64, "bytes in memory") } else { Error::syntax(file, error) }
    })
}

/// Reads a value within so many bytes.
#[derive(Clone, Copy)]
struct ByteLimit<'l>(&'l Cell<usize>);

impl ByteLimit<'_> {
    fn take<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().saturating_sub(NODE + bytes);
        self.0.set(left);
        if left == 0 { Err(E::custom("is too large")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for ByteLimit<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ByteLimit<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.take(0).map(|()| Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.take(0).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.take(0).map(|()| Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.take(0).map(|()| Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.take(0).map(|()| Value::from(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.take(text.len()).map(|()| Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.take(key.len())?;
            let value = map.next_value_seed(self)?;
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}
