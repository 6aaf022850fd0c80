//! The URLs of previews: made from a capability, and the capability read from a request.

use std::net::SocketAddr;

use url::Url;

use crate::edge::origin::check_origin;

/// The placeholder in `BACKLOT_PREVIEW_URL`.
const PLACEHOLDER: &str = "{preview}";
/// Replaces the placeholder while the URL is checked.
const SAMPLE: &str = "preview";
/// Characters of a capability.
const CAPABILITY_LENGTH: usize = 26;

/// Where the URL of a preview has its capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PreviewUrl {
    /// Each preview has a host of its own: `prefix` + capability + `suffix`.
    Host { scheme: String, prefix: String, suffix: String, port: String },
    /// All previews share one origin: `<origin>/p/<capability>/`.
    Path { origin: String },
}

impl PreviewUrl {
    /// From the setting, or `http://{preview}.localhost` with the listener's port.
    pub(crate) fn new(setting: Option<&str>, listen: SocketAddr) -> Result<Self, String> {
        let default = format!("http://{PLACEHOLDER}.localhost:{}", listen.port());
        let text = setting.unwrap_or(&default);
        let count = text.matches(PLACEHOLDER).count();
        let sample = Url::parse(&text.replace(PLACEHOLDER, SAMPLE)).map_err(|e| format!("is not a URL: {e}"))?;
        check_origin(&sample)?;
        if count == 0 {
            return Ok(Self::Path { origin: sample.origin().ascii_serialization() });
        }
        let host = sample.host_str().unwrap_or_default();
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        // The placeholder must be in the first label, once, so that no other label can be mistaken for it.
        let (prefix, rest) = rest.split_once(PLACEHOLDER).ok_or("must contain {preview} in its host")?;
        if count != 1 || prefix.contains(['.', ':', '/', '@']) || !host.starts_with(&format!("{}{SAMPLE}", prefix.to_ascii_lowercase())) {
            return Err("must contain {preview} once, in the first label of its host".to_owned());
        }
        let suffix = rest.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
        if !suffix.starts_with('.') {
            return Err("must have a dot immediately after {preview}".to_owned());
        }
        let port = sample.port().map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self::Host { scheme: sample.scheme().to_owned(), prefix: prefix.to_ascii_lowercase(), suffix, port })
    }

    /// The URL of a preview. Relative links of its pages stay in the preview.
    pub(crate) fn url(&self, capability: &str) -> String {
        match self {
            Self::Host { scheme, prefix, suffix, port } => format!("{scheme}://{prefix}{capability}{suffix}{port}/"),
            Self::Path { origin } => format!("{origin}/p/{capability}/"),
        }
    }

    /// The path of the preview's root, which begins and ends with a slash.
    pub(crate) fn base(&self, capability: &str) -> String {
        match self {
            Self::Host { .. } => "/".to_owned(),
            Self::Path { .. } => format!("/p/{capability}/"),
        }
    }

    /// The source that the CSP of the first page allows in a frame.
    pub(crate) fn frame_source(&self) -> String {
        match self {
            Self::Host { scheme, suffix, port, .. } => format!("{scheme}://*{suffix}{port}"),
            Self::Path { origin } => origin.clone(),
        }
    }

    /// Whether a host, without its port, is that of a preview.
    pub(crate) fn has_host(&self, name: &str) -> bool {
        matches!(self, Self::Host { .. }) && self.target(name, "/").is_some()
    }

    /// The capability and the file's path that a request asks for. `path` is decoded and begins with `/`.
    pub(crate) fn target<'a>(&self, host: &str, path: &'a str) -> Option<(String, &'a str)> {
        match self {
            Self::Host { prefix, suffix, .. } => {
                let host = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
                let capability = host.strip_prefix(prefix.as_str())?.strip_suffix(suffix.as_str())?;
                is_capability(capability).then(|| (capability.to_owned(), path.trim_start_matches('/')))
            }
            Self::Path { .. } => {
                let (capability, file) = path.strip_prefix("/p/")?.split_once('/')?;
                is_capability(capability).then(|| (capability.to_owned(), file))
            }
        }
    }
}

/// Browsers write hosts in lower case, so a capability has no upper-case letters.
fn is_capability(text: &str) -> bool {
    text.len() == CAPABILITY_LENGTH && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITY: &str = "abcdefghijklmnopqrstuvwx27";

    fn url_of(setting: Option<&str>) -> PreviewUrl {
        PreviewUrl::new(setting, "127.0.0.1:8081".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_preview_has_its_own_host() {
        let previews = url_of(None);
        let url = format!("http://{CAPABILITY}.localhost:8081/");
        assert_eq!(previews.url(CAPABILITY), url);
        assert_eq!(previews.frame_source(), "http://*.localhost:8081");
        assert_eq!(previews.base(CAPABILITY), "/");
        let target = |host: &str, path: &str| previews.target(host, path).map(|(c, p)| (c, p.to_owned()));
        assert_eq!(target(&format!("{CAPABILITY}.localhost:8081"), "/a/b.js"), Some((CAPABILITY.into(), "a/b.js".into())));
        assert_eq!(target(&format!("{}.LOCALHOST", CAPABILITY.to_uppercase()), "/"), Some((CAPABILITY.into(), String::new())));
        for host in [
            "localhost:8081",
            "127.0.0.1:8081",
            "",
            "short.localhost",
            &format!("x.{CAPABILITY}.localhost"),
            &format!("{CAPABILITY}.example"),
        ] {
            assert_eq!(target(host, "/"), None, "{host}");
        }
    }

    #[test]
    fn a_preview_behind_a_wildcard_certificate() {
        let previews = url_of(Some("https://view-{preview}.Apps.example"));
        assert_eq!(previews.url(CAPABILITY), format!("https://view-{CAPABILITY}.apps.example/"));
        assert_eq!(previews.frame_source(), "https://*.apps.example");
        assert!(previews.target(&format!("view-{CAPABILITY}.apps.example"), "/").is_some());
    }

    #[test]
    fn a_preview_in_the_path() {
        let previews = url_of(Some("http://10.0.0.5:8081"));
        assert_eq!(previews.url(CAPABILITY), format!("http://10.0.0.5:8081/p/{CAPABILITY}/"));
        assert_eq!(previews.base(CAPABILITY), format!("/p/{CAPABILITY}/"));
        assert_eq!(previews.target("whatever", &format!("/p/{CAPABILITY}/a/b.js")), Some((CAPABILITY.into(), "a/b.js")));
        for path in ["/", "/p/", &format!("/p/{CAPABILITY}"), "/p/short/x", &format!("/q/{CAPABILITY}/x")] {
            assert_eq!(previews.target("whatever", path), None, "{path}");
        }
    }

    #[test]
    fn unusable_settings_are_refused() {
        for setting in [
            "nonsense",
            "ftp://{preview}.x",
            "http://x/{preview}",
            "http://a.{preview}.x",
            "http://{preview}{preview}.x",
            "http://{preview}x.y",
            "http://{preview}",
        ] {
            assert!(PreviewUrl::new(Some(setting), "127.0.0.1:1".parse().unwrap()).is_err(), "{setting}");
        }
    }
}
