//! What is counted of sign-ups and sign-ins. The policy `auth` counts the client's address. An account that somebody tries from an
//! address that never signed in to it is counted by `auth-account`, and by `auth-guess` together with the address, so that one address
//! uses only a part of what the account has. The account is named by a hash of what was typed, so that unknown ones are counted like
//! known ones and the limiter never learns an e-mail address.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv6Addr},
};

use chassis::{client::ServiceChannel, context::Context, identity::sha256};
use proto::rate_limit::rate_limit_service_client::RateLimitServiceClient;

use crate::error::{Error, SERVICE};

const ADDRESS: &str = "auth";
const ACCOUNT: &str = "auth-account";
const GUESS: &str = "auth-guess";

/// Asks rate-limit before anything expensive is done.
#[derive(Clone)]
pub struct Limits {
    client: RateLimitServiceClient<ServiceChannel>,
}

impl Limits {
    #[must_use]
    pub fn new(channel: ServiceChannel) -> Self {
        Self { client: RateLimitServiceClient::new(channel) }
    }

    /// Counts one attempt from this address and, where one is named, on this account: on all of them, or on none.
    ///
    /// The account is charged before the password is looked at, not after it was found wrong: otherwise as many guesses as
    /// there are addresses would pass at the same moment. A person's first sign-in from a new address costs one unit too.
    ///
    /// # Errors
    /// RATE_LIMITED with the policy's figures; UNAVAILABLE when rate-limit does not answer.
    pub async fn count(&self, context: &Context, address: &str, account: Option<&str>) -> Result<(), Error> {
        let address = format!("address:{address}");
        let mut checks = vec![(ADDRESS, address.clone())];
        if let Some(account) = account.map(account_subject) {
            checks.push((GUESS, format!("{address} {account}")));
            checks.push((ACCOUNT, account));
        }
        let checks: Vec<_> = checks.iter().map(|(policy, subject)| (*policy, subject.as_str())).collect();
        chassis::limit::check(&mut self.client.clone(), context, SERVICE, &checks).await?;
        Ok(())
    }
}

/// The client's address as it is counted and remembered: an IPv6 client has a whole /64 to choose from, so that is one.
#[must_use]
pub fn address_of(context: &Context) -> String {
    context.client_address.map_or_else(|| "unknown".to_owned(), network)
}

fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{}/64", Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

fn account_subject(identity: &str) -> String {
    sha256(identity.as_bytes()).iter().fold("account:".to_owned(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_counted_by_what_its_client_can_choose_from() {
        for (address, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(network(address.parse().expect("address")), counted);
        }
        assert_eq!(address_of(&Context::background()), "unknown");
    }

    #[test]
    fn an_account_is_named_without_its_address() {
        let subject = account_subject("ada@example.org");
        assert_eq!(subject.len(), "account:".len() + 64);
        assert_eq!(subject, account_subject(&crate::email::Typed::new("ADA@Example.org").identity));
        assert!(!subject.contains("ada"));
    }
}
