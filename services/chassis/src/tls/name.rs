//! The names in certificates. A certificate of a role has exactly one URI, `spiffe://backlot/ROLE`.

use rustls::pki_types::{CertificateDer, DnsName};
use webpki::EndEntityCert;

use crate::caller::Caller;

const PREFIX: &str = "spiffe://backlot/";

/// The URI in the certificate of a role.
#[must_use]
pub fn uri_of(role: Caller) -> String {
    format!("{PREFIX}{}", role.name())
}

/// The role of a certificate. `None` if it has no URI of a role, or a second URI.
pub(super) fn role_of(certificate: &CertificateDer<'_>) -> Option<Caller> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    let role = uris.next()?.strip_prefix(PREFIX).and_then(Caller::named)?;
    uris.next().is_none().then_some(role)
}

/// Whether a text is a DNS name that a certificate can have: no address, no wildcard, and no dot at its end.
#[must_use]
pub fn is_dns_name(text: &str) -> bool {
    DnsName::try_from(text).is_ok() && !text.ends_with('.') && text.parse::<std::net::IpAddr>().is_err()
}

/// The DNS names of a certificate, which programs check that connect without a certificate.
#[must_use]
pub fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    EndEntityCert::try_from(certificate).map(|found| found.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
}
