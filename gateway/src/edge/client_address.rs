//! The address of a request's client: the peer, or what the proxies in front of the gateway report. Each trusted proxy appends the address
//! that it saw to `X-Forwarded-For`. So the client's address is at the n-th place from the right, where n is the number of trusted proxies.
//! Entries further left were written by the client and are never read.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

/// The client's address. `hops` is the number of trusted proxies; `peer` is the nearest of them.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, hops: usize) -> IpAddr {
    let mut address = canonical(peer);
    if hops == 0 {
        return address;
    }
    let chain: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim).collect();
    // From the right, as far as the entries can be read.
    for entry in chain.iter().rev().take(hops) {
        match parse(entry) {
            Some(next) => address = next,
            None => break,
        }
    }
    address
}

/// Reads an address with or without a port; IPv6 with or without brackets.
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
        client_address("10.0.0.1".parse().unwrap(), &headers, hops).to_string()
    }

    #[test]
    fn only_trusted_hops_are_read() {
        assert_eq!(seen(&["203.0.113.9"], 0), "10.0.0.1");
        assert_eq!(seen(&["203.0.113.9"], 1), "203.0.113.9");
        assert_eq!(seen(&["6.6.6.6, 203.0.113.9"], 1), "203.0.113.9");
        assert_eq!(seen(&["6.6.6.6, 203.0.113.9, 10.0.0.2"], 2), "203.0.113.9");
        assert_eq!(seen(&["6.6.6.6", "203.0.113.9"], 1), "203.0.113.9");
    }

    #[test]
    fn a_short_or_unreadable_chain_is_read_as_far_as_possible() {
        assert_eq!(seen(&[], 1), "10.0.0.1");
        assert_eq!(seen(&["203.0.113.9"], 3), "203.0.113.9");
        assert_eq!(seen(&["203.0.113.9, unknown"], 2), "10.0.0.1");
        assert_eq!(seen(&["unknown, 203.0.113.9"], 2), "203.0.113.9");
    }

    #[test]
    fn addresses_in_all_forms_that_proxies_write_are_read() {
        assert_eq!(seen(&["203.0.113.9:4711"], 1), "203.0.113.9");
        assert_eq!(seen(&["[2001:db8::1]:4711"], 1), "2001:db8::1");
        assert_eq!(seen(&["[2001:db8::1]"], 1), "2001:db8::1");
        assert_eq!(seen(&["::ffff:203.0.113.9"], 1), "203.0.113.9");
    }
}
