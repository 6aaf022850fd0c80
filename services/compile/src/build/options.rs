//! What is built, and the keys under which it is kept.

use chassis::share::Holder;
use proto::compile::Mode;

use crate::{hash, tree::Tree};

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Page,
    /// Every file is checked. The page is not used.
    Check,
}

/// The options of a build.
pub(super) struct Options {
    pub(super) kind: Kind,
    pub(super) base: String,
    pub(super) mode: i32,
}

impl Options {
    /// A check has no base.
    pub(super) fn new(kind: Kind, base: String, mode: i32) -> Self {
        let base = if kind == Kind::Check || base.is_empty() { "/".to_owned() } else { base };
        Self { kind, base, mode }
    }

    pub(super) fn mode(&self) -> &'static str {
        if self.mode == Mode::Production as i32 { "production" } else { "development" }
    }

    /// The key of the answer.
    pub(super) fn key(&self, tree_id: &str, release: &[u8]) -> Vec<u8> {
        let kind: &[u8] = if self.kind == Kind::Page { b"page" } else { b"check" };
        hash::of_parts(&[kind, tree_id.as_bytes(), self.base.as_bytes(), self.mode().as_bytes(), release])
    }

    /// The key of the last build of the project: one of the same person with the same paths and packages.
    pub(super) fn last_key(&self, holder: &Holder, tree: &Tree, release: &[u8]) -> Vec<u8> {
        let person = holder.person.map(|person| person.to_string()).unwrap_or_default();
        let packages = tree.id("package.json").unwrap_or_default();
        let paths: Vec<_> = tree.pairs().map(|(path, _)| path).collect();
        hash::of_parts(&[&self.key("", release), person.as_bytes(), packages.as_bytes(), paths.join("\0").as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_option_changes_the_key() {
        let key = |kind, base: &str, mode, tree, release: &[u8]| Options { kind, base: base.to_owned(), mode }.key(tree, release);
        let keys = [
            key(Kind::Page, "/", 1, "a", b"r"),
            key(Kind::Check, "/", 1, "a", b"r"),
            key(Kind::Page, "/b/", 1, "a", b"r"),
            key(Kind::Page, "/", 2, "a", b"r"),
            key(Kind::Page, "/", 1, "b", b"r"),
            key(Kind::Page, "/", 1, "a", b"s"),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(key(Kind::Page, "/", 0, "a", b"r"), keys[0], "the default mode is development");
    }
}
