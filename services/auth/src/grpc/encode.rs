//! From the types of the service to messages.

use chassis::{clock::timestamp, context::Context};
use proto::{
    auth::{self as pb, SessionKind, WatchRevocationsResponse},
    id::SessionId,
};

use crate::{
    place::Places,
    revocation::Notice,
    session::{Kind, Session},
    user::{ServiceAccount, User},
};

pub(super) fn user(user: User) -> pb::User {
    pb::User {
        id: user.id.to_string(),
        email: user.email,
        display_name: user.display_name,
        plan: user.plan.into(),
        create_time: Some(timestamp(user.created_at)),
    }
}

pub(super) fn service_account(account: ServiceAccount) -> pb::ServiceAccount {
    pb::ServiceAccount {
        id: account.id.to_string(),
        display_name: account.display_name,
        create_time: Some(timestamp(account.created_at)),
        disable_time: account.disabled_at.map(timestamp),
    }
}

/// `current` is the session of the request, if it has one.
pub(super) fn session(places: &Places, session: &Session, current: Option<SessionId>) -> pb::Session {
    pb::Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.created_at)),
        expire_time: Some(timestamp(session.expires_at)),
        last_use_time: Some(timestamp(session.last_used_at)),
        kind: match session.kind {
            Kind::SignIn => SessionKind::SignIn,
            Kind::RefreshToken => SessionKind::RefreshToken,
            Kind::ApiKey => SessionKind::ApiKey,
        }
        .into(),
        device: session.origin.device.clone(),
        network: session.origin.network.clone(),
        display_name: session.display_name.clone(),
        is_current: current == Some(session.id),
        impersonator: session.impersonator.clone().unwrap_or_default(),
        place: places.of(&session.origin.network).unwrap_or_default(),
    }
}

pub(super) fn revocation(notice: Notice) -> WatchRevocationsResponse {
    let id = notice.session_id.map(|id| id.to_string()).unwrap_or_default();
    let (session_id, changed_session_id) = if notice.has_ended { (id, String::new()) } else { (String::new(), id) };
    let [cursor, backlog_end] = [notice.cursor, notice.backlog_end].map(|at| u64::try_from(at).unwrap_or_default());
    WatchRevocationsResponse { cursor, session_id, changed_session_id, backlog_end }
}

/// The session of the request.
pub(super) fn current(context: &Context) -> Option<SessionId> {
    context.user.as_ref().map(|user| user.session_id)
}
