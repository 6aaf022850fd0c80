//! The hosts and networks that are reached although they are not public.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::canonical;
use crate::config::Setting;

/// Hosts and networks, from a setting such as `BACKLOT_OUTBOUND_ALLOW`. A host is allowed by its exact name, with every address that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
    /// The same for https only.
    encrypted: Encrypted,
}

/// The hosts of addresses with https that the operator has set elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Encrypted {
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Allowed {
    /// Whether a list of the only hosts contains this one.
    pub(super) fn has(&self, host: &Host<&str>) -> bool {
        match host {
            Host::Domain(name) => self.has_host(name, true),
            Host::Ipv4(address) => self.has_address((*address).into(), true),
            Host::Ipv6(address) => self.has_address((*address).into(), true),
        }
    }

    pub(super) fn has_host(&self, name: &str, is_encrypted: bool) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_one_of = |hosts: &[String]| hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
        is_one_of(&self.hosts) || is_encrypted && is_one_of(&self.encrypted.hosts)
    }

    /// Allows the host of an address that the operator has set: with http only if that address has it.
    pub(super) fn add_host_of(&mut self, url: &Url) {
        let is_encrypted = url.scheme() == "https";
        let address = match url.host() {
            Some(Host::Domain(name)) => {
                let hosts = if is_encrypted { &mut self.encrypted.hosts } else { &mut self.hosts };
                return hosts.push(name.strip_suffix('.').unwrap_or(name).to_owned());
            }
            Some(Host::Ipv4(address)) => canonical(address.into()),
            Some(Host::Ipv6(address)) => canonical(address.into()),
            None => return,
        };
        if is_encrypted {
            self.encrypted.addresses.push(address);
        } else {
            self.networks.push(IpNet::from(address));
        }
    }

    pub(super) fn has_address(&self, address: IpAddr, is_encrypted: bool) -> bool {
        let address = canonical(address);
        self.networks.iter().any(|network| network.contains(&address)) || is_encrypted && self.encrypted.addresses.contains(&address)
    }
}

impl Setting for Allowed {
    fn parse(text: &str) -> Result<Self, String> {
        let mut allowed = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if let Some(network) = network(part) {
                allowed.networks.push(network);
            } else {
                allowed.hosts.push(host(part).ok_or_else(|| {
                    "must be host names, addresses and networks such as 10.1.0.0/16, without ports, separated by commas".to_owned()
                })?);
            }
        }
        Ok(allowed)
    }
}

fn network(part: &str) -> Option<IpNet> {
    part.parse::<IpNet>().ok().map(|net| net.trunc()).or_else(|| part.parse::<IpAddr>().ok().map(|address| IpNet::from(canonical(address))))
}

/// The name as the parser of URLs writes it. Names that it reads as addresses are none.
fn host(part: &str) -> Option<String> {
    if part.contains(['/', ':', '@', '?', '#', '[', '\\', '%', '*']) || part.chars().any(char::is_whitespace) {
        return None;
    }
    match Url::parse(&format!("http://{part}/")).ok()?.host()? {
        Host::Domain(name) => Some(name.strip_suffix('.').unwrap_or(name).to_owned()),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_networks_are_allowed() {
        let allowed = Allowed::parse("models.internal, 10.1.0.0/16,127.0.0.1, fd00::/8, Bücher.Example").unwrap();
        for name in ["models.internal", "MODELS.internal", "models.internal.", "xn--bcher-kva.example"] {
            assert!(allowed.has_host(name, false), "{name}");
        }
        for name in ["internal", "x.models.internal", "models.internal.example.com", ""] {
            assert!(!allowed.has_host(name, false), "{name}");
        }
        for address in ["10.1.255.255", "::ffff:10.1.2.3", "127.0.0.1", "fd12::1"] {
            assert!(allowed.has_address(address.parse().unwrap(), false), "{address}");
        }
        for address in ["10.2.0.0", "127.0.0.2", "8.8.8.8", "fe80::1"] {
            assert!(!allowed.has_address(address.parse().unwrap(), false), "{address}");
        }
        assert_eq!(Allowed::parse(""), Ok(Allowed::default()));
    }

    #[test]
    fn an_entry_that_is_neither_is_a_fault() {
        for text in ["http://a", "a:80", "10.0.0.0/33", "a/b", "user@a", "0x7f.1", "[::1]", "a b", "*.internal"] {
            assert!(Allowed::parse(text).is_err(), "{text}");
        }
    }
}
