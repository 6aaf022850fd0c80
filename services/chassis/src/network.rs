//! The networks that an address belongs to, for limits by client. The holder of an IPv6 address usually has its whole /64, and often
//! the /56 or the /48 around it, so limits that count single IPv6 addresses have no effect.

use std::net::{IpAddr, Ipv6Addr};

/// The first address of a network and the length of its prefix.
pub type Network = (IpAddr, u8);

/// The network that counts as one client: the address itself for IPv4 (/32), the /64 for IPv6. An IPv4-mapped IPv6 address is IPv4.
#[must_use]
pub fn client_network(address: IpAddr) -> Network {
    match address.to_canonical() {
        IpAddr::V4(v4) => (IpAddr::V4(v4), 32),
        IpAddr::V6(v6) => ipv6(v6, 64),
    }
}

/// [`client_network`] and the wider networks that one client may have, the narrowest first: for IPv6 also the /56 and the /48.
#[must_use]
pub fn client_networks(address: IpAddr) -> Vec<Network> {
    match address.to_canonical() {
        IpAddr::V4(_) => vec![client_network(address)],
        IpAddr::V6(v6) => [64, 56, 48].map(|prefix| ipv6(v6, prefix)).to_vec(),
    }
}

fn ipv6(address: Ipv6Addr, prefix: u8) -> Network {
    (IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - u32::from(prefix))))), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_three_networks_and_an_ipv4_address_one() {
        for (address, networks) in [
            ("192.0.2.7", &["192.0.2.7/32"][..]),
            ("::ffff:192.0.2.7", &["192.0.2.7/32"]),
            ("2001:db8:1:2ab:3:4:5:6", &["2001:db8:1:2ab::/64", "2001:db8:1:200::/56", "2001:db8:1::/48"]),
            ("::1", &["::/64", "::/56", "::/48"]),
        ] {
            let address = address.parse().unwrap();
            let text = |(network, prefix): Network| format!("{network}/{prefix}");
            assert_eq!(client_networks(address).into_iter().map(text).collect::<Vec<_>>(), networks);
            assert_eq!(text(client_network(address)), networks[0]);
        }
    }
}
