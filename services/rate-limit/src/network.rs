//! The networks around an IPv6 address. A client with an IPv6 address usually has the whole /64 network, and often the /56 or /48 network
//! around it, so it can use many addresses. Therefore a check of a subject `address:<IPv6 address>` is repeated for the /56 and the /48
//! network, with a higher limit. After a space, the subject may continue with other text, such as an account.

use std::{net::Ipv6Addr, sync::Arc};

use chassis::network::client_networks;

use crate::counter::Check;

/// The limits of the /56 and of the /48 network, as multiples of the policy's limit.
const MULTIPLES: [u32; 2] = [2, 4];

/// The same check for each network around an IPv6 address; empty for other subjects.
pub(crate) fn wider_checks(check: &Check) -> Vec<Check> {
    let Some((address, rest)) = address(&check.subject) else { return Vec::new() };
    let wider = client_networks(address.into()).into_iter().skip(1);
    let wider_check = |((network, prefix), multiple)| Check {
        policy: Arc::new(check.policy.times(multiple)),
        subject: format!("network:{network}/{prefix}{rest}"),
        cost: check.cost,
    };
    wider.zip(MULTIPLES).map(wider_check).collect()
}

/// Splits a subject such as `address:2001:db8::1` or `address:2001:db8::/64 account:ab` into the address and the text after it.
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
    fn a_check_of_an_ipv6_address_is_repeated_for_its_networks() {
        let policies = Policies::shipped();
        let wider = |subject: &str| {
            let check = Check { policy: Arc::clone(policies.named("auth").unwrap()), subject: subject.to_owned(), cost: 1 };
            wider_checks(&check).into_iter().map(|check| (check.subject, check.policy.max_cost())).collect::<Vec<_>>()
        };
        let expected = vec![("network:2001:db8:1:200::/56".to_owned(), 10), ("network:2001:db8:1::/48".to_owned(), 20)];
        for subject in ["address:2001:db8:1:2ab::", "address:2001:db8:1:2ab::/64", "address:2001:db8:1:2ab::7"] {
            assert_eq!(wider(subject), expected, "{subject}");
            let of_account = expected.iter().map(|(subject, units)| (format!("{subject} account:ab"), *units)).collect::<Vec<_>>();
            assert_eq!(wider(&format!("{subject} account:ab")), of_account, "{subject}");
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
            assert_eq!(wider(subject), [], "{subject}");
        }
    }
}
