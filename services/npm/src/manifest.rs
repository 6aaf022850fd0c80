//! `package.json`: that of a project, and what the registry says of a version.
//!
//! - [`PackageJson`]: the file of a project. `dependencies`: checks its lists. `overrides`: its rules for other packages' dependencies.
//!   `version`: a version of a package.

mod dependencies;
mod overrides;
mod version;

use serde_json::{Map, Value};

pub(crate) use self::version::{Document, Peer};
pub use self::{overrides::OverrideRule, version::Manifest};
use crate::{error::Error, limits::Limits};

/// The name of the file, as errors say it.
pub(crate) const FILE: &str = "package.json";
/// Fields that say how others import the package. They are kept as they are written.
const ENTRY_FIELDS: [&str; 10] = ["main", "module", "browser", "exports", "imports", "svelte", "style", "sass", "types", "sideEffects"];

/// A `package.json` of a project.
#[derive(Debug, Clone, Default)]
pub struct PackageJson {
    pub name: Option<String>,
    pub version: Option<String>,
    /// Whether `.js` files are ES modules (`"type": "module"`).
    pub is_module: bool,
    /// The fields that are written of `main`, `module`, `browser`, `exports`, `imports`, `svelte`, `style`, `sass`, `types` and `sideEffects`.
    pub entries: Map<String, Value>,
    pub dependencies: Vec<(String, String)>,
    pub dev_dependencies: Vec<(String, String)>,
    pub optional_dependencies: Vec<(String, String)>,
    pub peer_dependencies: Vec<(String, String)>,
    /// The names of the peers that `peerDependenciesMeta` says are optional.
    pub optional_peers: Vec<String>,
    pub overrides: Vec<OverrideRule>,
    /// The packages that are inside of this one.
    pub bundle_dependencies: Vec<String>,
    pub os: Vec<String>,
    pub cpu: Vec<String>,
    pub engines: Vec<(String, String)>,
}

impl PackageJson {
    /// Reads a `package.json` as npm does: fields that npm does not look at may have any type.
    ///
    /// # Errors
    /// It is too long, no JSON object, or one of its dependencies or overrides has no name or value that npm takes.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let object = object(bytes, limits.manifest_bytes, FILE)?;
        let text = |field: &str| object.get(field).and_then(Value::as_str).map(str::to_owned);
        let mut package = Self {
            name: text("name"),
            version: text("version"),
            is_module: object.get("type").is_some_and(|kind| kind == "module"),
            dependencies: dependencies::list(&object, "dependencies")?,
            dev_dependencies: dependencies::list(&object, "devDependencies")?,
            optional_dependencies: dependencies::list(&object, "optionalDependencies")?,
            peer_dependencies: dependencies::list(&object, "peerDependencies")?,
            optional_peers: dependencies::optional_peers(&object),
            overrides: overrides::read(&object)?,
            os: dependencies::texts(&object, "os"),
            cpu: dependencies::texts(&object, "cpu"),
            engines: dependencies::engines(&object),
            ..Self::default()
        };
        package.bundle_dependencies = dependencies::bundled(&object, &package.dependencies);
        package.entries = object.into_iter().filter(|(field, _)| ENTRY_FIELDS.contains(&field.as_str())).collect();
        Ok(package)
    }
}

/// Reads a JSON object with at most so many bytes.
pub(crate) fn object(bytes: &[u8], limit: usize, file: &str) -> Result<Map<String, Value>, Error> {
    if bytes.len() > limit {
        return Err(Error::too_large(file, limit as u64, "bytes"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Error::field(file, ".", other, "is not an object")),
        Err(error) => Err(Error::syntax(file, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PackageJson, Error> {
        PackageJson::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_file_is_read_and_its_entries_are_kept() {
        let package = parse(
            r#"{"name": "shop", "version": "1.0.0", "type": "module", "main": "a.js", "exports": {".": {"import": "./a.js"}}, "browser": false,
            "dependencies": {"react": "^19", "a": "1"}, "devDependencies": {"vite": "7"}, "optionalDependencies": {"fsevents": "*"},
            "peerDependencies": {"vue": "3"}, "peerDependenciesMeta": {"vue": {"optional": true}, "x": 1}, "bundledDependencies": true,
            "overrides": {"a": "2", "b@1": {".": "1.1", "c": "$react"}}, "os": ["linux", "!win32"], "cpu": "x64", "engines": {"node": ">=18"},
            "license": 3, "scripts": {"build": "vite build"}}"#,
        )
        .expect("a package.json");
        assert_eq!((package.name.as_deref(), package.version.as_deref(), package.is_module), (Some("shop"), Some("1.0.0"), true));
        assert_eq!(package.entries.keys().collect::<Vec<_>>(), ["main", "exports", "browser"]);
        assert_eq!(package.dependencies, [("react".to_owned(), "^19".to_owned()), ("a".to_owned(), "1".to_owned())], "in their order");
        assert_eq!(
            (package.optional_peers, package.bundle_dependencies),
            (vec!["vue".to_owned()], vec!["react".to_owned(), "a".to_owned()])
        );
        assert_eq!((package.os.len(), &package.cpu[..], package.engines.len()), (2, &["x64".to_owned()][..], 1));
        let rules: Vec<_> = package.overrides.iter().map(|rule| (rule.key.as_str(), rule.value.as_str(), rule.rules.len())).collect();
        assert_eq!(rules, [("a", "2", 0), ("b@1", "1.1", 1)]);
    }

    #[test]
    fn wrong_values_are_errors_that_name_the_field() {
        let long = format!(r#"{{"dependencies": {{"a": "{}"}}}}"#, "1".repeat(5_000));
        for (text, expected) in [
            ("", "package.json: EOF while parsing"),
            ("{", "package.json: EOF while parsing"),
            ("{} x", "package.json: trailing characters"),
            ("[]", "package.json: .: [] is not an object"),
            (r#"{"dependencies": {"a": 1}}"#, "package.json: dependencies.a: 1 is not a text"),
            (r#"{"devDependencies": {"../a": "1"}}"#, "package.json: devDependencies.../a: 1 has no valid name"),
            (r#"{"dependencies": "react"}"#, "package.json: dependencies: \"react\" is not an object"),
            (r#"{"overrides": {"": "1"}}"#, "package.json: overrides.: \"1\" has no valid name"),
            (r#"{"overrides": {"a": [1]}}"#, "package.json: overrides.a: [1] is neither a text nor an object"),
            (&long, "is longer than 2048 bytes"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for lenient in
            ["\u{feff}{}", r#"{"dependencies": null, "name": 1, "os": 2, "engines": [], "overrides": null}"#, r#"{"dependencies": []}"#]
        {
            assert!(parse(lenient).is_ok(), "{lenient}");
        }
        let deep = format!(r#"{{"overrides": {}1{}}}"#, "{\"a\":".repeat(60), "}".repeat(60));
        assert!(parse(&deep).expect_err("deep").to_string().contains("levels"), "{:?}", parse(&deep));
        let limits = Limits { manifest_bytes: 2, ..Limits::default() };
        assert!(matches!(PackageJson::parse(b"{ }", &limits), Err(Error::TooLarge { limit: 2, .. })));
    }
}
