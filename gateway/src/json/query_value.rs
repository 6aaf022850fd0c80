//! The text of a parameter as a value of its field. A query string has no types, so the type of the field decides how the text is read.

use serde::de::{Deserializer, Error, IntoDeserializer, Unexpected, Visitor, value};

/// A parameter's value.
#[derive(Debug)]
pub(super) struct QueryValue(pub(super) String);

impl<'de> IntoDeserializer<'de, value::Error> for QueryValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for QueryValue {
    type Error = value::Error;

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0.parse() {
            Ok(value) => visitor.visit_bool(value),
            Err(_) => Err(Self::Error::invalid_value(Unexpected::Str(&self.0), &"true or false")),
        }
    }

    /// Messages call this where they read a number, the name of an enumeration, or bytes from a text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let variant: value::StringDeserializer<Self::Error> = self.0.into_deserializer();
        variant.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proto::{
        agent_streaming::{IfActive, ListTurnsRequest, StreamTurnEventsRequest},
        project_storage::FileContent,
    };
    use serde::de::{DeserializeOwned, value::MapDeserializer};

    use super::*;

    fn read<T: DeserializeOwned>(pairs: &[(&str, &str)]) -> Result<T, String> {
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), QueryValue((*text).to_owned())));
        T::deserialize(MapDeserializer::<_, value::Error>::new(pairs)).map_err(|e| e.to_string())
    }

    fn one<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        read::<HashMap<String, T>>(&[("x", text)]).map(|mut map| map.remove("x").expect("one"))
    }

    #[test]
    fn values_without_a_type_are_read_by_their_field() {
        assert_eq!((one("true"), one("false")), (Ok(true), Ok(false)));
        assert_eq!((one::<String>("true"), one::<Option<bool>>("true")), (Ok("true".into()), Ok(Some(true))));
        assert_eq!(one::<IfActive>("IF_ACTIVE_REJECT"), Ok(IfActive::Reject));
    }

    #[test]
    fn every_kind_of_field_is_read() {
        let turns: ListTurnsRequest = read(&[("openOnly", "true"), ("pageSize", "7"), ("draftId", "7")]).unwrap();
        assert_eq!((turns.open_only, turns.page_size, turns.draft_id.as_str()), (true, 7, "7"));
        let events: StreamTurnEventsRequest = read(&[("compact", "true"), ("asLines", "false"), ("after", "4294967295")]).unwrap();
        assert_eq!((events.compact, events.as_lines, events.after), (true, false, u32::MAX));
        assert!(read::<FileContent>(&[("binary", "AAEC")]).is_ok(), "bytes");
    }

    #[test]
    fn a_text_of_another_type_is_refused() {
        for text in ["", "1", "yes", "TRUE", "true ", "null"] {
            assert_eq!(one::<bool>(text), Err(format!("invalid value: string {text:?}, expected true or false")), "{text}");
        }
        for text in ["", "-1", "4294967296", "1.5", "x"] {
            assert!(read::<StreamTurnEventsRequest>(&[("after", text)]).is_err(), "{text}");
        }
        assert!(one::<IfActive>("REJECT").is_err());
    }
}
