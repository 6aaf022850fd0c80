//! Providers of sign-ins, and the identities of an account. The sign-ins themselves are pages, because a browser goes through them.

use std::sync::Arc;

use axum::extract::State;
use proto::auth::{ListIdentitiesRequest, ListProvidersRequest, UnlinkIdentityRequest};

use crate::{
    app::App,
    identity::authenticate::{Authenticated, MaybeAuthenticated},
    json::{
        params::Params,
        reply::{Reply, reply},
    },
};

pub(crate) async fn providers(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    Params(request): Params<ListProvidersRequest>,
) -> Reply {
    reply(app.upstream.auth().list_providers(caller.anonymous().request(request)).await?.get_ref())
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListIdentitiesRequest>) -> Reply {
    reply(app.upstream.auth().list_identities(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn unlink(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<UnlinkIdentityRequest>) -> Reply {
    reply(app.upstream.auth().unlink_identity(caller.context.request(request)).await?.get_ref())
}
