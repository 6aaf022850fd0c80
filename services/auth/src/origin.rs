//! Where a sign-in came from, as its person sees it: the device in plain words, and the network. Neither the User-Agent nor the address
//! is stored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of a User-Agent that are read.
pub(crate) const MAX_USER_AGENT: usize = 512;
/// Characters of the name of a program.
const MAX_PROGRAM: usize = 40;

/// Where a session was started. Empty texts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub device: String,
    pub network: String,
}

impl Origin {
    pub(crate) fn new(user_agent: &str, address: Option<IpAddr>) -> Self {
        Self { device: device(user_agent), network: address.map(network).unwrap_or_default() }
    }
}

/// Marks of browsers in a User-Agent. The first match counts, because most browsers also claim to be Chrome, and Chrome to be Safari.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

/// Marks of systems. The first match counts: Android also says Linux, and an iPhone also says Mac OS X.
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
    ("FreeBSD", "FreeBSD"),
];

/// The browser or program and the system of a User-Agent, such as `Firefox on Windows` or `curl`. Empty if neither is known.
fn device(user_agent: &str) -> String {
    let text: String = user_agent.chars().take(MAX_USER_AGENT).collect();
    let find = |marks: &[(&str, &'static str)]| marks.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name);
    if !text.starts_with("Mozilla/") {
        return program(&text);
    }
    match (find(BROWSERS), find(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    }
}

/// The product at the beginning of a User-Agent that is not a browser's.
fn program(text: &str) -> String {
    let name = text.split(['/', ' ', ';', '(']).next().unwrap_or_default();
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if is_plain && name.len() <= MAX_PROGRAM { name.to_owned() } else { String::new() }
}

/// The first 24 bits of an IPv4 address or the first 48 bits of an IPv6 address, as a network.
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("{}/24", Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(v6) => format!("{}/48", Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_in_plain_words() {
        let mozilla = |rest: &str| format!("Mozilla/5.0 {rest}");
        let chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0";
        for (agent, named) in [
            (mozilla("(Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"), "Firefox on Windows"),
            (mozilla(&format!("(Windows NT 10.0; Win64; x64) {chrome} Safari/537.36")), "Chrome on Windows"),
            (mozilla(&format!("(Windows NT 10.0; Win64; x64) {chrome} Safari/537.36 Edg/142.0.0.0")), "Edge on Windows"),
            (mozilla(&format!("(X11; CrOS x86_64 14541.0.0) {chrome} Safari/537.36")), "Chrome on ChromeOS"),
            (mozilla(&format!("(X11; Linux x86_64) {chrome} Safari/537.36 OPR/120.0.0.0")), "Opera on Linux"),
            (mozilla(&format!("(Linux; Android 15; Pixel 9) {chrome} Mobile Safari/537.36")), "Chrome on Android"),
            (
                mozilla("(Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15"),
                "Safari on macOS",
            ),
            (
                mozilla(
                    "(iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 Mobile Safari/604.1",
                ),
                "Chrome on iPhone",
            ),
            (mozilla("(iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Mobile/15E148 Safari/604.1"), "Safari on iPad"),
            (mozilla("(something else)"), ""),
            ("curl/8.14.1".to_owned(), "curl"),
            ("python-requests/2.32".to_owned(), "python-requests"),
            (String::new(), ""),
            ("<script>alert(1)</script>".to_owned(), ""),
            ("ü/1".to_owned(), ""),
            ("x".repeat(10_000), ""),
        ] {
            assert_eq!(device(&agent), named, "{agent:.80}");
        }
    }

    #[test]
    fn an_address_is_cut_to_its_network() {
        for (address, cut) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("::1", "::/48"),
        ] {
            assert_eq!(network(address.parse().expect("address")), cut);
        }
        assert_eq!(Origin::new("", None), Origin::default());
    }
}
