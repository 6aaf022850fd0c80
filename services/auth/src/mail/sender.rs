//! Sends mails: to a mail server, or into the outbox.

use std::{path::PathBuf, time::Duration};

use chassis::{clock, task};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor, address::Envelope};
use tokio::time::timeout;
use uuid::Uuid;

use super::{from::From, message::Message, outbox, schedule::ATTEMPT_LIMIT, settings::Settings};
use crate::email::Email;

/// The time limit of one command of the mail server.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// Why a mail was not sent. The texts have no address and nothing that the server wrote, because it may repeat the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    #[error("the mail server has refused the mail with the code {0}")]
    Refused(u16),
    #[error("the mail server asks to try later, with the code {0}")]
    Later(u16),
    #[error("the mail server cannot be used: {0}")]
    Server(&'static str),
    #[error("the outbox cannot be written: {0}")]
    Outbox(std::io::ErrorKind),
    #[error("the address cannot be used in SMTP")]
    Address,
}

impl SendError {
    /// Whether another attempt would fail, too.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Address)
    }
}

/// Sends mails from one address.
pub(crate) struct Sender {
    pub(crate) from: From,
    way: Way,
}

enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Outbox(PathBuf),
}

/// The settings of the mail server cannot be used. [`Settings::read`] has reported the faults of the URL before.
#[derive(Debug, thiserror::Error)]
#[error("the mail server of BACKLOT_SMTP_URL cannot be used")]
pub struct SmtpError;

impl Sender {
    /// # Errors
    /// The host of the mail server is no name that a certificate may have.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SmtpError> {
        let way = match &settings.smtp {
            Some(url) => {
                // The error could repeat the URL.
                let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose()).map_err(|_| SmtpError)?;
                Way::Smtp(builder.timeout(Some(COMMAND_LIMIT)).build())
            }
            None => Way::Outbox(settings.outbox.clone()),
        };
        Ok(Self { from: settings.from.clone(), way })
    }

    pub(crate) async fn send(&self, id: Uuid, message: Message) -> Result<(), SendError> {
        match &self.way {
            Way::Outbox(folder) => {
                let folder = folder.clone();
                let written = task::blocking(move || outbox::write(&folder, id, &message.bytes, clock::now())).await;
                written.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(|e| SendError::Outbox(e.kind()))
            }
            Way::Smtp(server) => {
                let envelope = Envelope::new(Some(address(&self.from.email)?), vec![address(&message.to)?]);
                let envelope = envelope.map_err(|_| SendError::Address)?;
                match timeout(ATTEMPT_LIMIT, server.send_raw(&envelope, &message.bytes)).await {
                    Ok(sent) => sent.map(drop).map_err(|error| classified(&error)),
                    Err(_) => Err(SendError::Server("it took too long")),
                }
            }
        }
    }
}

/// The address with the domain as the DNS uses it.
fn address(email: &Email) -> Result<Address, SendError> {
    Address::new(email.local(), email.host()).map_err(|_| SendError::Address)
}

fn classified(error: &lettre::transport::smtp::Error) -> SendError {
    let code = error.status().map(u16::from).unwrap_or_default();
    if error.is_permanent() {
        SendError::Refused(code)
    } else if error.is_transient() {
        SendError::Later(code)
    } else if error.is_timeout() {
        SendError::Server("it took too long")
    } else if error.is_tls() {
        SendError::Server("TLS failed; its certificate must be valid for the host in BACKLOT_SMTP_URL")
    } else if error.is_client() {
        SendError::Server("it lacks a feature that the mail or the sign-in needs")
    } else {
        SendError::Server("the connection failed")
    }
}
