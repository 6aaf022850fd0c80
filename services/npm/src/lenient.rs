//! Fields of documents of others: a value of the wrong type is as good as a missing one.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// Implements the visits of a visitor whose default value stands for every value of another type.
macro_rules! other_types {
    ($($visit:ident($value:ty)),*) => {
        $(fn $visit<E>(self, _: $value) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        })*
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

/// The most entries of an object. Real packages have some hundred; what follows is left out.
const MAX_ENTRIES: usize = 5_000;

/// An object of texts, in its order. Values of other types are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) Vec<(String, String)>);

impl Texts {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some((key, Text(value))) = map.next_entry::<String, Text>()? {
            texts.extend(value.filter(|_| texts.len() < MAX_ENTRIES).map(|value| (key, value)));
        }
        Ok(Texts(texts))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Texts::default())
    }

    other_types!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
}

/// A text, or nothing for any other type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }

    other_types!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));
}

/// A list of texts. One text is a list of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct List(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => Self(vec![text]),
            Value::Array(values) => Self(values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()),
            _ => Self::default(),
        })
    }
}

/// A value that JavaScript would take as true. `deprecated` is a text, `hasInstallScript` is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Truth(pub(crate) bool);

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::Bool(true) | Value::Array(_) | Value::Object(_) => true,
        }))
    }
}

/// Which peers are optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OptionalPeers(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for OptionalPeers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Value::Object(peers) = Value::deserialize(deserializer)? else { return Ok(Self::default()) };
        Ok(Self(peers.into_iter().filter(|(_, meta)| meta["optional"] == true).map(|(name, _)| name).collect()))
    }
}

/// The packages within a package. `true` means all of its dependencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Bundled {
    #[default]
    None,
    All,
    Named(Vec<String>),
}

impl<'de> Deserialize<'de> for Bundled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Bool(true) => Self::All,
            Value::Array(values) => Self::Named(values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()),
            Value::Object(names) => Self::Named(names.into_iter().map(|(name, _)| name).collect()),
            _ => Self::None,
        })
    }
}
