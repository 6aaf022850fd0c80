//! Rate limits of sign-ups and sign-ins. The policy `auth` counts the client's address, `auth-guess` the pair of account and
//! address, and `auth-account` the account, so that one address can use up only a part of the account's limit. A sign-in from an address that the
//! account knows counts for this pair alone. A sign-in with a solved challenge counts for `auth-challenge` in place of `auth-account`, so it gets in
//! where others have used up the limit of the account. The subject of an account is a hash of the e-mail address that was typed: unknown
//! accounts are counted like known ones, and rate-limit never sees an e-mail address. The policy `service-accounts` counts the service
//! accounts that a person makes, by the id of the person.

use std::{fmt::Write as _, net::IpAddr};

use chassis::{client::ServiceChannel, context::Context, identity::sha256, network::client_network};
use proto::{error::Fault, id::UserId, rate_limit::rate_limit_service_client::RateLimitServiceClient};

use crate::{
    email::EmailLookup,
    error::{Error, SERVICE},
    user::Credentials,
};

const ADDRESS_POLICY: &str = "auth";
pub(crate) const ACCOUNT_POLICY: &str = "auth-account";
const CHALLENGE_POLICY: &str = "auth-challenge";
const GUESS_POLICY: &str = "auth-guess";
const SERVICE_ACCOUNT_POLICY: &str = "service-accounts";

/// Counts one attempt from this address and, if it is named, on this account: for all of the policies, or for none.
///
/// The account is counted before the password is checked, not after it was found wrong. Otherwise guesses from many addresses at the
/// same moment would all pass. A person's first sign-in from a new address costs one unit, too.
///
/// # Errors
/// RATE_LIMITED with the limits of the policy; UNAVAILABLE if rate-limit does not answer.
pub(crate) async fn count(
    limiter: &RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    address: &str,
    account: Option<&str>,
) -> Result<(), Error> {
    Ok(take(limiter, context, address, account.map(|account| (ACCOUNT_POLICY, account))).await?)
}

/// Takes the units of an address and, if one is named, of an account by a policy.
async fn take(
    limiter: &RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    address: &str,
    account: Option<(&str, &str)>,
) -> Result<(), Fault> {
    let address = format!("address:{address}");
    let mut checks = vec![(ADDRESS_POLICY, address.clone())];
    if let Some((policy, account)) = account {
        let account = account_subject(account);
        checks.push((GUESS_POLICY, format!("{address} {account}")));
        checks.push((policy, account));
    }
    let checks: Vec<_> = checks.iter().map(|(policy, subject)| (*policy, subject.as_str())).collect();
    chassis::limit::check(&mut limiter.clone(), context, SERVICE, &checks).await.map(drop)
}

/// Counts one sign-in to this account. If the account knows the address, the same policies count the pair of both alone: so nobody learns from the
/// calls and the limits whether there is an account, and sign-ins from elsewhere keep nobody out. `is_solved` says that the sign-in brings the
/// solution of a challenge.
///
/// # Errors
/// RATE_LIMITED with the limits of the policy; UNAVAILABLE if rate-limit does not answer.
pub(crate) async fn count_sign_in(
    limiter: &RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    (identity, is_known): (&str, bool),
    is_solved: bool,
) -> Result<(), Fault> {
    let address = address_of(context);
    let account = if is_known { format!("{identity} known at {address}") } else { identity.to_owned() };
    let policy = if is_solved { CHALLENGE_POLICY } else { ACCOUNT_POLICY };
    take(limiter, context, &address, Some((policy, &account))).await
}

/// Counts one code from this address and, if the address is new to the account, on the account. Codes have counters of their own, so that a
/// person who signs in with both factors has as many attempts for each. Only somebody with the password gets here.
///
/// # Errors
/// RATE_LIMITED with the limits of the policy; UNAVAILABLE if rate-limit does not answer.
pub(crate) async fn count_code(
    limiter: &RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    account: &Credentials,
) -> Result<(), Error> {
    let address = format!("{} codes", address_of(context));
    let identity = (!account.from_known_address).then(|| format!("{} codes", EmailLookup::new(&account.user.email).identity));
    count(limiter, context, &address, identity.as_deref()).await
}

/// Counts one password that confirms a sign-up with this address: from this client address, and for the identity of the e-mail address. They have
/// counters of their own. Only somebody with the link of a mail gets here.
///
/// # Errors
/// RATE_LIMITED with the limits of the policy; UNAVAILABLE if rate-limit does not answer.
pub(crate) async fn count_confirmation(
    limiter: &RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    identity: &str,
) -> Result<(), Error> {
    let address = format!("{} confirmations", address_of(context));
    count(limiter, context, &address, Some(&format!("{identity} confirmations"))).await
}

/// Counts one request for another address of an account: from this client address, and for the account. They have counters of their own for the
/// account, so that nobody with a session keeps its owner from signing in.
///
/// # Errors
/// RATE_LIMITED with the limits of the policy; UNAVAILABLE if rate-limit does not answer.
pub(crate) async fn count_new_address(
    limiter: &RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    account: UserId,
) -> Result<(), Error> {
    count(limiter, context, &address_of(context), Some(&format!("{account} new address"))).await
}

/// Counts one new service account of this person.
///
/// # Errors
/// RATE_LIMITED with the limits of the policy; UNAVAILABLE if rate-limit does not answer.
pub(crate) async fn count_service_account(
    limiter: &RateLimitServiceClient<ServiceChannel>,
    context: &Context,
    owner: UserId,
) -> Result<(), Error> {
    let subject = format!("user:{owner}");
    chassis::limit::check(&mut limiter.clone(), context, SERVICE, &[(SERVICE_ACCOUNT_POLICY, &subject)]).await?;
    Ok(())
}

/// The client's address as it is counted and remembered: an IPv4 address, or the /64 network of an IPv6 address, because its holder
/// can use every address in it.
pub(crate) fn address_of(context: &Context) -> String {
    context.client_address.map_or_else(|| "unknown".to_owned(), network)
}

fn network(address: IpAddr) -> String {
    let (network, prefix) = client_network(address);
    if network.is_ipv4() { network.to_string() } else { format!("{network}/{prefix}") }
}

fn account_subject(identity: &str) -> String {
    sha256(identity.as_bytes()).iter().fold("account:".to_owned(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_counted_as_its_network() {
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
    fn the_subject_of_an_account_does_not_contain_its_address() {
        let subject = account_subject("ada@example.org");
        assert_eq!(subject.len(), "account:".len() + 64);
        assert_eq!(subject, account_subject(&crate::email::EmailLookup::new("ADA@Example.org").identity));
        assert!(!subject.contains("ada"));
    }
}
