//! The right side of a dependency: `^1.2.3`, `latest`, `npm:other@2`, `github:owner/repo`.

use crate::{
    name,
    semver::{Range, Reading, Version},
};

/// What a dependency asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The package of an alias (`npm:other@2`). Otherwise the dependency's own name is meant.
    pub alias: Option<String>,
    pub wanted: Wanted,
}

/// Which versions of a package are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Version(Version),
    Range(Range),
    /// A dist-tag.
    Tag(String),
}

/// Where a dependency would come from that is not from the registry. Nothing of it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Git,
    File,
    Address,
    /// `workspace:` and `catalog:`, which belong to a monorepo.
    Workspace,
    /// `patch:`, `link:`, `portal:` and other protocols of one tool.
    Tool,
    /// No specifier at all.
    Invalid,
}

impl Source {
    /// What it is, for messages.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Git => "a git repository",
            Self::File => "a file or folder",
            Self::Address => "an address",
            Self::Workspace => "a workspace of a monorepo",
            Self::Tool => "a protocol of another tool",
            Self::Invalid => "not a version, a range or a tag",
        }
    }

    /// What to write instead.
    #[must_use]
    pub fn instead(self) -> &'static str {
        match self {
            Self::Git | Self::Address => "the version that is published on the registry, such as \"^1.2.3\"",
            Self::File => "the files in src, imported by a relative path",
            Self::Workspace | Self::Tool | Self::Invalid => "a version range, such as \"^1.2.3\"",
        }
    }
}

const FILE_PREFIXES: [&str; 4] = [".", "/", "~/", "file:"];
const FILE_ENDS: [&str; 3] = [".tgz", ".tar.gz", ".tar"];
const GIT_PREFIXES: [&str; 9] = ["git+", "git:", "github:", "gitlab:", "bitbucket:", "gist:", "ssh:", "sourcehut:", "git@"];
const WORKSPACE_PREFIXES: [&str; 2] = ["workspace:", "catalog:"];
const GIT_HOSTS: [&str; 3] = ["github.com/", "gitlab.com/", "bitbucket.org/"];

impl Spec {
    /// Reads the right side of a dependency.
    ///
    /// # Errors
    /// It does not name a package of the registry.
    pub fn parse(text: &str) -> Result<Self, Source> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("npm:") {
            return Self::alias(&text[text.len() - rest.len()..]);
        }
        match source(&lower) {
            Some(source) => Err(source),
            None => Ok(Self { alias: None, wanted: wanted(text)? }),
        }
    }

    fn alias(text: &str) -> Result<Self, Source> {
        let end = text.get(1..).and_then(|rest| rest.find('@')).map_or(text.len(), |at| at + 1);
        let (name, request) = text.split_at(end);
        if !name::is_valid(name) {
            return Err(Source::Invalid);
        }
        Ok(Self { alias: Some(name.to_owned()), wanted: wanted(request.strip_prefix('@').unwrap_or_default())? })
    }

    /// The name of the package for a dependency with this name.
    #[must_use]
    pub fn package<'a>(&'a self, dependency: &'a str) -> &'a str {
        self.alias.as_deref().unwrap_or(dependency)
    }
}

impl Wanted {
    /// The number of conditions.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Range(range) => range.size(),
            Self::Version(_) | Self::Tag(_) => 1,
        }
    }

    /// Whether the version matches. A tag is resolved once, and then every version is taken.
    #[must_use]
    pub fn accepts(&self, version: Option<&Version>) -> bool {
        match self {
            Self::Version(wanted) => version == Some(wanted),
            Self::Range(range) => range.is_any() || version.is_some_and(|version| range.accepts(version)),
            Self::Tag(_) => true,
        }
    }
}

/// About how many comparisons it takes to read a specifier: a long range is compared with itself.
pub(crate) fn spec_cost(text: &str) -> usize {
    1 + text.len() * text.len() / 64
}

fn source(lower: &str) -> Option<Source> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| lower.starts_with(prefix));
    if begins(&FILE_PREFIXES) {
        return Some(Source::File);
    }
    if begins(&GIT_PREFIXES) {
        return Some(Source::Git);
    }
    if begins(&WORKSPACE_PREFIXES) {
        return Some(Source::Workspace);
    }
    if let Some(rest) = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")) {
        let is_git = rest.contains(".git") || GIT_HOSTS.iter().any(|host| rest.starts_with(host)) && !rest.contains("/archive/");
        return Some(if is_git { Source::Git } else { Source::Address });
    }
    if lower.contains(':') {
        return Some(Source::Tool);
    }
    if FILE_ENDS.iter().any(|end| lower.ends_with(end)) {
        return Some(Source::File);
    }
    // `owner/repo` of GitHub.
    lower.contains('/').then_some(Source::Git)
}

fn wanted(text: &str) -> Result<Wanted, Source> {
    let text = text.trim();
    let range = if text.is_empty() { "*" } else { text };
    if let Some(version) = Version::parse(range) {
        return Ok(Wanted::Version(version));
    }
    if let Some(range) = Range::parse(range, Reading::REQUEST) {
        return Ok(Wanted::Range(range));
    }
    let is_tag = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()".contains(c);
    if text.len() <= crate::semver::MAX_LENGTH && text.chars().all(is_tag) {
        Ok(Wanted::Tag(text.to_owned()))
    } else {
        Err(Source::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_are_versions_ranges_tags_and_aliases() {
        let parse = |text: &str| Spec::parse(text).unwrap_or_else(|source| panic!("{text}: {source:?}"));
        assert!(matches!(parse("1.2.3").wanted, Wanted::Version(_)));
        assert!(matches!(parse("=v1.2.3").wanted, Wanted::Version(_)));
        for range in ["", "*", "x", "1", "^1.2", ">=1 <2 || 3.x", "1.0.0 - 2.0.0", " ^1.0.0 "] {
            assert!(matches!(parse(range).wanted, Wanted::Range(_)), "{range}");
        }
        for tag in ["latest", "next", "beta-1", "v-next"] {
            assert_eq!(parse(tag).wanted, Wanted::Tag(tag.to_owned()));
        }
        for (text, package) in [("npm:other@2", "other"), ("npm:@a/b@^1", "@a/b"), ("NPM:other", "other"), ("npm:@a/b", "@a/b")] {
            assert_eq!(parse(text).package("own"), package);
        }
        assert_eq!(parse("^1").package("own"), "own");
    }

    #[test]
    fn other_sources_are_named() {
        for (text, expected) in [
            ("git+https://example.org/a.git", Source::Git),
            ("git@github.com:a/b.git", Source::Git),
            ("github:a/b#main", Source::Git),
            ("owner/repo", Source::Git),
            ("https://github.com/a/b", Source::Git),
            ("https://example.org/a.tgz", Source::Address),
            ("http://example.org/a", Source::Address),
            ("file:../a", Source::File),
            ("../a", Source::File),
            ("./a.tgz", Source::File),
            ("a.tgz", Source::File),
            ("~/a", Source::File),
            ("workspace:*", Source::Workspace),
            ("catalog:", Source::Workspace),
            ("patch:a@npm%3A1.0.0#a.patch", Source::Tool),
            ("link:./a", Source::Tool),
            ("npm:../a@1", Source::Invalid),
            ("npm:@1", Source::Invalid),
            ("a b", Source::Invalid),
            ("ü", Source::Invalid),
        ] {
            assert_eq!(Spec::parse(text).err(), Some(expected), "{text}");
        }
    }
}
