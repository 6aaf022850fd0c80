//! The middleware that identifies the sender of a request, and the extractors that pass the identity to a handler.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::request::Parts,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chassis::{context::Context, identity::User};
use proto::error::ErrorCode;

use crate::{
    edge::{request::RequestInfo, slots::Slot},
    error::{Failure, fault},
    identity::sessions::{Credential, Identity, Sessions},
};

/// The middleware that adds the [`Identity`] to a request.
pub(crate) async fn identify(State(sessions): State<Arc<Sessions>>, mut request: Request, next: Next) -> Response {
    let identity = match (sessions.credentials(request.headers()), request.extensions().get::<RequestInfo>()) {
        (Ok(credentials), Some(info)) => sessions.identify(credentials, &info.context(None)).await,
        (Err(fault), _) => Identity::refused(fault),
        (Ok(_), None) => Identity::anonymous(),
    };
    if let (Some(user), Some(slot)) = (identity.user(), request.extensions().get::<Slot>())
        && let Err(refusal) = slot.assign(user.id)
    {
        return refusal.into_response();
    }
    request.extensions_mut().insert(identity);
    next.run(request).await
}

/// The caller of a route that needs a person.
pub(crate) struct Authenticated {
    pub(crate) context: Context,
    pub(crate) user: User,
    pub(crate) credential: Credential,
}

impl<S: Send + Sync> FromRequestParts<S> for Authenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let (info, identity) = extensions(parts)?;
        let (user, credential) = identity.require()?;
        Ok(Self { context: info.context(Some(user.clone())), user, credential })
    }
}

/// The caller of a route that does not need a person. A credential that nobody could check is refused: without its person the route would
/// answer as if nobody were signed in.
pub(crate) struct MaybeAuthenticated {
    pub(crate) context: Context,
    pub(crate) identity: Identity,
}

impl MaybeAuthenticated {
    /// The context without the person of the request.
    pub(crate) fn anonymous(&self) -> Context {
        Context { user: None, ..self.context.clone() }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybeAuthenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let (info, identity) = extensions(parts)?;
        if let Some(fault) = identity.unchecked() {
            return Err(fault.clone().into());
        }
        Ok(Self { context: info.context(identity.user().cloned()), identity })
    }
}

fn extensions(parts: &Parts) -> Result<(RequestInfo, Identity), Failure> {
    let info = parts.extensions.get::<RequestInfo>().cloned();
    let identity = parts.extensions.get::<Identity>().cloned();
    info.zip(identity).ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "the route is mounted without its layers").into())
}
