//! The files of a role: the certificates of the CA, its own certificate and its key, all in PEM.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore, ServerConfig,
    client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};

use super::name::{role_of, uri_of};
use crate::{caller::Caller, clock};

/// The file with the certificates of the CA.
pub const CA_FILE: &str = "ca.pem";
/// The only protocol of the listeners.
const ALPN: &[u8] = b"h2";
/// The permission bits of everybody but owner and group.
const OTHERS: u32 = 0o007;
/// The end of the year 9999, which no certificate outlives.
const FAR_FUTURE: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(253_402_300_799));

/// Where the files of a role are.
#[derive(Debug, Clone)]
pub struct Files {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Modification time in nanoseconds, inode and size of each file; 0 for a file that cannot be read.
pub(super) type Stamp = [(i128, u64, u64); 3];

/// Why the files of a role cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{} does not exist; make certificates with `backlot certs make`", .0.display())]
    Missing(PathBuf),
    #[error("{} cannot be read: {problem}", .path.display())]
    Unreadable { path: PathBuf, problem: String },
    #[error("{} gives access to others; run `chmod 600 {}`", .0.display(), .0.display())]
    OpenKey(PathBuf),
    #[error("{} has no certificate for {}: it must have exactly one URI, {}", .path.display(), .role.name(), uri_of(*.role))]
    OtherName { path: PathBuf, role: Caller },
    #[error("{} is not accepted: {problem}", .path.display())]
    Refused { path: PathBuf, problem: TlsError },
    #[error("{} cannot be used: {problem}", .path.display())]
    Authority { path: PathBuf, problem: VerifierBuilderError },
}

impl Files {
    /// The files of a role in a folder with the files of all roles.
    #[must_use]
    pub fn of(folder: &Path, role: Caller) -> Self {
        let file = |end: &str| folder.join(format!("{}.{end}", role.name()));
        Self { ca: folder.join(CA_FILE), certificate: file("pem"), key: file("key") }
    }

    /// The first certificate of the role's file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn first_certificate(&self) -> Result<CertificateDer<'static>, LoadError> {
        certificates(&self.certificate)?.into_iter().next().ok_or_else(|| no_certificate(&self.certificate))
    }

    /// When the role's certificate expires, in seconds since 1970.
    ///
    /// # Errors
    /// The certificate cannot be used.
    pub fn not_after(&self, role: Caller) -> Result<i64, LoadError> {
        Identity::load(self, role).map(|identity| identity.not_after)
    }

    pub(super) fn stamp(&self) -> Stamp {
        [&self.ca, &self.certificate, &self.key].map(|path| {
            let Ok(file) = fs::metadata(path) else { return (0, 0, 0) };
            (i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec()), file.ino(), file.len())
        })
    }
}

/// A certificate that was checked, in the two forms in which rustls uses it.
pub(super) struct Identity {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    /// When the certificate expires, in seconds since 1970.
    pub(super) not_after: i64,
}

impl Identity {
    pub(super) fn load(files: &Files, role: Caller) -> Result<Self, LoadError> {
        let provider = Arc::new(ring::default_provider());
        let refused = |problem| LoadError::Refused { path: files.certificate.clone(), problem };
        let roots = roots(&files.ca)?;
        let chain = certificates(&files.certificate)?;
        let first = chain.first().ok_or_else(|| no_certificate(&files.certificate))?;
        if role_of(first) != Some(role) {
            return Err(LoadError::OtherName { path: files.certificate.clone(), role });
        }
        let not_after = verify(first, &chain[1..], &roots, role).map_err(refused)?;
        let key = key(&files.key)?;
        let server = server_config(&provider, &roots, chain.clone(), key.clone_key());
        let server = server.map_err(|problem| LoadError::Authority { path: files.ca.clone(), problem })?.map_err(refused)?;
        let client = client_config(&provider, roots, chain, key).map_err(refused)?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client), not_after })
    }
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(clock::now().unix_timestamp().unsigned_abs()))
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, LoadError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|problem| LoadError::Refused { path: path.to_owned(), problem })?;
    }
    if roots.is_empty() { Err(no_certificate(path)) } else { Ok(Arc::new(roots)) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let text = read(path)?;
    let found: Result<_, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.map_err(|problem| LoadError::Unreadable { path: path.to_owned(), problem: problem.to_string() })
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    let text = read(path)?;
    let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & OTHERS != 0 {
        return Err(LoadError::OpenKey(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|problem| LoadError::Unreadable { path: path.to_owned(), problem: problem.to_string() })
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::Missing(path.to_owned()),
        _ => LoadError::Unreadable { path: path.to_owned(), problem: error.to_string() },
    })
}

fn no_certificate(path: &Path) -> LoadError {
    LoadError::Unreadable { path: path.to_owned(), problem: "it has no certificate".to_owned() }
}

/// Checks the certificate of a role as those will that connect to it. Returns when it expires, in seconds since 1970.
fn verify(first: &CertificateDer<'_>, others: &[CertificateDer<'_>], roots: &RootCertStore, role: Caller) -> Result<i64, TlsError> {
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let certificate = ParsedCertificate::try_from(first)?;
    let verify_at = |time| verify_server_cert_signed_by_trust_anchor(&certificate, roots, others, time, algorithms);
    verify_at(now())?;
    verify_server_name(&certificate, &ServerName::try_from(role.name()).map_err(|_| CertificateError::NotValidForName)?)?;
    // The same check at a later time tells when it will fail.
    match verify_at(FAR_FUTURE) {
        Err(TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX))
        }
        _ => Ok(i64::MAX),
    }
}

/// The outer error is one of the CA's file, the inner one of the certificate or its key.
fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Result<ServerConfig, TlsError>, VerifierBuilderError> {
    // Programs have an access token and no certificate. What a peer without a certificate may do is decided with its tokens.
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider)).allow_unauthenticated();
    // Programs need no list of the CA's names, and a role has one certificate.
    let clients = clients.clear_root_hint_subjects().build()?;
    Ok(ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13]).and_then(|builder| {
        let mut config = builder.with_client_cert_verifier(clients).with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would keep the certificate of the first one, even when that has expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }))
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
