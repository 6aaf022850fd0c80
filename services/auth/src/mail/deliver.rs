//! The task that sends the mails of the queue. Each replica has one. A mail whose attempt does not end, because the process was killed, is
//! due again when its lease ends.

use std::{sync::Arc, time::Duration};

use chassis::{clock, task::Ticks};
use futures::future::join_all;
use proto::id::UserId;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::{
    message,
    queue::{ClaimedMail, Kind, Mail},
    schedule::{self, WINDOW},
    sender::{SendError, Sender},
    words::Notice,
};
use crate::{
    email::{Email, EmailLookup},
    email_token::{EmailToken, Proof, Purpose},
    place::Places,
    session::NoRandomness,
    store::{self, Pool, StoreError, accounts, email_tokens, mails, ways_in},
    user::{Account, User},
    way_in::WayIn,
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
    places: Places,
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

/// The address of a mail and the token of its link. `None`: the mail has no valid address, or is void since it was claimed.
type Linked = Option<(Email, EmailToken)>;

/// What a mail says, with the values that it needs.
enum Content {
    SignUp(EmailToken),
    Verify(EmailToken),
    Reset(EmailToken),
    ChangeEmail(EmailToken),
    SignUpAttempt,
    PasswordChanged(Vec<WayIn>),
    PasswordReset(Vec<WayIn>),
    NewDevice(String),
    KeyMade(String),
    ServiceKeyMade(String),
    ProgramSignedIn(String),
    AccountDeleted,
    /// With the token that removes it. A mail of the release before has none.
    FactorAdded(Option<EmailToken>),
    FactorRemoved,
    RecoveryCodesReplaced,
    ChangeEmailAttempt,
    EmailChanged,
    IdentityLinked,
    IdentityUnlinked,
    PasskeyAdded(String, Option<EmailToken>),
    SecondStepFailed(String),
}

impl Content {
    fn notice<'a>(&'a self, at: OffsetDateTime) -> Notice<'a> {
        match self {
            Self::SignUp(token) => Notice::SignUp(token),
            Self::Verify(token) => Notice::Verify(token),
            Self::Reset(token) => Notice::Reset(token),
            Self::ChangeEmail(token) => Notice::ChangeEmail(token),
            Self::SignUpAttempt => Notice::SignUpAttempt,
            Self::PasswordChanged(ways) => Notice::PasswordChanged(ways, at),
            Self::PasswordReset(ways) => Notice::PasswordReset(ways, at),
            Self::NewDevice(network) => Notice::NewDevice(network, at),
            Self::KeyMade(network) => Notice::KeyMade(network, at),
            Self::ServiceKeyMade(network) => Notice::ServiceKeyMade(network, at),
            Self::ProgramSignedIn(network) => Notice::ProgramSignedIn(network, at),
            Self::AccountDeleted => Notice::AccountDeleted(at),
            Self::FactorAdded(token) => Notice::FactorAdded(token.as_ref(), at),
            Self::FactorRemoved => Notice::FactorRemoved(at),
            Self::RecoveryCodesReplaced => Notice::RecoveryCodesReplaced(at),
            Self::PasskeyAdded(network, token) => Notice::PasskeyAdded(network, token.as_ref(), at),
            Self::SecondStepFailed(network) => Notice::SecondStepFailed(network, at),
            Self::ChangeEmailAttempt => Notice::ChangeEmailAttempt,
            Self::EmailChanged => Notice::EmailChanged(at),
            Self::IdentityLinked => Notice::IdentityLinked(at),
            Self::IdentityUnlinked => Notice::IdentityUnlinked(at),
        }
    }
}

impl Delivery {
    /// `wake` reports that a mail was added.
    pub(crate) fn new(pool: Pool, sender: Sender, site: Url, places: Places, wake: Arc<Notify>) -> Self {
        Self { pool, sender, site, places, wake }
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
        let claimed = mails::claim(&self.pool, now, schedule::lease_end(now), BATCH).await?;
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
    async fn send(&self, claimed: &ClaimedMail, now: OffsetDateTime) -> Result<bool, Failure> {
        let mail = &claimed.mail;
        let since = |time| mails::sent_since(&self.pool, claimed, now - time);
        // Only the links of resets can expire before their mails cease to count.
        let (sent, usable) = (since(WINDOW).await?, since(Purpose::Reset.lifetime()).await?);
        let account = self.account(mail).await?;
        let is_verified = account.as_ref().is_some_and(|account| account.verified_at.is_some());
        if !schedule::may_send(mail.kind, is_verified, sent.counted_for(mail.kind), usable.counted_for(mail.kind)) {
            return Ok(false);
        }
        let Some((to, content)) = self.content(claimed, account.as_ref(), now).await? else { return Ok(false) };
        // The requester has no use for this one, so many accounts together cause no more of them than one.
        if matches!(content, Content::ChangeEmailAttempt) && !schedule::may_send(mail.kind, is_verified, sent.in_all, usable.in_all) {
            return Ok(false);
        }
        let message = message::write(claimed.id, &self.sender.from, to, &content.notice(mail.created_at).words(&self.site), now);
        self.sender.send(claimed.id, message).await?;
        Ok(true)
    }

    /// The account of the recipient, if there is one.
    async fn account(&self, mail: &Mail) -> Result<Option<Account>, StoreError> {
        if matches!(mail.kind, Kind::AccountDeleted | Kind::EmailChanged) {
            // The address may have another account by now.
            return Ok(None);
        }
        match (&mail.email, mail.user_id) {
            (Some(typed), _) => accounts::by_email(&self.pool, &EmailLookup::new(typed)).await,
            (None, Some(id)) => accounts::by_id(&self.pool, id).await,
            // The account was deleted.
            (None, None) => Ok(None),
        }
    }

    /// Decides by the present state of the account. A mail to an account goes to the stored address, however the address was typed.
    async fn content(&self, claimed: &ClaimedMail, account: Option<&Account>, now: OffsetDateTime) -> Result<Addressed, Failure> {
        let mail = &claimed.mail;
        let content = match (mail.kind, account) {
            (Kind::AccountDeleted, _) => return Ok(typed_address(mail).map(|to| (to, Content::AccountDeleted))),
            (Kind::EmailChanged, _) => return Ok(typed_address(mail).map(|to| (to, Content::EmailChanged))),
            // Also if nobody has verified it: its owner proves the address by a reset, and chooses the password, not the person who signs up.
            (Kind::SignUp, Some(_)) => Content::SignUpAttempt,
            (Kind::SignUp, None) => return Ok(saying(self.sign_up(claimed, now).await?, Content::SignUp)),
            (Kind::ChangeEmail, Some(holder)) if mail.user_id == Some(holder.user.id) => return Ok(None),
            (Kind::ChangeEmail, Some(holder)) if !holder.yields() => Content::ChangeEmailAttempt,
            (Kind::ChangeEmail, _) => return Ok(saying(self.change_email(claimed, now).await?, Content::ChangeEmail)),
            (Kind::Verify, Some(account)) if account.verified_at.is_none() => {
                return Ok(saying(self.link(claimed, account, Purpose::Verify, now).await?, Content::Verify));
            }
            (Kind::Reset, Some(account)) => return Ok(saying(self.link(claimed, account, Purpose::Reset, now).await?, Content::Reset)),
            (Kind::PasswordChanged, Some(account)) => Content::PasswordChanged(self.ways_in(account.user.id).await?),
            (Kind::PasswordReset, Some(account)) => Content::PasswordReset(self.ways_in(account.user.id).await?),
            (Kind::NewDevice, Some(_)) => Content::NewDevice(self.address_with_place(mail)),
            (Kind::KeyMade, Some(_)) => Content::KeyMade(self.address_with_place(mail)),
            (Kind::ServiceKeyMade, Some(_)) => Content::ServiceKeyMade(self.address_with_place(mail)),
            (Kind::ProgramSignedIn, Some(_)) => Content::ProgramSignedIn(self.address_with_place(mail)),
            (Kind::FactorAdded, Some(account)) if mail.factor.is_some() => {
                let linked = self.link(claimed, account, Purpose::RemoveFactor, now).await?;
                return Ok(saying(linked, |token| Content::FactorAdded(Some(token))));
            }
            (Kind::FactorAdded, Some(_)) => Content::FactorAdded(None),
            (Kind::FactorRemoved, Some(_)) => Content::FactorRemoved,
            (Kind::RecoveryCodesReplaced, Some(_)) => Content::RecoveryCodesReplaced,
            (Kind::IdentityLinked, Some(_)) => Content::IdentityLinked,
            (Kind::IdentityUnlinked, Some(_)) => Content::IdentityUnlinked,
            (Kind::PasskeyAdded, Some(account)) if mail.factor.is_some() => {
                let linked = self.link(claimed, account, Purpose::RemoveFactor, now).await?;
                return Ok(saying(linked, |token| Content::PasskeyAdded(self.address_with_place(mail), Some(token))));
            }
            (Kind::PasskeyAdded, Some(_)) => Content::PasskeyAdded(self.address_with_place(mail), None),
            (Kind::SecondStepFailed, Some(_)) => Content::SecondStepFailed(self.address_with_place(mail)),
            _ => return Ok(None),
        };
        Ok(account.and_then(stored_address).map(|to| (to, content)))
    }

    /// The address that a mail names, with its place if that is known.
    fn address_with_place(&self, mail: &Mail) -> String {
        let address = mail.network.clone().unwrap_or_default();
        match self.places.of(&address) {
            Some(place) => format!("{address} ({place})"),
            None => address,
        }
    }

    async fn ways_in(&self, user: UserId) -> Result<Vec<WayIn>, StoreError> {
        let mut tx = store::begin(&self.pool).await?;
        ways_in::of_user(&mut tx, user).await
    }

    async fn sign_up(&self, claimed: &ClaimedMail, now: OffsetDateTime) -> Result<Linked, Failure> {
        let sign_up = claimed.mail.sign_up.clone();
        self.link_to_typed(claimed, |to| Proof { sign_up, ..Proof::of(Purpose::SignUp, None, to) }, now).await
    }

    /// The link goes to the address that the account shall have.
    async fn change_email(&self, claimed: &ClaimedMail, now: OffsetDateTime) -> Result<Linked, Failure> {
        self.link_to_typed(claimed, |to| Proof::of(Purpose::ChangeEmail, claimed.mail.user_id, to), now).await
    }

    async fn link_to_typed(
        &self,
        claimed: &ClaimedMail,
        proof: impl FnOnce(&Email) -> Proof,
        now: OffsetDateTime,
    ) -> Result<Linked, Failure> {
        let Some(to) = typed_address(&claimed.mail) else { return Ok(None) };
        let proof = proof(&to);
        self.linked(claimed.id, to, &proof, now).await
    }

    async fn link(&self, claimed: &ClaimedMail, account: &Account, purpose: Purpose, now: OffsetDateTime) -> Result<Linked, Failure> {
        let Some(to) = stored_address(account) else { return Ok(None) };
        self.linked(claimed.id, to, &proof_of(account, purpose, claimed.mail.factor), now).await
    }

    /// Makes the token of a link. Each attempt to send makes a new one, so that none has to be stored.
    async fn linked(&self, id: Uuid, to: Email, proof: &Proof, now: OffsetDateTime) -> Result<Linked, Failure> {
        let token = EmailToken::generate()?;
        let is_inserted = email_tokens::insert(&self.pool, id, &token.hash(), proof, now + proof.purpose.lifetime()).await?;
        Ok(is_inserted.then_some((to, token)))
    }
}

/// The mail with its link.
fn saying(linked: Linked, content: impl FnOnce(EmailToken) -> Content) -> Addressed {
    linked.map(|(to, token)| (to, content(token)))
}

/// What a link proves that goes to the address of the account.
fn proof_of(account: &Account, purpose: Purpose, factor: Option<Uuid>) -> Proof {
    let User { id, email, .. } = &account.user;
    Proof { purpose, user_id: Some(*id), email: email.clone(), identity: EmailLookup::new(email).identity, sign_up: None, factor }
}

/// The address of the account. That of an old one may not be an address by the rules of today.
fn stored_address(account: &Account) -> Option<Email> {
    account.user.email.parse().ok()
}

/// The address that the mail itself has.
fn typed_address(mail: &Mail) -> Option<Email> {
    mail.email.as_deref().and_then(|typed| typed.parse().ok())
}
