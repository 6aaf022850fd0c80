//! A certification authority for one cluster: P-256 keys, one certificate of the authority, and one for each role.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use chassis::{identity::Caller, tls};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::{Duration, OffsetDateTime};

const NAME: &str = "Backlot cluster CA";
const VALID: Duration = Duration::days(3_650);
/// How far the clocks of two machines may differ.
const CLOCK_DIFFERENCE: Duration = Duration::hours(1);

/// A certificate and its key, in PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// The certificate and the key of a new authority.
    pub(super) fn create(now: OffsetDateTime) -> Result<Pair> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = params();
        (params.not_before, params.not_after) = (now - CLOCK_DIFFERENCE, now + VALID);
        let certificate = params.self_signed(&key).context("cannot make the certificate of the CA")?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The authority with this key, which [`Authority::create`] made.
    pub(super) fn open(key: &str) -> Result<Self> {
        Ok(Self(Issuer::new(params(), KeyPair::from_pem(key)?)))
    }

    /// A certificate of a role that is valid between two times. It also has the names by which programs call the role.
    pub(super) fn issue(&self, role: Caller, names: &[String], (from, until): (OffsetDateTime, OffsetDateTime)) -> Result<Pair> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut dns: Vec<&str> = vec![role.name(), "localhost"];
        dns.extend(names.iter().map(String::as_str).filter(|name| ![role.name(), "localhost"].contains(name)));
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(role.name());
        params.subject_alt_names.push(SanType::URI(tls::uri_of(role).try_into().context("the URI of the role")?));
        for name in dns {
            params.subject_alt_names.push(SanType::DnsName(name.try_into().with_context(|| format!("{name:?} is not a DNS name"))?));
        }
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (from - CLOCK_DIFFERENCE, until);
        let certificate = params.signed_by(&key, &self.0).with_context(|| format!("cannot make the certificate of {}", role.name()))?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// What certificates of the authority depend on, without its times.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
