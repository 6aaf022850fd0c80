//! The number of values in a body. `{},` takes three bytes on the wire and about a hundred as a message. So the values of a large body are
//! counted before it is parsed; otherwise a body of a few megabytes could fill the memory of the machine.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A save of 200 files has about a thousand values.
pub(super) const MAX_VALUES: usize = 10_000;
/// The messages of a chat are read one after the other, and only the last one is kept.
pub(super) const MAX_VALUES_OF_CHAT: usize = 500_000;

/// Whether a body has more values than allowed. Invalid JSON is left to the parser.
pub(super) fn exceeds(bytes: &[u8], max: usize) -> bool {
    let mut remaining = max;
    let _ = Counter(&mut remaining).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    remaining == 0
}

/// Counts a value and the values in it.
struct Counter<'a>(&'a mut usize);

impl Counter<'_> {
    fn one<E: Error>(&mut self) -> Result<(), E> {
        *self.0 = self.0.saturating_sub(1);
        if *self.0 == 0 { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Counter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, source: D) -> Result<(), D::Error> {
        self.one()?;
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Counter(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key_seed(Counter(self.0))?.is_some() {
            entries.next_value_seed(Counter(self.0))?;
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_at_any_depth() {
        let save = format!("{{\"changes\":[{}]}}", vec![r#"{"path":"a","write":{"text":"{},{},{}"}}"#; 200].join(","));
        assert!(!exceeds(save.as_bytes(), MAX_VALUES));
        for many in [
            format!("{{\"changes\":[{}]}}", vec!["{}"; MAX_VALUES].join(",")),
            format!("[{}]", vec!["[1,-1,1.5,null,true,\"\"]"; MAX_VALUES / 6].join(",")),
            format!("{{\"changes\":[[{}", "{},".repeat(MAX_VALUES)),
        ] {
            assert!(exceeds(many.as_bytes(), MAX_VALUES));
        }
    }

    #[test]
    fn invalid_json_is_left_to_the_parser() {
        for body in ["", "{", "nonsense", "\u{1}"] {
            assert!(!exceeds(body.as_bytes(), MAX_VALUES), "{body}");
        }
        assert!(!exceeds("[".repeat(200_000).as_bytes(), MAX_VALUES));
    }
}
