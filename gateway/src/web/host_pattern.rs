//! URLs whose hosts have a name in their first label, such as `https://{preview}.apps.example`.

use chassis::origin;
use url::Url;

/// Replaces the placeholder while the URL is checked.
const SAMPLE: &str = "sample";

/// A URL with a placeholder in its host: `scheme://` + `prefix` + name + `suffix` + `port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPattern {
    scheme: String,
    prefix: String,
    /// Begins with a dot.
    suffix: String,
    /// Empty, or begins with a colon.
    port: String,
}

impl HostPattern {
    /// Parses a setting with a placeholder such as `{preview}`.
    ///
    /// # Errors
    /// What is wrong with the setting.
    pub(crate) fn parse(text: &str, placeholder: &str) -> Result<Self, String> {
        let sample = Url::parse(&text.replace(placeholder, SAMPLE)).map_err(|e| format!("is not a URL: {e}"))?;
        origin::check(&sample)?;
        let host = sample.host_str().unwrap_or_default();
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        // The placeholder must be in the first label, once, so that no other label can be mistaken for it.
        let once = || format!("must contain {placeholder} once, in the first label of its host");
        let (prefix, rest) = rest.split_once(placeholder).ok_or_else(once)?;
        let is_first = !prefix.contains(['.', ':', '/', '@']) && host.starts_with(&format!("{}{SAMPLE}", prefix.to_ascii_lowercase()));
        if text.matches(placeholder).count() != 1 || !is_first {
            return Err(once());
        }
        let suffix = rest.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
        if !suffix.starts_with('.') {
            return Err(format!("must have a dot immediately after {placeholder}"));
        }
        let port = sample.port().map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self { scheme: sample.scheme().to_owned(), prefix: prefix.to_ascii_lowercase(), suffix, port })
    }

    /// The URL of a name, with a slash at its end.
    pub(crate) fn url(&self, name: &str) -> String {
        let Self { scheme, prefix, suffix, port } = self;
        format!("{scheme}://{prefix}{name}{suffix}{port}/")
    }

    /// The characters of the first label of a host whose name has this many.
    pub(crate) fn label_length(&self, name: usize) -> usize {
        self.prefix.len() + name
    }

    /// The source of a content security policy that covers all names.
    pub(crate) fn source(&self) -> String {
        let Self { scheme, suffix, port, .. } = self;
        format!("{scheme}://*{suffix}{port}")
    }

    /// The name in a host, which may have a port and be in any case.
    pub(crate) fn name(&self, host: &str) -> Option<String> {
        let host = without_port(host).to_ascii_lowercase();
        Some(host.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?.to_owned())
    }
}

/// A host without its port.
pub(crate) fn without_port(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}
