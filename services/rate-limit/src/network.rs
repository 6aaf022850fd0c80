//! Whoever has an IPv6 address has its /64, and often the /56 or the /48 around it, and could ask as a new subject from each part. So
//! what is asked for a subject `address:` with an IPv6 address is asked for the networks around it, too. After a space the subject may
//! name what the address does it to.

use std::{net::Ipv6Addr, sync::Arc};

use chassis::share::networks;

use crate::counter::Ask;

/// How many times the policy's limit the /56 and the /48 have.
const TIMES: [u32; 2] = [2, 4];

/// The same ask for each network around the ask's subject; none for other subjects.
#[must_use]
pub fn around(ask: &Ask) -> Vec<Ask> {
    let Some((address, rest)) = address(&ask.subject) else { return Vec::new() };
    let wider = networks(address.into()).into_iter().skip(1);
    let times = |((network, prefix), times)| Ask {
        policy: Arc::new(ask.policy.times(times)),
        subject: format!("network:{network}/{prefix}{rest}"),
        cost: ask.cost,
    };
    wider.zip(TIMES).map(times).collect()
}

/// `address:2001:db8::1` and `address:2001:db8::/64`, and what follows it.
fn address(subject: &str) -> Option<(Ipv6Addr, &str)> {
    let text = subject.strip_prefix("address:")?;
    let (address, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    Some((address.split('/').next()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policies;

    #[test]
    fn an_address_of_ipv6_is_counted_with_its_networks() {
        let policies = Policies::shipped();
        let around = |subject: &str| {
            let ask = Ask { policy: Arc::clone(policies.named("auth").unwrap()), subject: subject.to_owned(), cost: 1 };
            super::around(&ask).into_iter().map(|ask| (ask.subject, ask.policy.max_cost())).collect::<Vec<_>>()
        };
        let expected = vec![("network:2001:db8:1:200::/56".to_owned(), 10), ("network:2001:db8:1::/48".to_owned(), 20)];
        for subject in ["address:2001:db8:1:2ab::", "address:2001:db8:1:2ab::/64", "address:2001:db8:1:2ab::7"] {
            assert_eq!(around(subject), expected, "{subject}");
            let of_account = expected.iter().map(|(subject, units)| (format!("{subject} account:ab"), *units)).collect::<Vec<_>>();
            assert_eq!(around(&format!("{subject} account:ab")), of_account, "{subject}");
        }
        for subject in [
            "address:192.0.2.1",
            "address:::ffff:192.0.2.1",
            "address:unknown",
            "user:2001:db8::1",
            "account:ab",
            "address:",
            "address: account:2001:db8::1",
        ] {
            assert_eq!(around(subject), [], "{subject}");
        }
    }
}
