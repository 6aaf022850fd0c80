//! Helpers for the generated JSON deserialisers, with clearer errors than those of pbjson. The build script puts them into the
//! generated code.

use std::{fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A ProtoJSON number: a JSON number or a string with a number. The error names the range.
pub(crate) struct Number<T>(pub(crate) T);

/// An integer type of the contract.
pub(crate) trait Numeric: TryFrom<i128> + std::str::FromStr {
    /// The range that an error names.
    const RANGE: &'static str;
}

impl Numeric for i32 {
    // Services refuse negative numbers, and their errors name the range of the field.
    const RANGE: &'static str = "a whole number from 0 to 2147483647";
}

impl Numeric for i64 {
    const RANGE: &'static str = "a whole number from 0 to 9223372036854775807";
}

impl Numeric for u32 {
    const RANGE: &'static str = "a whole number from 0 to 4294967295";
}

impl Numeric for u64 {
    const RANGE: &'static str = "a whole number from 0 to 18446744073709551615";
}

impl<'de, T: Numeric> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(NumberVisitor(PhantomData))
    }
}

struct NumberVisitor<T>(PhantomData<T>);

impl<T: Numeric> Visitor<'_> for NumberVisitor<T> {
    type Value = Number<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::RANGE)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number<T>, E> {
        T::try_from(number.into()).map(Number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number<T>, E> {
        T::try_from(number.into()).map(Number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number<T>, E> {
        text.parse().map(Number).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// The error for a second member of a one-of. It names both members.
pub(crate) fn second<E: Error>(first: &str, second: &'static str, members: &[&str]) -> E {
    if first == second {
        return E::duplicate_field(second);
    }
    E::custom(format_args!("must have exactly one of {}; has {first} and {second}", members.join(", ")))
}

#[cfg(test)]
mod tests {
    use crate::{
        agent_streaming::{ListTurnsRequest, StreamTurnEventsRequest},
        project_storage::{BlameFileResponse, Deletion, FileChange},
    };

    #[test]
    fn a_number_is_a_json_number_or_a_string_within_its_range() {
        let after = |json: &str| serde_json::from_str::<StreamTurnEventsRequest>(json).map(|request| request.after);
        for (json, wanted) in
            [(r#"{"after":7}"#, 7), (r#"{"after":"7"}"#, 7), (r#"{"after":4294967295}"#, u32::MAX), (r#"{"after":null}"#, 0)]
        {
            assert_eq!(after(json).unwrap(), wanted, "{json}");
        }
        for value in ["-1", "4294967296", "1.5", "\"-1\"", "\"x\"", "\"\"", "true", "[]", "{}"] {
            let refusal = after(&format!(r#"{{"after":{value}}}"#)).expect_err(value).to_string();
            assert!(refusal.contains("expected a whole number from 0 to 4294967295"), "{value}: {refusal}");
        }
        assert_eq!(serde_json::from_str::<ListTurnsRequest>(r#"{"pageSize":-1}"#).unwrap().page_size, -1);
    }

    #[test]
    fn lists_and_required_fields_are_written_when_they_are_empty_or_zero() {
        let blame = serde_json::to_string(&BlameFileResponse::default()).unwrap();
        assert_eq!(blame, r#"{"revision":"","etag":"","totalLines":0,"ranges":[],"revisions":[]}"#);
        let deletion = serde_json::to_string(&Deletion::default()).unwrap();
        assert_eq!(deletion, r#"{"id":"0","kind":"DELETION_KIND_UNSPECIFIED","projectId":""}"#);
    }

    #[test]
    fn a_second_member_of_a_one_of_is_an_error_that_names_both() {
        let refusal = |json: &str| serde_json::from_str::<FileChange>(json).expect_err(json).to_string();
        let rows = [
            (r#"{"write":{},"delete":{}}"#, "must have exactly one of write, create, update, delete, rename, copy; has write and delete"),
            (r#"{"rename":{},"create":{}}"#, "must have exactly one of write, create, update, delete, rename, copy; has rename and create"),
            (r#"{"write":{"text":"a","binary":"AA=="}}"#, "must have exactly one of text, binary; has text and binary"),
            (r#"{"write":{},"write":{}}"#, "duplicate field `write`"),
        ];
        for (json, words) in rows {
            assert!(refusal(json).starts_with(words), "{json}: {}", refusal(json));
        }
        assert!(serde_json::from_str::<FileChange>(r#"{"write":null,"delete":{}}"#).is_ok());
    }
}
