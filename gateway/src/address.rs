//! Whose request it is, as an address: the peer, or what the proxies in front of us say. Each trusted proxy appends the
//! address that it saw, so the entry that counts stands as many places from the right as there are trusted proxies; what a
//! client wrote itself stands further left and is never read.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

/// The client's address. With `hops` proxies in front, `peer` is the nearest of them.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, hops: usize) -> IpAddr {
    let mut address = canonical(peer);
    if hops == 0 {
        return address;
    }
    let chain: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim).collect();
    // From the right: each hop is believed only as far as the chain is readable.
    for entry in chain.iter().rev().take(hops) {
        match parse(entry) {
            Some(next) => address = next,
            None => break,
        }
    }
    address
}

/// What one client is for limits: an IPv4 address, or the /64 that an IPv6 client can choose from freely.
pub(crate) fn limit_key(address: IpAddr) -> IpAddr {
    match canonical(address) {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']')).unwrap_or(entry);
    bare.parse::<IpAddr>().or_else(|_| entry.parse::<SocketAddr>().map(|a| a.ip())).ok().map(canonical)
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(forwarded: &[&str], hops: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        client("10.0.0.1".parse().unwrap(), &headers, hops).to_string()
    }

    #[test]
    fn only_trusted_hops_are_believed() {
        assert_eq!(seen(&["203.0.113.9"], 0), "10.0.0.1");
        assert_eq!(seen(&["203.0.113.9"], 1), "203.0.113.9");
        assert_eq!(seen(&["6.6.6.6, 203.0.113.9"], 1), "203.0.113.9");
        assert_eq!(seen(&["6.6.6.6, 203.0.113.9, 10.0.0.2"], 2), "203.0.113.9");
        assert_eq!(seen(&["6.6.6.6", "203.0.113.9"], 1), "203.0.113.9");
    }

    #[test]
    fn a_short_or_unreadable_chain_ends_where_it_is_readable() {
        assert_eq!(seen(&[], 1), "10.0.0.1");
        assert_eq!(seen(&["203.0.113.9"], 3), "203.0.113.9");
        assert_eq!(seen(&["203.0.113.9, unknown"], 2), "10.0.0.1");
        assert_eq!(seen(&["unknown, 203.0.113.9"], 2), "203.0.113.9");
    }

    #[test]
    fn the_forms_that_proxies_write() {
        assert_eq!(seen(&["203.0.113.9:4711"], 1), "203.0.113.9");
        assert_eq!(seen(&["[2001:db8::1]:4711"], 1), "2001:db8::1");
        assert_eq!(seen(&["[2001:db8::1]"], 1), "2001:db8::1");
        assert_eq!(seen(&["::ffff:203.0.113.9"], 1), "203.0.113.9");
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let key = |text: &str| limit_key(text.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("203.0.113.9"), "203.0.113.9");
        assert_eq!(key("::ffff:203.0.113.9"), "203.0.113.9");
    }
}
