//! The setting with the address of the npm registry.

use chassis::config::Setting;

/// The public registry.
pub(crate) const DEFAULT: &str = "https://registry.npmjs.org";

/// The value for no registry.
pub(crate) const NONE: &str = "none";

/// The address of a registry: an origin and a path. `None` is a machine without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryUrl(pub Option<reqwest::Url>);

impl Setting for RegistryUrl {
    fn parse(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self(None));
        }
        let url: reqwest::Url = text.parse().map_err(|_| format!("must be a URL such as {DEFAULT}, or {NONE}"))?;
        let has_more = url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some();
        if !["http", "https"].contains(&url.scheme()) || has_more || !url.has_host() {
            return Err(format!("must be {NONE}, or an http or https URL without credentials, query and fragment"));
        }
        Ok(Self(Some(url)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_credentials() {
        for text in [DEFAULT, "http://127.0.0.1:4873", "https://npm.example/a/b/"] {
            assert!(RegistryUrl::parse(text).is_ok(), "{text}");
        }
        assert_eq!(RegistryUrl::parse("none"), Ok(RegistryUrl(None)));
        for text in ["", "registry.npmjs.org", "ftp://a", "https://a:b@c", "https://a/?b", "https://a/#b", "file:///etc", "data:x"] {
            assert!(RegistryUrl::parse(text).is_err(), "{text}");
        }
    }
}
