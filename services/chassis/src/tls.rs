//! TLS between the roles of a cluster. Each role has a certificate with its name, `spiffe://backlot/ROLE`, from a certification
//! authority (CA) of this cluster alone. A role checks the name of the role that it connects to. A call with a caller token needs the
//! certificate of the role that the token names; a program with an access token needs no certificate.
//!
//! - [`files`]: the three files of a role, which are read again when they change. [`name`]: the names in certificates.

mod files;
mod name;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::{KeyValue, global};
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub use self::{
    files::{CA_FILE, Files, LoadError},
    name::{dns_names, is_dns_name, uri_of},
};
use self::{
    files::{Identity, Stamp},
    name::role_of,
};
use crate::{
    caller::Caller,
    clock,
    config::{Env, Setting},
};

const MODE: &str = "BACKLOT_TLS";
const DIR: &str = "BACKLOT_TLS_DIR";

/// The first byte of a TLS connection. HTTP/2 without TLS begins with a `P`.
pub(crate) const HANDSHAKE: u8 = 0x16;

/// Whether a role uses TLS for calls between roles. The four steps are in the order of a change from plain connections to TLS: roles of
/// neighbouring steps understand each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Connects and listens without TLS.
    Off,
    /// Listens for both, connects without TLS.
    Accept,
    /// Listens for both, connects with TLS.
    Prefer,
    /// Connects and listens with TLS only.
    Require,
}

impl Mode {
    fn connects_with_tls(self) -> bool {
        matches!(self, Self::Prefer | Self::Require)
    }
}

impl Setting for Mode {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "accept" => Ok(Self::Accept),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            _ => Err("must be `off`, `accept`, `prefer` or `require`".to_owned()),
        }
    }
}

/// What a connection proves about its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It is without TLS, so it proves nothing. The listener accepts it only if its mode does.
    Plain,
    /// It is with TLS. The peer showed no certificate, or one without the name of a role.
    Unnamed,
    /// The peer has the certificate of this role.
    Role(Caller),
}

impl Peer {
    /// Whether a caller token of `caller` is accepted on the connection.
    #[must_use]
    pub fn may_call_as(self, caller: Caller) -> bool {
        match self {
            Self::Plain => true,
            Self::Unnamed => false,
            Self::Role(role) => role == caller,
        }
    }
}

/// The TLS of one role.
pub struct Tls {
    mode: Mode,
    role: Caller,
    files: Files,
    current: Mutex<Current>,
}

struct Current {
    identity: Arc<Identity>,
    /// The state of the files when they were last read, whether they could be used or not.
    read: Stamp,
}

impl Tls {
    /// Reads `BACKLOT_TLS` and the certificate of this role. `None` if TLS is off. A certificate that cannot be used is a fault. `data` is the
    /// folder of the cluster's data.
    pub fn read(env: &mut Env, role: Caller, data: &Path) -> Option<Arc<Self>> {
        let mode = env.get(
            MODE,
            "off",
            "TLS with certificates between roles: `off`, `accept` (listen for both, connect without), `prefer` (listen for both, connect \
             with TLS), `require`",
        );
        let folder = dir(env, data);
        if mode == Mode::Off || env.is_describing() {
            return None;
        }
        match Self::load(mode, role, Files::of(&folder, role)) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(error) => {
                env.fault(DIR, error.to_string());
                None
            }
        }
    }

    /// # Errors
    /// A file cannot be read, or the certificate is not that of the role.
    pub fn load(mode: Mode, role: Caller, files: Files) -> Result<Self, LoadError> {
        let read = files.stamp();
        let identity = Arc::new(Identity::load(&files, role)?);
        Ok(Self { mode, role, files, current: Mutex::new(Current { identity, read }) })
    }

    pub(crate) fn accepts_plain(&self) -> bool {
        self.mode != Mode::Require
    }

    pub(crate) fn connects_with_tls(&self) -> bool {
        self.mode.connects_with_tls()
    }

    /// Seconds until the certificate expires. Negative if it has expired.
    #[must_use]
    pub fn seconds_left(&self) -> i64 {
        self.identity().not_after.saturating_sub(clock::now().unix_timestamp())
    }

    /// Accepts a connection that begins with [`HANDSHAKE`].
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> io::Result<(server::TlsStream<S>, Peer)> {
        let config: Arc<ServerConfig> = Arc::clone(&self.identity().server);
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.and_then(role_of).map_or(Peer::Unnamed, Peer::Role);
        Ok((stream, peer))
    }

    /// Connects to a role. Another name in its certificate is an error.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, to: Caller, socket: S) -> io::Result<client::TlsStream<S>> {
        let config: Arc<ClientConfig> = Arc::clone(&self.identity().client);
        let name = ServerName::try_from(to.name()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        if certificate.and_then(role_of) == Some(to) {
            return Ok(stream);
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("the peer has no certificate of {}", to.name())))
    }

    /// Registers the metric of the remaining time.
    pub fn observe(self: &Arc<Self>) {
        let (tls, role) = (Arc::clone(self), KeyValue::new("role", self.role.name()));
        global::meter("backlot")
            .i64_observable_gauge("backlot.certificate.remaining")
            .with_unit("s")
            .with_description("time until the certificate of the role expires")
            .with_callback(move |gauge| gauge.observe(tls.seconds_left(), std::slice::from_ref(&role)))
            .build();
    }

    /// The newest certificate. The files are read when they have changed; until they can be used, the previous certificate stays.
    fn identity(&self) -> Arc<Identity> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.files.stamp();
        if stamp != current.read {
            match Identity::load(&self.files, self.role) {
                Ok(identity) => {
                    tracing::info!(role = self.role.name(), "the certificate was replaced");
                    current.identity = Arc::new(identity);
                }
                // A renewal replaces two files, so this may be the moment between them.
                Err(error) => tracing::warn!(role = self.role.name(), "the new certificate cannot be used: {error}"),
            }
            current.read = stamp;
        }
        Arc::clone(&current.identity)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).field("role", &self.role).finish_non_exhaustive()
    }
}

/// The folder of the certificates. `data` is the folder of the cluster's data.
pub fn dir(env: &mut Env, data: &Path) -> PathBuf {
    let given: Option<PathBuf> =
        env.derived(DIR, "<BACKLOT_DATA_DIR>/tls", "folder of the certificates between roles: ca.pem, ROLE.pem and ROLE.key");
    given.unwrap_or_else(|| data.join("tls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_token_needs_the_certificate_of_its_role() {
        for (peer, caller, accepted) in [
            (Peer::Plain, Caller::Gateway, true),
            (Peer::Unnamed, Caller::Gateway, false),
            (Peer::Role(Caller::Gateway), Caller::Gateway, true),
            (Peer::Role(Caller::Compile), Caller::Gateway, false),
            (Peer::Role(Caller::Gateway), Caller::Operator, false),
        ] {
            assert_eq!(peer.may_call_as(caller), accepted, "{peer:?} as {caller:?}");
        }
    }

    #[test]
    fn a_mode_is_one_of_four_words() {
        for (text, mode) in [("off", Mode::Off), ("accept", Mode::Accept), ("prefer", Mode::Prefer), ("require", Mode::Require)] {
            assert_eq!(Mode::parse(text), Ok(mode));
        }
        for text in ["", "on", "Require", "true"] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_role_without_a_certificate_is_a_fault_that_names_the_command() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().display().to_string();
        let mut env = Env::of([("BACKLOT_TLS", "require"), ("BACKLOT_TLS_DIR", path.as_str())]);
        assert!(Tls::read(&mut env, Caller::Auth, Path::new(".")).is_none());
        let fault = env.check().expect_err("a fault").to_string();
        assert_eq!(fault, format!("BACKLOT_TLS_DIR: {path}/ca.pem does not exist; make certificates with `backlot certs make`"));
        let mut env = Env::of([("BACKLOT_TLS_DIR", path.as_str())]);
        assert!(Tls::read(&mut env, Caller::Auth, Path::new(".")).is_none() && env.check().is_ok(), "off by default");
    }
}
