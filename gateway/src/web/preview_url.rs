//! The URLs of previews: made from a label, and the label read from a request. A label is a capability, with the id of a turn behind it if the
//! preview shows the files of a running turn.

use std::net::SocketAddr;

use chassis::origin;
use proto::id::TurnId;
use url::Url;

use crate::web::host_pattern::HostPattern;

/// The placeholder in `BACKLOT_PREVIEW_URL`.
const PLACEHOLDER: &str = "{preview}";
/// Characters of a capability.
const CAPABILITY_LENGTH: usize = 26;
/// Characters of the id of a turn in a label, without hyphens.
const TURN_LENGTH: usize = 32;
/// Characters of the first part of a host.
const HOST_LABEL_LENGTH: usize = 63;

/// What a preview shows, and the right to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) capability: String,
    /// A running turn whose files are shown.
    pub(crate) turn: Option<TurnId>,
}

impl Label {
    /// Browsers write hosts in lower case, so a label has no upper-case letters.
    fn parse(text: &str) -> Option<Self> {
        let (capability, turn) = text.split_at_checked(CAPABILITY_LENGTH)?;
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) || !matches!(turn.len(), 0 | TURN_LENGTH) {
            return None;
        }
        let hyphenated = |id: &str| [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        let turn = if turn.is_empty() { None } else { Some(hyphenated(turn).parse().ok()?) };
        Some(Self { capability: capability.to_owned(), turn })
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let turn = self.turn.map(|turn| turn.to_string().replace('-', "")).unwrap_or_default();
        write!(f, "{}{turn}", self.capability)
    }
}

/// Where the URL of a preview has its capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PreviewUrl {
    /// Each preview has a host of its own.
    Host(HostPattern),
    /// All previews share one origin: `<origin>/p/<capability>/`.
    Path { origin: String },
}

impl PreviewUrl {
    /// From the setting, or `http://{preview}.localhost` with the listener's port.
    pub(crate) fn new(setting: Option<&str>, listen: SocketAddr) -> Result<Self, String> {
        let default = format!("http://{PLACEHOLDER}.localhost:{}", listen.port());
        let text = setting.unwrap_or(&default);
        if text.contains(PLACEHOLDER) {
            return HostPattern::parse(text, PLACEHOLDER).map(Self::Host);
        }
        let url = Url::parse(text).map_err(|e| format!("is not a URL: {e}"))?;
        origin::check(&url)?;
        Ok(Self::Path { origin: url.origin().ascii_serialization() })
    }

    /// The URL of a preview. Relative links of its pages stay in the preview.
    pub(crate) fn url(&self, label: &Label) -> String {
        match self {
            Self::Host(pattern) => pattern.url(&label.to_string()),
            Self::Path { origin } => format!("{origin}/p/{label}/"),
        }
    }

    /// The URL of a preview that nobody has.
    pub(crate) fn sample(&self) -> String {
        self.url(&Label { capability: "a".repeat(CAPABILITY_LENGTH), turn: None })
    }

    /// The path of the preview's root, which begins and ends with a slash.
    pub(crate) fn base(&self, label: &Label) -> String {
        match self {
            Self::Host(_) => "/".to_owned(),
            Self::Path { .. } => format!("/p/{label}/"),
        }
    }

    /// Whether a host has room for the id of a turn.
    pub(crate) fn fits_turns(&self) -> bool {
        match self {
            Self::Host(pattern) => pattern.label_length(CAPABILITY_LENGTH + TURN_LENGTH) <= HOST_LABEL_LENGTH,
            Self::Path { .. } => true,
        }
    }

    /// The source that the CSP of the first page allows in a frame.
    pub(crate) fn frame_source(&self) -> String {
        match self {
            Self::Host(pattern) => pattern.source(),
            Self::Path { origin } => origin.clone(),
        }
    }

    /// Whether a host, without its port, is that of a preview.
    pub(crate) fn has_host(&self, name: &str) -> bool {
        matches!(self, Self::Host { .. }) && self.target(name, "/").is_some()
    }

    /// The label and the file's path that a request asks for. `path` is decoded and begins with `/`.
    pub(crate) fn target<'a>(&self, host: &str, path: &'a str) -> Option<(Label, &'a str)> {
        match self {
            Self::Host(pattern) => Some((Label::parse(&pattern.name(host)?)?, path.trim_start_matches('/'))),
            Self::Path { .. } => {
                let (label, file) = path.strip_prefix("/p/")?.split_once('/')?;
                Some((Label::parse(label)?, file))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITY: &str = "abcdefghijklmnopqrstuvwx27";
    const TURN: &str = "0190b3a0-0000-7000-8000-00000000abcd";

    fn label() -> Label {
        Label { capability: CAPABILITY.to_owned(), turn: None }
    }

    #[test]
    fn a_label_can_have_a_turn() {
        let label = Label { turn: TURN.parse().ok(), ..label() };
        for setting in [None, Some("https://view-{preview}.apps.example"), Some("http://10.0.0.5:8081")] {
            let previews = url_of(setting);
            assert!(previews.fits_turns());
            let url = Url::parse(&previews.url(&label)).unwrap();
            assert_eq!(previews.target(url.host_str().unwrap(), url.path()), Some((label.clone(), "")), "{url}");
            assert!(url.host_str().unwrap().split('.').all(|part| part.len() <= HOST_LABEL_LENGTH));
        }
        assert!(!url_of(Some("https://preview-{preview}.apps.example")).fits_turns());
        for turn in ["0", &"g".repeat(32), &TURN.replace('-', "")[1..]] {
            assert_eq!(Label::parse(&format!("{CAPABILITY}{turn}")), None, "{turn}");
        }
    }

    fn url_of(setting: Option<&str>) -> PreviewUrl {
        PreviewUrl::new(setting, "127.0.0.1:8081".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_preview_has_its_own_host() {
        let previews = url_of(None);
        let url = format!("http://{CAPABILITY}.localhost:8081/");
        assert_eq!(previews.url(&label()), url);
        assert_eq!(previews.frame_source(), "http://*.localhost:8081");
        assert_eq!(previews.base(&label()), "/");
        let target = |host: &str, path: &str| previews.target(host, path).map(|(label, path)| (label, path.to_owned()));
        assert_eq!(target(&format!("{CAPABILITY}.localhost:8081"), "/a/b.js"), Some((label(), "a/b.js".into())));
        assert_eq!(target(&format!("{}.LOCALHOST", CAPABILITY.to_uppercase()), "/"), Some((label(), String::new())));
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
        assert_eq!(previews.url(&label()), format!("https://view-{CAPABILITY}.apps.example/"));
        assert_eq!(previews.frame_source(), "https://*.apps.example");
        assert!(previews.target(&format!("view-{CAPABILITY}.apps.example"), "/").is_some());
    }

    #[test]
    fn a_preview_in_the_path() {
        let previews = url_of(Some("http://10.0.0.5:8081"));
        assert_eq!(previews.url(&label()), format!("http://10.0.0.5:8081/p/{CAPABILITY}/"));
        assert_eq!(previews.base(&label()), format!("/p/{CAPABILITY}/"));
        assert_eq!(previews.target("whatever", &format!("/p/{CAPABILITY}/a/b.js")), Some((label(), "a/b.js")));
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
