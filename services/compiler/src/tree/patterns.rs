//! Patterns of paths, such as `src/**/*.{ts,tsx}`.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A path matches if one of the patterns does.
pub(crate) struct Patterns(GlobSet);

impl Patterns {
    /// A pattern that is none matches nothing.
    pub(crate) fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Self {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns.into_iter().filter_map(|pattern| GlobBuilder::new(pattern).literal_separator(true).build().ok()) {
            set.add(pattern);
        }
        Self(set.build().unwrap_or_default())
    }

    pub(crate) fn is_match(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}
