//! From the types of the service to messages.

use chassis::clock::timestamp;
use proto::{
    auth::{self as pb, SessionKind, WatchRevocationsResponse},
    id::SessionId,
};

use crate::{
    revocation::Notice,
    session::{Kind, Session},
    user::User,
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

/// `current` is the session of the request, if it has one.
pub(super) fn session(session: &Session, current: Option<SessionId>) -> pb::Session {
    pb::Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.created_at)),
        expire_time: Some(timestamp(session.expires_at)),
        last_use_time: Some(timestamp(session.last_used_at)),
        kind: match session.kind {
            Kind::SignIn => SessionKind::SignIn,
            Kind::RefreshToken => SessionKind::RefreshToken,
        }
        .into(),
        device: session.origin.device.clone(),
        network: session.origin.network.clone(),
        display_name: session.display_name.clone(),
        is_current: current == Some(session.id),
        impersonator: session.impersonator.clone().unwrap_or_default(),
    }
}

pub(super) fn revocation(notice: Notice) -> WatchRevocationsResponse {
    let id = notice.session_id.map(|id| id.to_string()).unwrap_or_default();
    let (session_id, changed_session_id) = if notice.has_ended { (id, String::new()) } else { (String::new(), id) };
    WatchRevocationsResponse { cursor: u64::try_from(notice.cursor).unwrap_or_default(), session_id, changed_session_id }
}
