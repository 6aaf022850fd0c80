//! What an operator does with invites.

use time::Duration;
use uuid::Uuid;

use crate::{
    admin::{Change, Page},
    app::App,
    audit::Kind,
    email::Email,
    error::Error,
    invite::Invite,
    session::SessionSecret,
    store::{self, audit, invites},
};

/// The invites, and the token of the next page.
///
/// # Errors
/// INVALID_FIELD if the page token is of another list.
pub(crate) async fn list(app: &App, page: Page) -> Result<(Vec<Invite>, String), Error> {
    let after = page.after::<Uuid>(&app.pages, "ListInvites")?.unwrap_or_default();
    let rows = invites::page(&app.pool, after, page.size + 1).await?;
    Ok(page.split(rows, |invite| app.pages.seal("ListInvites", &invite.id)))
}

impl Change<'_> {
    /// Makes an invite. Returns it with its token.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn create_invite(&self, email: Option<&Email>, lifetime: Duration) -> Result<(Invite, SessionSecret), Error> {
        let token = SessionSecret::generate()?;
        let invite = Invite {
            id: Uuid::now_v7(),
            email: email.map(|email| email.as_str().to_owned()),
            created_by: self.operator.clone(),
            created_at: self.now,
            expires_at: self.now + lifetime,
            used_at: None,
            used_by: None,
            revoked_at: None,
        };
        let mut tx = store::begin(&self.app.pool).await?;
        invites::insert(&mut *tx, &invite, &token.hash(), email.map(Email::identity)).await?;
        audit::append(&mut *tx, &self.event_of_none(Kind::InviteCreated).with("invite", &invite.id.to_string())).await?;
        store::commit(tx).await?;
        Ok((invite, token))
    }

    /// Revokes an invite. One that was used or revoked stays as it is.
    ///
    /// # Errors
    /// INVITE_NOT_FOUND.
    pub(crate) async fn revoke_invite(&self, id: Uuid) -> Result<Invite, Error> {
        let mut tx = store::begin(&self.app.pool).await?;
        if invites::revoke(&mut *tx, id, self.now).await? {
            audit::append(&mut *tx, &self.event_of_none(Kind::InviteRevoked).with("invite", &id.to_string())).await?;
        }
        let invite = invites::by_id(&mut *tx, id).await?.ok_or(Error::InviteNotFound)?;
        store::commit(tx).await?;
        Ok(invite)
    }
}
