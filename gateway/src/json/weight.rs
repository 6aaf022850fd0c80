//! How many values a body holds. `{},` takes three bytes on the wire and a hundred as a message, so a large body is counted
//! before it is taken apart: one of a few megabytes could else fill the memory of the machine.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A save of 200 files has about a thousand.
pub(super) const MOST: usize = 10_000;
/// A chat's messages are read one after the other and only the last is kept.
pub(super) const MOST_PASSED_OVER: usize = 500_000;

/// Whether these bytes hold more values than anybody needs. What is not JSON is for the parser to judge.
pub(super) fn is_too_much(bytes: &[u8], most: usize) -> bool {
    let mut left = most;
    let _ = Count(&mut left).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    left == 0
}

/// Counts a value and what is in it.
struct Count<'a>(&'a mut usize);

impl Count<'_> {
    fn one<E: Error>(&mut self) -> Result<(), E> {
        *self.0 = self.0.saturating_sub(1);
        if *self.0 == 0 { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, source: D) -> Result<(), D::Error> {
        self.one()?;
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Count(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key_seed(Count(self.0))?.is_some() {
            entries.next_value_seed(Count(self.0))?;
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
        assert!(!is_too_much(save.as_bytes(), MOST));
        for many in [
            format!("{{\"changes\":[{}]}}", vec!["{}"; MOST].join(",")),
            format!("[{}]", vec!["[1,-1,1.5,null,true,\"\"]"; MOST / 6].join(",")),
            format!("{{\"changes\":[[{}", "{},".repeat(MOST)),
        ] {
            assert!(is_too_much(many.as_bytes(), MOST));
        }
    }

    #[test]
    fn what_is_not_json_is_left_to_the_parser() {
        for body in ["", "{", "nonsense", "\u{1}"] {
            assert!(!is_too_much(body.as_bytes(), MOST), "{body}");
        }
        assert!(!is_too_much("[".repeat(200_000).as_bytes(), MOST));
    }
}
