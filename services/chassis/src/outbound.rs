//! The guard of outbound addresses that a person can set, such as that of a provider. It keeps requests away from private networks,
//! loopback and services of metadata. The name is resolved once for each connection, all its addresses are checked, and the connection goes
//! to a checked one, so a name that changes its address gains nothing. Redirects are not followed, and variables for proxies are ignored.
//!
//! The operator allows exceptions with `BACKLOT_OUTBOUND_ALLOW`. Addresses that the operator sets are not guarded.

mod address;
mod allow;

use std::{fmt, net::SocketAddr, sync::Arc};

pub use address::is_public;
pub use allow::Allowed;
use reqwest::{
    ClientBuilder, Method, RequestBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::{Host, Url};

use crate::config::Env;

/// Bytes of an address.
const MAX_BYTES: usize = 2_048;
/// Ports below 1,024 belong to other protocols, except for these.
const WEB_PORTS: [u16; 2] = [80, 443];
const FIRST_OTHER_PORT: u16 = 1_024;

/// Why an address is not reached. The texts are for the person who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("must be a URL of at most {MAX_BYTES} bytes without spaces, control characters and backslashes")]
    Form,
    #[error("must begin with https://, unless the operator allows its host (BACKLOT_OUTBOUND_ALLOW)")]
    Scheme,
    #[error("must not have a user name or a password")]
    UserInfo,
    #[error("must not have a fragment (#)")]
    Fragment,
    #[error("must have the port 80, 443 or one above 1,023, unless the operator allows its host (BACKLOT_OUTBOUND_ALLOW)")]
    Port,
    #[error("must have a host of the operator's list (BACKLOT_PROVIDER_KEY_HOSTS)")]
    NotListed,
    #[error("must lead to an address of the public internet, unless the operator allows it (BACKLOT_OUTBOUND_ALLOW)")]
    NotPublic,
}

/// The rules for outbound addresses of one process. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<Allowed>,
    /// The only hosts; `None` is every public one, and what is allowed.
    only: Option<Arc<Allowed>>,
    names: Arc<dyn Resolve>,
}

impl Guard {
    /// Reads the setting `BACKLOT_OUTBOUND_ALLOW`.
    pub fn read(env: &mut Env) -> Self {
        Self::new(env.get(
            "BACKLOT_OUTBOUND_ALLOW",
            "",
            "hosts and networks that addresses set by persons may lead to although they are not public, separated by commas; http is allowed \
             for them, too",
        ))
    }

    #[must_use]
    pub fn new(allowed: Allowed) -> Self {
        Self::with_names(allowed, Arc::new(SystemNames))
    }

    /// A guard that resolves names in another way, for tests.
    #[must_use]
    pub fn with_names(allowed: Allowed, names: Arc<dyn Resolve>) -> Self {
        Self { allowed: Arc::new(allowed), only: None, names }
    }

    /// The same guard, which lets only these hosts through. They must be public or allowed, too. `None` is no restriction.
    #[must_use]
    pub fn restricted_to(self, only: Option<Allowed>) -> Self {
        Self { only: only.map(Arc::new), ..self }
    }

    /// The same guard, which also allows the host of an address that the operator has set: with https only, if that address has it.
    #[must_use]
    pub fn allowing_host_of(self, url: &Url) -> Self {
        let mut allowed = Allowed::clone(&self.allowed);
        allowed.add_host_of(url);
        Self { allowed: Arc::new(allowed), ..self }
    }

    /// The address in its canonical form. A name is not resolved here.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse(&self, text: &str) -> Result<Url, Refused> {
        let is_plain = text.len() <= MAX_BYTES && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\');
        let url = Some(text).filter(|_| is_plain).and_then(|text| Url::parse(text).ok()).ok_or(Refused::Form)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Checks everything of an address except for what its name resolves to, which the client of [`Guard::client`] checks when it connects.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host().ok_or(Refused::Form)?;
        if !["https", "http"].contains(&url.scheme()) {
            return Err(Refused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Refused::Fragment);
        }
        if self.only.as_ref().is_some_and(|only| !only.has(&host)) {
            return Err(Refused::NotListed);
        }
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(v4) => Some(v4.into()),
            Host::Ipv6(v6) => Some(v6.into()),
        };
        let is_encrypted = url.scheme() == "https";
        let is_allowed = match host {
            Host::Domain(name) => self.allowed.has_host(name, is_encrypted),
            Host::Ipv4(_) | Host::Ipv6(_) => address.is_some_and(|address| self.allowed.has_address(address, is_encrypted)),
        };
        if is_allowed {
            return Ok(());
        }
        if address.is_some_and(|address| !is_public(address)) {
            return Err(Refused::NotPublic);
        }
        if !is_encrypted {
            return Err(Refused::Scheme);
        }
        let port = url.port_or_known_default().ok_or(Refused::Port)?;
        if port < FIRST_OTHER_PORT && !WEB_PORTS.contains(&port) { Err(Refused::Port) } else { Ok(()) }
    }

    /// A client whose every connection is guarded. `builder` has the limits of time and the like.
    ///
    /// # Errors
    /// The client cannot be built, for instance without root certificates.
    pub fn client(&self, builder: ClientBuilder) -> reqwest::Result<Client> {
        let inner = builder.redirect(redirect::Policy::none()).no_proxy().referer(false).dns_resolver(Arc::new(self.clone())).build()?;
        Ok(Client { inner, guard: self.clone() })
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allowed", &self.allowed).field("only", &self.only).finish_non_exhaustive()
    }
}

/// Resolves a name for a connection. One address that is not public makes the whole name refused, because a name that mixes them is meant to
/// get around the check.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let is_allowed = guard.allowed.has_host(name.as_str(), true);
            let found: Vec<SocketAddr> = guard.names.resolve(name).await?.collect();
            let is_refused = |found: &SocketAddr| !is_public(found.ip()) && !guard.allowed.has_address(found.ip(), true);
            if !is_allowed && found.iter().any(is_refused) {
                return Err(Refused::NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The resolver of the operating system.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The client sets the port.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A client that reaches only what its guard allows.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    guard: Guard,
}

impl Client {
    /// Begins a request. The address is checked again, because the client does not resolve hosts that are numeric.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, Refused> {
        self.guard.check(&url)?;
        Ok(self.inner.request(method, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Setting as _;

    fn guard(allowed: &str) -> Guard {
        Guard::new(Allowed::parse(allowed).unwrap())
    }

    #[test]
    fn an_address_is_canonical_and_public() {
        for (text, canonical) in [
            ("https://api.example.com/v1", "https://api.example.com/v1"),
            ("HTTPS://API.Example.COM:443/v1", "https://api.example.com/v1"),
            ("https://bücher.example", "https://xn--bcher-kva.example/"),
            ("https://8.8.8.8:8443/v1", "https://8.8.8.8:8443/v1"),
            ("https://134744072/", "https://8.8.8.8/"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ] {
            assert_eq!(guard("").parse(text).unwrap().as_str(), canonical, "{text}");
        }
        for (text, refused) in [
            ("", Refused::Form),
            ("api.example.com", Refused::Form),
            ("https://", Refused::Form),
            (" https://api.example.com", Refused::Form),
            ("https://api.example.com\\@127.0.0.1/", Refused::Form),
            ("https://a\tb.example.com/", Refused::Form),
            ("file:///etc/passwd", Refused::Form),
            ("gopher://api.example.com/", Refused::Scheme),
            ("http://api.example.com/", Refused::Scheme),
            ("https://user@api.example.com/", Refused::UserInfo),
            ("https://:secret@api.example.com/", Refused::UserInfo),
            ("https://api.example.com/#x", Refused::Fragment),
            ("https://api.example.com:25/", Refused::Port),
            ("https://api.example.com:0/", Refused::Port),
            ("https://127.0.0.1/", Refused::NotPublic),
            ("http://127.0.0.1:6379/", Refused::NotPublic),
            ("https://0x7f.1/", Refused::NotPublic),
            ("https://[::ffff:127.0.0.1]/", Refused::NotPublic),
        ] {
            assert_eq!(guard("").parse(text).expect_err(text), refused, "{text}");
        }
        assert_eq!(guard("").parse(&format!("https://a.example/{}", "x".repeat(MAX_BYTES))), Err(Refused::Form));
    }

    #[test]
    fn only_listed_hosts_pass_a_restricted_guard() {
        let listed = || Some(Allowed::parse("api.example.com, models.internal, 8.8.8.0/24, 10.0.0.1").unwrap());
        let restricted = guard("models.internal").restricted_to(listed());
        for text in [
            "https://api.example.com/v1",
            "https://API.example.com./",
            "http://models.internal/v1",
            "https://8.8.8.8/",
            "https://0x08080808/",
        ] {
            assert!(restricted.parse(text).is_ok(), "{text}");
        }
        for (text, refused) in [
            ("https://other.example.com/", Refused::NotListed),
            ("https://x.api.example.com/", Refused::NotListed),
            ("https://api.example.com.evil.example/", Refused::NotListed),
            ("https://8.8.4.4/", Refused::NotListed),
            ("https://127.0.0.1/", Refused::NotListed),
            ("https://api.example.com@evil.example/", Refused::UserInfo),
            // The list allows nothing that the guard refuses.
            ("http://api.example.com/", Refused::Scheme),
            ("https://10.0.0.1/", Refused::NotPublic),
        ] {
            assert_eq!(restricted.parse(text).expect_err(text), refused, "{text}");
        }
        assert!(guard("").restricted_to(None).parse("https://other.example.com/").is_ok());
    }

    #[test]
    fn what_the_operator_allows_may_be_private_and_plain() {
        let guard = guard("models.internal, 10.1.0.0/16");
        for text in ["http://models.internal:80/v1", "http://models.internal:22/", "http://10.1.2.3:11434/v1", "https://0x0a010203/"] {
            assert!(guard.parse(text).is_ok(), "{text}");
        }
        let guard = guard.allowing_host_of(&Url::parse("http://id.internal:8080/x").unwrap());
        let guard = guard.allowing_host_of(&Url::parse("http://[::1]:8080/x").unwrap());
        let guard = guard.allowing_host_of(&Url::parse("https://login.internal/x").unwrap());
        let guard = guard.allowing_host_of(&Url::parse("https://10.3.0.1/x").unwrap());
        for text in ["http://login.internal/keys", "http://10.3.0.1/keys"] {
            assert!(guard.parse(text).is_err(), "no other address of it is less than its own: {text}");
            assert!(guard.parse(&text.replace("http:", "https:")).is_ok(), "{text}");
        }
        for text in ["http://id.internal/keys", "http://[::1]:9/", "http://10.1.2.3/"] {
            assert!(guard.parse(text).is_ok(), "{text}");
        }
        for text in [
            "http://10.2.0.1/",
            "http://127.0.0.1/",
            "http://x.models.internal/",
            "http://models.internal.example.com/",
            "http://a@models.internal/",
        ] {
            assert!(guard.parse(text).is_err(), "{text}");
        }
    }
}
