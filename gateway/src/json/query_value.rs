//! The text of a parameter as a value of its field. A query string has no types, so the type of the field decides how the text is read.

use serde::de::{Deserializer, Error, IntoDeserializer, Unexpected, Visitor, value};

/// What a query says of a parameter.
#[derive(Debug)]
pub(super) enum QueryValue {
    One(String),
    /// The parameter was repeated.
    Many(Vec<String>),
    /// `name[key]=value`, each key once.
    Entries(Vec<(String, String)>),
}

impl QueryValue {
    /// A value, or with a key the first entry of a map.
    pub(super) fn new(key: Option<String>, text: String) -> Self {
        match key {
            Some(key) => Self::Entries(vec![(key, text)]),
            None => Self::One(text),
        }
    }

    /// Adds another value or entry. Returns `false` if it does not go with the present one.
    pub(super) fn add(&mut self, key: Option<String>, text: &str) -> bool {
        match (self, key) {
            (Self::Many(texts), None) => texts.push(text.to_owned()),
            (one @ Self::One(_), None) => {
                if let Self::One(first) = std::mem::replace(one, Self::Many(Vec::new())) {
                    *one = Self::Many(vec![first, text.to_owned()]);
                }
            }
            (Self::Entries(entries), Some(key)) if entries.iter().all(|(known, _)| *known != key) => entries.push((key, text.to_owned())),
            _ => return false,
        }
        true
    }

    /// The value of a parameter that is neither a list nor a map.
    fn one(self) -> Result<String, value::Error> {
        match self {
            Self::One(text) => Ok(text),
            Self::Many(_) => Err(Error::custom("must be given once")),
            Self::Entries(_) => Err(Error::custom("must have no key")),
        }
    }
}

impl<'de> IntoDeserializer<'de, value::Error> for QueryValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for QueryValue {
    type Error = value::Error;

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let text = self.one()?;
        match text.parse() {
            Ok(value) => visitor.visit_bool(value),
            Err(_) => Err(Self::Error::invalid_value(Unexpected::Str(&text), &"true or false")),
        }
    }

    /// Messages call this where they read a number, the name of an enumeration, or bytes from a text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(self.one()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let texts = match self {
            Self::Many(texts) => texts,
            one => vec![one.one()?],
        };
        visitor.visit_seq(value::SeqDeserializer::new(texts.into_iter().map(Self::One)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let Self::Entries(entries) = self else { return Err(Error::custom("must have a key, as in name[key]=value")) };
        visitor.visit_map(value::MapDeserializer::new(entries.into_iter().map(|(key, text)| (key, Self::One(text)))))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let variant: value::StringDeserializer<Self::Error> = self.one()?.into_deserializer();
        variant.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct struct identifier ignored_any
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
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), QueryValue::One((*text).to_owned())));
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
