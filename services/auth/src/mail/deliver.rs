//! The task that sends the mails of the queue. Each replica has one. A mail whose attempt does not end, because the process was killed, is
//! due again when its lease ends.

use std::{sync::Arc, time::Duration};

use chassis::{clock, task::Ticks};
use futures::future::join_all;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    message,
    queue::{ClaimedMail, Kind, Mail},
    schedule::{self, LEASE, WINDOW},
    sender::{SendError, Sender},
    words::Notice,
};
use crate::{
    email::{Email, EmailLookup},
    email_token::{EmailToken, Proof, Purpose},
    session::NoRandomness,
    store::{
        Pool, StoreError, email_tokens, mails,
        proofs::{self, Account},
    },
};

/// How often the queue is read, if no call of this process has added a mail.
const POLL: Duration = Duration::from_secs(5);
/// Mails that are sent at the same time.
const BATCH: i64 = 8;

/// Sends mails until the process stops.
pub(crate) struct Delivery {
    pool: Pool,
    sender: Sender,
    site: Url,
    wake: Arc<Notify>,
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the database failed")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the token of a link could not be generated")]
    Token(#[from] NoRandomness),
}

/// The address of a mail and what it says. `None`: no mail is sent.
type Addressed = Option<(Email, Content)>;

/// What a mail says, with the values that it needs.
enum Content {
    Link(Purpose, EmailToken),
    SignUpAttempt,
    PasswordChanged,
    NewDevice(String),
}

impl Delivery {
    /// `wake` reports that a mail was added.
    pub(crate) fn new(pool: Pool, sender: Sender, site: Url, wake: Arc<Notify>) -> Self {
        Self { pool, sender, site, wake }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut polls = Ticks::new(POLL, stop.clone());
        while polls.next_or(self.wake.notified()).await {
            while !stop.is_cancelled() {
                match self.send_batch(clock::now()).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(cause = chassis::error::chain(&error), "the queue of mails could not be read; tried again soon");
                        break;
                    }
                }
            }
        }
    }

    /// Returns the number of mails that were due.
    async fn send_batch(&self, now: OffsetDateTime) -> Result<usize, StoreError> {
        let claimed = mails::claim(&self.pool, now, now + LEASE, BATCH).await?;
        let results = join_all(claimed.iter().map(|mail| self.finish(mail, now))).await;
        results.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(claimed.len())
    }

    /// Sends a mail and records the outcome.
    async fn finish(&self, claimed: &ClaimedMail, now: OffsetDateTime) -> Result<(), StoreError> {
        let failure = match self.send(claimed, now).await {
            Ok(true) => return mails::finish(&self.pool, claimed.id, clock::now()).await,
            Ok(false) => return mails::remove(&self.pool, claimed.id).await,
            Err(failure) => failure,
        };
        let is_final = matches!(&failure, Failure::Send(error) if error.is_final());
        let (id, kind, cause) = (claimed.id, claimed.mail.kind.name(), chassis::error::chain(&failure));
        match schedule::pause_after(claimed.attempts).filter(|_| !is_final) {
            Some(pause) => {
                tracing::warn!(%id, kind, cause, "a mail could not be sent; tried again in {} s", pause.whole_seconds());
                mails::postpone(&self.pool, id, clock::now() + pause).await
            }
            None => {
                tracing::warn!(%id, kind, cause, "a mail could not be sent and is dropped");
                mails::remove(&self.pool, id).await
            }
        }
    }

    /// Returns whether there was something to send.
    async fn send(&self, ClaimedMail { id, mail, .. }: &ClaimedMail, now: OffsetDateTime) -> Result<bool, Failure> {
        let sent = mails::sent_since(&self.pool, &mail.recipient, (*id, mail.kind), now - WINDOW).await?;
        if !schedule::may_send(mail.kind, sent) {
            return Ok(false);
        }
        let Some((to, content)) = self.content(mail, now).await? else { return Ok(false) };
        let notice = match &content {
            Content::Link(Purpose::SignUp, token) => Notice::SignUp(token),
            Content::Link(Purpose::Verify, token) => Notice::Verify(token),
            Content::Link(Purpose::Reset, token) => Notice::Reset(token),
            Content::SignUpAttempt => Notice::SignUpAttempt,
            Content::PasswordChanged => Notice::PasswordChanged(mail.created_at),
            Content::NewDevice(network) => Notice::NewDevice(network, mail.created_at),
        };
        let message = message::write(*id, &self.sender.from, to, &notice.words(&self.site), now);
        self.sender.send(*id, message).await?;
        Ok(true)
    }

    /// Decides by the present state of the account. A mail to an account goes to the stored address, however the address was typed.
    async fn content(&self, mail: &Mail, now: OffsetDateTime) -> Result<Addressed, Failure> {
        let account = match (&mail.email, mail.user_id) {
            (Some(typed), _) => proofs::by_email(&self.pool, &EmailLookup::new(typed)).await?,
            (None, Some(id)) => proofs::by_id(&self.pool, id).await?,
            (None, None) => None,
        };
        let content = match (mail.kind, &account) {
            // Also if nobody has verified it: its owner proves the address by a reset, and chooses the password, not the person who signs up.
            (Kind::SignUp, Some(_)) => Content::SignUpAttempt,
            (Kind::SignUp, None) => return self.sign_up(mail, now).await,
            (Kind::Verify, Some(account)) if !account.is_verified => self.link(account, Purpose::Verify, now).await?,
            (Kind::Reset, Some(account)) => self.link(account, Purpose::Reset, now).await?,
            (Kind::PasswordChanged, Some(_)) => Content::PasswordChanged,
            (Kind::NewDevice, Some(_)) => Content::NewDevice(mail.network.clone().unwrap_or_default()),
            _ => return Ok(None),
        };
        // The address of an old account may not be one by the rules of today.
        Ok(account.and_then(|account| account.email.parse().ok()).map(|to| (to, content)))
    }

    async fn sign_up(&self, mail: &Mail, now: OffsetDateTime) -> Result<Addressed, Failure> {
        let Some(to) = mail.email.as_deref().and_then(|typed| typed.parse::<Email>().ok()) else { return Ok(None) };
        let proof = Proof {
            purpose: Purpose::SignUp,
            user_id: None,
            email: to.as_str().to_owned(),
            identity: to.identity().to_owned(),
            sign_up: mail.sign_up.clone(),
        };
        let token = self.token(&proof, now).await?;
        Ok(Some((to, Content::Link(Purpose::SignUp, token))))
    }

    async fn link(&self, account: &Account, purpose: Purpose, now: OffsetDateTime) -> Result<Content, Failure> {
        let identity = EmailLookup::new(&account.email).identity;
        let proof = Proof { purpose, user_id: Some(account.id), email: account.email.clone(), identity, sign_up: None };
        Ok(Content::Link(purpose, self.token(&proof, now).await?))
    }

    /// Makes the token of a link. Each attempt to send makes a new one, so that none has to be stored.
    async fn token(&self, proof: &Proof, now: OffsetDateTime) -> Result<EmailToken, Failure> {
        let token = EmailToken::generate()?;
        email_tokens::insert(&self.pool, &token.hash(), proof, now + proof.purpose.lifetime()).await?;
        Ok(token)
    }
}
