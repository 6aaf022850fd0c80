//! The outlines that this process has read from compile. An outline is a function of the content and the extension of its file, so it is never wrong.

use std::sync::{Arc, LazyLock};

use quick_cache::{Weighter, sync::Cache};

use super::Outline;

/// Bytes of all outlines.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// About as many contents have an outline of the usual size.
const EXPECTED: usize = 20_000;
/// Bytes of an entry without its texts.
const ENTRY_BYTES: usize = 200;

static OUTLINES: LazyLock<Cache<Key, Known, ByteWeighter>> = LazyLock::new(|| Cache::with_weighter(EXPECTED, MAX_BYTES, ByteWeighter));

/// The id of a content, and an extension.
type Key = (String, String);
/// `None`: compile has no outline of the file.
type Known = Option<Arc<Outline>>;

#[derive(Clone)]
struct ByteWeighter;

impl Weighter<Key, Known> for ByteWeighter {
    fn weight(&self, (id, extension): &Key, known: &Known) -> u64 {
        let symbols = known.iter().flat_map(|outline| &outline.symbols).map(|symbol| symbol.name.len() + size_of_val(symbol));
        let imports = known.iter().flat_map(|outline| &outline.imports).map(|import| import.len() + size_of_val(import));
        (symbols.chain(imports).sum::<usize>() + id.len() + extension.len() + ENTRY_BYTES) as u64
    }
}

fn key(path: &str, id: &str) -> Key {
    let name = path.rsplit('/').next().unwrap_or_default();
    (id.to_owned(), name.rsplit_once('.').map_or("", |(_, extension)| extension).to_lowercase())
}

/// What is known of a file. `None` if compile was not asked.
pub(super) fn get(path: &str, id: &str) -> Option<Known> {
    OUTLINES.get(&key(path, id))
}

pub(super) fn insert(path: &str, id: &str, known: Known) {
    OUTLINES.insert(key(path, id), known);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_belongs_to_a_content_and_an_extension() {
        let outline = || Some(Arc::new(Outline { symbols: Vec::new(), imports: vec!["./b".to_owned()] }));
        insert("src/a.js", "memory test", outline());
        insert("notes", "memory test", None);
        assert_eq!(get("b.JS", "memory test"), Some(outline()));
        assert_eq!(get("notes", "memory test"), Some(None));
        for (path, id) in [("a.ts", "memory test"), ("a.js", "another"), ("a.js/notes.md", "memory test")] {
            assert_eq!(get(path, id), None, "{path} {id}");
        }
    }
}
