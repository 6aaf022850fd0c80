//! Parsing of JSON that models write.

use serde::de::MapAccess;
use serde_json::{Map, Value};

/// Reads the members of an object. For a duplicate key the first value is used, because viewers may have seen it already.
///
/// # Errors
/// The text is not JSON.
pub(crate) fn first_wins<'de, A: MapAccess<'de>>(mut access: A) -> Result<Map<String, Value>, A::Error> {
    let mut map = Map::new();
    while let Some((key, value)) = access.next_entry::<String, Value>()? {
        map.entry(key).or_insert(value);
    }
    Ok(map)
}
