//! Decodes and encodes the RPCs of invites.

use chassis::clock::timestamp;
use proto::{
    auth::{self as pb, CreateInviteRequest, CreateInviteResponse, ListInvitesRequest, ListInvitesResponse},
    error::Violations,
};
use time::Duration;

use crate::{
    admin::{Change, Page},
    app::App,
    email::Email,
    error::{Error, SERVICE},
    invite::{DEFAULT_LIFETIME, Invite, MAX_LIFETIME},
    invite_admin,
};

/// `violations` are those of the operator's name.
pub(super) async fn create(
    change: &Change<'_>,
    mut violations: Violations,
    CreateInviteRequest { email, hours, .. }: CreateInviteRequest,
) -> Result<CreateInviteResponse, Error> {
    let address: Option<Email> = if email.is_empty() { None } else { violations.parse("email", &email) };
    let lifetime = if hours == 0 { DEFAULT_LIFETIME } else { Duration::hours(hours.into()) };
    if lifetime > MAX_LIFETIME {
        violations.add("hours", format!("must be at most {}", MAX_LIFETIME.whole_hours()));
    }
    violations.check(SERVICE)?;
    let (created, token) = change.create_invite(address.as_ref(), lifetime).await?;
    let token = token.expose().to_owned();
    // The token is in the query, as in the links of mails: the page moves it into a cookie.
    let mut url = change.app.site.clone();
    url.set_path("/account/sign-up");
    url.query_pairs_mut().append_pair("token", &token);
    Ok(CreateInviteResponse { invite: Some(encoded(created)), token, url: url.into() })
}

pub(super) async fn list(
    app: &App,
    ListInvitesRequest { page_size, page_token }: ListInvitesRequest,
) -> Result<ListInvitesResponse, Error> {
    let mut violations = Violations::default();
    let page = Page { token: page_token, size: chassis::page::size(page_size, &mut violations) };
    violations.check(SERVICE)?;
    let (found, next_page_token) = invite_admin::list(app, page).await?;
    Ok(ListInvitesResponse { invites: found.into_iter().map(encoded).collect(), next_page_token })
}

pub(super) fn encoded(invite: Invite) -> pb::Invite {
    pb::Invite {
        id: invite.id.to_string(),
        email: invite.email.unwrap_or_default(),
        created_by: invite.created_by,
        create_time: Some(timestamp(invite.created_at)),
        expire_time: Some(timestamp(invite.expires_at)),
        use_time: invite.used_at.map(timestamp),
        used_by: invite.used_by.map(|id| id.to_string()).unwrap_or_default(),
        revoke_time: invite.revoked_at.map(timestamp),
    }
}
