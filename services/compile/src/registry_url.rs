//! The setting with the address of the npm registry.

use chassis::config::Setting;

/// The public registry.
pub(crate) const DEFAULT: &str = "https://registry.npmjs.org";

/// The address of a registry: an origin and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url(pub(crate) reqwest::Url);

impl Setting for Url {
    fn parse(text: &str) -> Result<Self, String> {
        let url: reqwest::Url = text.parse().map_err(|_| format!("must be a URL such as {DEFAULT}"))?;
        let has_more = url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some();
        if !["http", "https"].contains(&url.scheme()) || has_more || !url.has_host() {
            return Err("must be an http or https URL without credentials, query and fragment".to_owned());
        }
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_credentials() {
        for text in [DEFAULT, "http://127.0.0.1:4873", "https://npm.example/a/b/"] {
            assert!(Url::parse(text).is_ok(), "{text}");
        }
        for text in ["", "registry.npmjs.org", "ftp://a", "https://a:b@c", "https://a/?b", "https://a/#b", "file:///etc", "data:x"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
