//! What the gateway is called from outside: its own origin, and the origins of previews.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

/// The placeholder in `BACKLOT_PREVIEW_URL`.
const PLACEHOLDER: &str = "{preview}";
/// Stands in its place while a URL is checked.
const SAMPLE: &str = "preview";
/// Letters and digits of a preview's capability.
const CAPABILITY_LENGTH: usize = 26;

/// The public URL of the main listener: the one given, or the listener's own.
pub(crate) fn main_url(given: Option<&Url>, listen: SocketAddr) -> Result<Url, String> {
    let url = match given {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://{}", reachable(listen))).map_err(|e| e.to_string())?,
    };
    check_origin(&url)?;
    Ok(url)
}

/// An address that a browser on this machine can use for a listener on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port()) } else { listen }
}

fn check_origin(url: &Url) -> Result<(), String> {
    let plain = matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.username().is_empty() && url.password().is_none();
    if plain && url.path() == "/" && url.query().is_none() && url.fragment().is_none() {
        Ok(())
    } else {
        Err("must be http:// or https:// with a host, perhaps a port, and nothing else".to_owned())
    }
}

/// Whether only this machine can be meant.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => is_local_name(name),
        None => false,
    }
}

/// Whether a name is this machine's, wherever it is asked for.
pub(crate) fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The origins that may frame a preview and that the page itself has. On loopback a person types either name.
pub(crate) fn main_origins(url: &Url) -> Vec<String> {
    let origin = url.origin().ascii_serialization();
    if !is_loopback(url) {
        return vec![origin];
    }
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let mut origins = vec![origin];
    for host in ["127.0.0.1", "localhost"] {
        let other = format!("{}://{host}{port}", url.scheme());
        if !origins.contains(&other) {
            origins.push(other);
        }
    }
    origins
}

/// Whether browsers take both for one site, and so keep and send a session cookie between them: the scheme and the registrable domain are
/// the same. Ports do not matter; an address and a name without a dot are sites of their own.
fn is_same_site(one: &Url, other: &Url) -> bool {
    let site = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => psl::domain_str(name).unwrap_or(name).to_owned(),
        Some(address) => address.to_string(),
        None => String::new(),
    };
    one.scheme() == other.scheme() && site(one) == site(other)
}

/// What to tell an operator about each listed origin whose pages get no session cookie from us.
pub(crate) fn without_cookies(origins: &[String], ours: &Url) -> Vec<String> {
    let others = origins.iter().filter_map(|text| Url::parse(text).ok()).filter(|origin| !is_same_site(origin, ours));
    let told = others.map(|other| {
        let (origin, own) = (other.origin().ascii_serialization(), ours.origin().ascii_serialization());
        let port = ours.port().map_or_else(String::new, |port| format!(":{port}"));
        let way = match other.host_str() {
            // Here both names are ours.
            Some(host) if is_loopback(&other) && is_loopback(ours) && other.scheme() == ours.scheme() => {
                format!("let it call {}://{host}{port} instead, or ", ours.scheme())
            }
            _ => String::new(),
        };
        format!(
            "BACKLOT_CORS_ORIGINS: {origin} is another site than {own}, so browsers drop the session cookie of a sign-in there; {way}let it sign \
             in with tokenInAnswer and send access tokens"
        )
    });
    told.collect()
}

/// How a preview's capability stands in its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PreviewForm {
    /// Each preview has a host of its own: `prefix` + capability + `suffix`. The authority keeps a port, the host does not.
    Host { scheme: String, prefix: String, suffix: String, port: String },
    /// All share one origin: `<origin>/p/<capability>/`.
    Path { origin: String },
}

impl PreviewForm {
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
        // The placeholder must be (part of) the first label, once, so that no other label can be taken for it.
        let (prefix, behind) = rest.split_once(PLACEHOLDER).ok_or("must hold {preview} in its host")?;
        if count != 1 || prefix.contains(['.', ':', '/', '@']) || !host.starts_with(&format!("{}{SAMPLE}", prefix.to_ascii_lowercase())) {
            return Err("must hold {preview} once, in the first part of its host".to_owned());
        }
        let suffix = behind.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
        if !suffix.starts_with('.') {
            return Err("needs a dot right after {preview}".to_owned());
        }
        let port = sample.port().map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self::Host { scheme: sample.scheme().to_owned(), prefix: prefix.to_ascii_lowercase(), suffix, port })
    }

    /// The URL of a capability; relative links in it stay inside.
    pub(crate) fn url(&self, capability: &str) -> String {
        match self {
            Self::Host { scheme, prefix, suffix, port } => format!("{scheme}://{prefix}{capability}{suffix}{port}/"),
            Self::Path { origin } => format!("{origin}/p/{capability}/"),
        }
    }

    /// What the page's CSP allows in a frame.
    pub(crate) fn frame_source(&self) -> String {
        match self {
            Self::Host { scheme, suffix, port, .. } => format!("{scheme}://*{suffix}{port}"),
            Self::Path { origin } => origin.clone(),
        }
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

/// Browsers lower-case hosts, so a capability has one spelling.
fn is_capability(text: &str) -> bool {
    text.len() == CAPABILITY_LENGTH && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITY: &str = "abcdefghijklmnopqrstuvwx27";

    fn form(setting: Option<&str>) -> PreviewForm {
        PreviewForm::new(setting, "127.0.0.1:8081".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_listener_without_a_url_has_one() {
        let url = |listen: &str| main_url(None, listen.parse().unwrap()).unwrap().to_string();
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("[::]:8080"), "http://127.0.0.1:8080/");
    }

    #[test]
    fn on_loopback_both_names_are_ours() {
        let origins = |url: &str| main_origins(&Url::parse(url).unwrap());
        assert_eq!(origins("http://127.0.0.1:8080"), ["http://127.0.0.1:8080", "http://localhost:8080"]);
        assert_eq!(origins("http://localhost:8080"), ["http://localhost:8080", "http://127.0.0.1:8080"]);
        assert_eq!(origins("https://apps.example"), ["https://apps.example"]);
    }

    #[test]
    fn a_preview_has_its_own_host() {
        let form = form(None);
        let url = format!("http://{CAPABILITY}.localhost:8081/");
        assert_eq!(form.url(CAPABILITY), url);
        assert_eq!(form.frame_source(), "http://*.localhost:8081");
        let target = |host: &str, path: &str| form.target(host, path).map(|(c, p)| (c, p.to_owned()));
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
        let form = form(Some("https://view-{preview}.Apps.example"));
        assert_eq!(form.url(CAPABILITY), format!("https://view-{CAPABILITY}.apps.example/"));
        assert_eq!(form.frame_source(), "https://*.apps.example");
        assert!(form.target(&format!("view-{CAPABILITY}.apps.example"), "/").is_some());
    }

    #[test]
    fn a_preview_in_the_path() {
        let form = form(Some("http://10.0.0.5:8081"));
        assert_eq!(form.url(CAPABILITY), format!("http://10.0.0.5:8081/p/{CAPABILITY}/"));
        assert_eq!(form.target("whatever", &format!("/p/{CAPABILITY}/a/b.js")), Some((CAPABILITY.into(), "a/b.js")));
        for path in ["/", "/p/", &format!("/p/{CAPABILITY}"), "/p/short/x", &format!("/q/{CAPABILITY}/x")] {
            assert_eq!(form.target("whatever", path), None, "{path}");
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
            assert!(PreviewForm::new(Some(setting), "127.0.0.1:1".parse().unwrap()).is_err(), "{setting}");
        }
    }

    #[test]
    fn cookies_work_within_a_site() {
        let rows = [
            ("http://localhost:5173", "http://localhost:8080", true),
            ("http://127.0.0.1:5173", "http://127.0.0.1:8080", true),
            ("http://[::1]:5173", "http://[::1]:8080", true),
            ("http://localhost:5173", "http://127.0.0.1:8080", false),
            ("http://127.0.0.1:5173", "http://localhost:8080", false),
            ("http://127.0.0.2:5173", "http://127.0.0.1:8080", false),
            ("http://app.localhost:5173", "http://localhost:8080", false),
            ("http://app.localhost:5173", "http://api.app.localhost:8080", true),
            ("https://app.example.com", "https://api.example.com", true),
            ("https://example.com", "https://api.example.com", true),
            ("https://example.com", "https://example.com:8443", true),
            ("http://app.example.com", "https://api.example.com", false),
            ("https://example.org", "https://example.com", false),
            ("https://one.co.uk", "https://two.co.uk", false),
            ("https://a.one.co.uk", "https://b.one.co.uk", true),
            ("https://one.github.io", "https://two.github.io", false),
            ("https://one.vercel.app", "https://api.one.vercel.app", true),
        ];
        for (origin, ours, same) in rows {
            let (origin, ours) = (Url::parse(origin).unwrap(), Url::parse(ours).unwrap());
            assert_eq!(is_same_site(&origin, &ours), same, "{origin} {ours}");
        }
    }

    #[test]
    fn an_operator_is_told_of_pages_that_get_no_cookie() {
        let told = |origins: &[&str], ours: &str| {
            let origins: Vec<String> = origins.iter().map(|text| (*text).to_owned()).collect();
            without_cookies(&origins, &Url::parse(ours).unwrap())
        };
        assert_eq!(told(&["http://127.0.0.1:5173", "https://a.example"], "https://b.example").len(), 2);
        assert!(told(&["http://localhost:5173"], "http://localhost:8080").is_empty());
        let local = told(&["http://localhost:5173", "http://127.0.0.1:5173"], "http://127.0.0.1:8080");
        assert_eq!(local.len(), 1);
        for words in
            ["http://localhost:5173 is another site than http://127.0.0.1:8080", "call http://localhost:8080 instead", "tokenInAnswer"]
        {
            assert!(local[0].contains(words), "{local:?}");
        }
        assert!(!told(&["https://a.example"], "https://b.example")[0].contains("instead"));
    }
}
