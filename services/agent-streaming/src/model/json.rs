//! JSON as models write it.

use serde::de::MapAccess;
use serde_json::{Map, Value};

/// The members of an object. Of a key given twice the first counts, as it does for a viewer who has already seen it.
///
/// # Errors
/// It is not JSON.
pub(crate) fn first_wins<'de, A: MapAccess<'de>>(mut access: A) -> Result<Map<String, Value>, A::Error> {
    let mut map = Map::new();
    while let Some((key, value)) = access.next_entry::<String, Value>()? {
        map.entry(key).or_insert(value);
    }
    Ok(map)
}
