//! The text of a parameter as whatever its field is: a query string has no types, so the field says how its text is read.

use serde::de::{Deserializer, Error, IntoDeserializer, Unexpected, Visitor, value};

/// A parameter's value.
#[derive(Debug)]
pub(super) struct Text(pub(super) String);

impl<'de> IntoDeserializer<'de, value::Error> for Text {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A method for each scalar type that parses the text.
macro_rules! parsed {
    ($($method:ident $visit:ident $kind:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.$visit(self.0.parse().map_err(|_| Self::Error::invalid_value(Unexpected::Str(&self.0), &$kind))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Text {
    type Error = value::Error;

    parsed! {
        deserialize_bool visit_bool "true or false";
        deserialize_i8 visit_i8 "a whole number from -128 to 127";
        deserialize_i16 visit_i16 "a whole number from -32768 to 32767";
        deserialize_i32 visit_i32 "a whole number from -2147483648 to 2147483647";
        deserialize_i64 visit_i64 "a whole number of 64 bits";
        deserialize_u8 visit_u8 "a whole number from 0 to 255";
        deserialize_u16 visit_u16 "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 "a whole number from 0 to 18446744073709551615";
        deserialize_f32 visit_f32 "a number";
        deserialize_f64 visit_f64 "a number";
        deserialize_char visit_char "one character";
    }

    /// The messages' own readers ask for any value where they take a number, a name or bytes as text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(self.0)
    }

    /// What is there is there; a parameter that is left out has no text at all.
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
        i128 u128 str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
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
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), Text((*text).to_owned())));
        T::deserialize(MapDeserializer::<_, value::Error>::new(pairs)).map_err(|e| e.to_string())
    }

    fn one<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        read::<HashMap<String, T>>(&[("x", text)]).map(|mut map| map.remove("x").expect("one"))
    }

    #[test]
    fn every_scalar_type_is_read() {
        assert_eq!((one("true"), one("false")), (Ok(true), Ok(false)));
        assert_eq!((one::<i8>("-7"), one::<i16>("-7"), one::<i32>("-7"), one::<i64>("-7")), (Ok(-7), Ok(-7), Ok(-7), Ok(-7)));
        assert_eq!((one::<u8>("7"), one::<u16>("7"), one::<u32>("7"), one::<u64>("7")), (Ok(7), Ok(7), Ok(7), Ok(7)));
        assert_eq!((one::<f32>("0.5"), one::<f64>("-0.5")), (Ok(0.5), Ok(-0.5)));
        assert_eq!((one::<char>("x"), one::<String>("true")), (Ok('x'), Ok("true".into())));
        assert_eq!((one::<Option<bool>>("true"), one::<Option<u32>>("7")), (Ok(Some(true)), Ok(Some(7))));
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
    fn text_that_is_none_of_the_type_is_refused() {
        for text in ["", "1", "yes", "TRUE", "true ", "null"] {
            assert_eq!(one::<bool>(text), Err(format!("invalid value: string {text:?}, expected true or false")), "{text}");
        }
        for text in ["", "-1", "4294967296", "1.5", "x"] {
            assert!(one::<u32>(text).is_err() && read::<StreamTurnEventsRequest>(&[("after", text)]).is_err(), "{text}");
        }
        assert!(one::<IfActive>("REJECT").is_err());
    }
}
