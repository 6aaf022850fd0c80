//! Fields of documents of others: a value of the wrong type is as good as a missing one. No value is kept that is not used.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The most entries of an object or a list. Real packages have some hundred; what follows is left out.
const MAX_ENTRIES: usize = 5_000;

/// The most members of an object of objects. Real packuments have less than ten thousand versions.
pub(crate) const MAX_MEMBERS: usize = 50_000;

/// Reads a type with a visitor. Its `else` names the visits whose values are of the wrong type.
macro_rules! lenient {
    (@map $value:ty) => {
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$value, A::Error> {
            skip_entries(map)?;
            Ok(<$value>::default())
        }
    };
    (@seq $value:ty) => {
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<$value, A::Error> {
            skip_elements(list)?;
            Ok(<$value>::default())
        }
    };
    ($value:ty, $visitor:ident { $($visits:tt)* } else { $($wrong:ident($argument:ty)),* } $($list:ident)*) => {
        struct $visitor;

        impl<'de> Visitor<'de> for $visitor {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<$value, E> {
                Ok(<$value>::default())
            }

            $($visits)*
            $(fn $wrong<E>(self, _: $argument) -> Result<$value, E> {
                Ok(<$value>::default())
            })*
            $(lenient!(@$list $value);)*
        }

        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($visitor)
            }
        }
    };
}

fn skip_entries<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_elements<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// The texts of a list. Values of other types are left out.
fn texts<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<String>, A::Error> {
    let mut texts = Vec::new();
    while let Some(Text(text)) = list.next_element()? {
        texts.extend(text.filter(|_| texts.len() < MAX_ENTRIES));
    }
    Ok(texts)
}

/// An object of texts, in its order. Values of other types are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) Vec<(String, String)>);

impl Texts {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

lenient!(Texts, TextsVisitor {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some((key, Text(value))) = map.next_entry::<String, Text>()? {
            texts.extend(value.filter(|_| texts.len() < MAX_ENTRIES).map(|value| (key, value)));
        }
        Ok(Texts(texts))
    }
} else { visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) } seq);

/// A text, or nothing for any other type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Option<String>);

lenient!(Text, TextVisitor {
    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(text.to_owned())))
    }
} else { visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64) } map seq);

/// A list of texts. One text is a list of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct List(pub(crate) Vec<String>);

lenient!(List, ListVisitor {
    fn visit_str<E>(self, text: &str) -> Result<List, E> {
        Ok(List(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<List, A::Error> {
        texts(list).map(List)
    }
} else { visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64) } map);

/// A value that JavaScript would take as true. `deprecated` is a text, `hasInstallScript` is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Truth(pub(crate) bool);

lenient!(Truth, TruthVisitor {
    fn visit_bool<E>(self, value: bool) -> Result<Truth, E> {
        Ok(Truth(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Truth, E> {
        Ok(Truth(value != 0))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Truth, E> {
        Ok(Truth(value != 0))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Truth, E> {
        Ok(Truth(value != 0.0))
    }

    fn visit_str<E>(self, text: &str) -> Result<Truth, E> {
        Ok(Truth(!text.is_empty()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Truth, A::Error> {
        skip_entries(map).map(|()| Truth(true))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Truth, A::Error> {
        skip_elements(list).map(|()| Truth(true))
    }
} else {});

/// Which peers are optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OptionalPeers(pub(crate) Vec<String>);

lenient!(OptionalPeers, OptionalPeersVisitor {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OptionalPeers, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IsOptional(is_optional))) = map.next_entry::<String, IsOptional>()? {
            names.extend(Some(name).filter(|_| is_optional && names.len() < MAX_ENTRIES));
        }
        Ok(OptionalPeers(names))
    }
} else { visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) } seq);

/// Whether an object has `"optional": true`.
#[derive(Debug, Clone, Copy, Default)]
struct IsOptional(bool);

lenient!(IsOptional, IsOptionalVisitor {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IsOptional, A::Error> {
        let mut is_optional = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "optional" {
                is_optional = map.next_value::<IsTrue>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(IsOptional(is_optional))
    }
} else { visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) } seq);

/// Whether a value is `true`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IsTrue(pub(crate) bool);

lenient!(IsTrue, IsTrueVisitor {
    fn visit_bool<E>(self, value: bool) -> Result<IsTrue, E> {
        Ok(IsTrue(value))
    }
} else { visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) } map seq);

/// The packages within a package. `true` means all of its dependencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Bundled {
    #[default]
    None,
    All,
    Named(Vec<String>),
}

lenient!(Bundled, BundledVisitor {
    fn visit_bool<E>(self, value: bool) -> Result<Bundled, E> {
        Ok(if value { Bundled::All } else { Bundled::None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Bundled, A::Error> {
        texts(list).map(Bundled::Named)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bundled, A::Error> {
        let mut names = Vec::new();
        while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
            names.extend(Some(name).filter(|_| names.len() < MAX_ENTRIES));
        }
        Ok(Bundled::Named(names))
    }
} else { visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) });

/// The hashes of a tarball.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dist {
    pub(crate) integrity: Option<String>,
    pub(crate) shasum: Option<String>,
}

lenient!(Dist, DistVisitor {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dist, A::Error> {
        let mut dist = Dist::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "integrity" => dist.integrity = map.next_value::<Text>()?.0,
                "shasum" => dist.shasum = map.next_value::<Text>()?.0,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(dist)
    }
} else { visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) } seq);

/// The texts of values by their keys, at most one more than [`MAX_MEMBERS`].
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &RawValue>()? {
            members.extend(Some(member).filter(|_| members.len() <= MAX_MEMBERS));
        }
        Ok(Members(members))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        if is_object(raw) { members(raw) } else { Ok(Self::default()) }
    }
}

pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

fn members<'a, E: serde::de::Error>(raw: &'a RawValue) -> Result<Members<'a>, E> {
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_map(MembersVisitor).map_err(E::custom)
}
