//! Metadata: what a client stores with a project or a turn, as a map of strings. Backlot does not interpret it.

use std::collections::BTreeMap;

use crate::error::Violations;

/// The entries by their keys.
pub type Metadata = BTreeMap<String, String>;

/// Entries at most.
pub const MAX_KEYS: usize = 16;
const KEY_CHARACTERS: usize = 64;
const VALUE_BYTES: usize = 512;

/// What a value may be besides a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyValue {
    Refused,
    /// In an update it removes the entry.
    Allowed,
}

/// Records what is wrong with the metadata in a field.
pub fn check(violations: &mut Violations, field: &str, metadata: &Metadata, empty: EmptyValue) {
    if metadata.len() > MAX_KEYS {
        violations.add(field, format!("must have at most {MAX_KEYS} keys"));
    }
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    for (key, value) in metadata.iter().take(MAX_KEYS) {
        if !(1..=KEY_CHARACTERS).contains(&key.len()) || !key.bytes().all(legal) {
            violations.add(field, format!("must have keys of 1 to {KEY_CHARACTERS} of A-Za-z0-9_.-"));
            continue;
        }
        let least = usize::from(empty == EmptyValue::Refused);
        violations.length(&format!("{field}[{key}]"), value, least..=VALUE_BYTES);
        if value.contains('\0') {
            violations.add(format!("{field}[{key}]"), "must not hold NUL");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(entries: &[(&str, &str)], empty: EmptyValue) -> Vec<(String, String)> {
        let mut violations = Violations::default();
        let metadata = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        check(&mut violations, "metadata", &metadata, empty);
        let violations = violations.check("test").err().map(|fault| fault.violations).unwrap_or_default();
        violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
    }

    #[test]
    fn a_violation_names_the_entry_and_the_limit() {
        let (long_key, long) = ("k".repeat(65), "ü".repeat(257));
        for (entries, expected) in [
            (&[][..], None),
            (&[("customer.id-1_X", "ü\n")], None),
            (&[("", "x")], Some(("metadata", "must have keys of 1 to 64 of A-Za-z0-9_.-"))),
            (&[("a b", "x")], Some(("metadata", "must have keys of 1 to 64 of A-Za-z0-9_.-"))),
            (&[(&long_key, "x")], Some(("metadata", "must have keys of 1 to 64 of A-Za-z0-9_.-"))),
            (&[("a", "x"), ("b", &long)], Some(("metadata[b]", "must be 1 to 512 bytes"))),
            (&[("a", "")], Some(("metadata[a]", "must be 1 to 512 bytes"))),
            (&[("a", "\0")], Some(("metadata[a]", "must not hold NUL"))),
        ] {
            let expected: Vec<_> = expected.iter().map(|(field, text)| ((*field).to_owned(), (*text).to_owned())).collect();
            assert_eq!(problems(entries, EmptyValue::Refused), expected, "{entries:?}");
        }
        assert_eq!(problems(&[("a", "")], EmptyValue::Allowed), []);
        let keys: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        let many: Vec<_> = keys.iter().map(|key| (key.as_str(), "x")).collect();
        assert_eq!(problems(&many, EmptyValue::Refused), [("metadata".to_owned(), "must have at most 16 keys".to_owned())]);
    }
}
