//! The origin of the gateway as browsers see it, and which sites share cookies with it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use chassis::origin;
use url::{Host, Url};

/// The public URL of the main listener: the one given, or the listener's own.
pub(crate) fn main_url(given: Option<&Url>, listen: SocketAddr) -> Result<Url, String> {
    let url = match given {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://{}", reachable(listen))).map_err(|e| e.to_string())?,
    };
    origin::check(&url)?;
    Ok(url)
}

/// An address that a browser on this machine can use for a listener on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port()) } else { listen }
}

/// Whether a URL can only mean this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => is_local_name(name),
        None => false,
    }
}

/// Whether a name means the machine that resolves it.
pub(crate) fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The origins of the page, which may also frame previews. On loopback a person may type either name.
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

/// Whether browsers treat both as the same site, so that a session cookie works between them: scheme and registrable domain are equal.
/// Ports do not matter. An address, or a name without a dot, is a site of its own.
pub(crate) fn is_same_site(one: &Url, other: &Url) -> bool {
    let site = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => psl::domain_str(name).unwrap_or(name).to_owned(),
        Some(address) => address.to_string(),
        None => String::new(),
    };
    one.scheme() == other.scheme() && site(one) == site(other)
}

/// A warning for each listed origin whose pages cannot use a session cookie of this gateway.
pub(crate) fn cookie_warnings(origins: &[String], main: &Url) -> Vec<String> {
    let others = origins.iter().filter_map(|text| Url::parse(text).ok()).filter(|origin| !is_same_site(origin, main));
    let warnings = others.map(|other| {
        let (origin, own) = (other.origin().ascii_serialization(), main.origin().ascii_serialization());
        let port = main.port().map_or_else(String::new, |port| format!(":{port}"));
        let advice = match other.host_str() {
            // The gateway serves both names of loopback.
            Some(host) if is_loopback(&other) && is_loopback(main) && other.scheme() == main.scheme() => {
                format!("let it call {}://{host}{port} instead, or ", main.scheme())
            }
            _ => String::new(),
        };
        format!(
            "BACKLOT_CORS_ORIGINS: {origin} is another site than {own}, so browsers drop the session cookie of a sign-in there; {advice}let it sign \
             in with tokenInAnswer and send access tokens"
        )
    });
    warnings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_without_a_url_has_one() {
        let url = |listen: &str| main_url(None, listen.parse().unwrap()).unwrap().to_string();
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("[::]:8080"), "http://127.0.0.1:8080/");
    }

    #[test]
    fn both_loopback_names_are_origins_of_the_page() {
        let origins = |url: &str| main_origins(&Url::parse(url).unwrap());
        assert_eq!(origins("http://127.0.0.1:8080"), ["http://127.0.0.1:8080", "http://localhost:8080"]);
        assert_eq!(origins("http://localhost:8080"), ["http://localhost:8080", "http://127.0.0.1:8080"]);
        assert_eq!(origins("https://apps.example"), ["https://apps.example"]);
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
        for (origin, main, same) in rows {
            let (origin, main) = (Url::parse(origin).unwrap(), Url::parse(main).unwrap());
            assert_eq!(is_same_site(&origin, &main), same, "{origin} {main}");
        }
    }

    #[test]
    fn an_operator_is_warned_of_origins_without_a_cookie() {
        let warnings = |origins: &[&str], main: &str| {
            let origins: Vec<String> = origins.iter().map(|text| (*text).to_owned()).collect();
            cookie_warnings(&origins, &Url::parse(main).unwrap())
        };
        assert_eq!(warnings(&["http://127.0.0.1:5173", "https://a.example"], "https://b.example").len(), 2);
        assert!(warnings(&["http://localhost:5173"], "http://localhost:8080").is_empty());
        let local = warnings(&["http://localhost:5173", "http://127.0.0.1:5173"], "http://127.0.0.1:8080");
        assert_eq!(local.len(), 1);
        for words in
            ["http://localhost:5173 is another site than http://127.0.0.1:8080", "call http://localhost:8080 instead", "tokenInAnswer"]
        {
            assert!(local[0].contains(words), "{local:?}");
        }
        assert!(!warnings(&["https://a.example"], "https://b.example")[0].contains("instead"));
    }
}
