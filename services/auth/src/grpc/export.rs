//! Encodes what a person gets of their own data.

use chassis::{
    clock::{now, timestamp},
    context::Context,
};
use futures::{Stream, StreamExt as _, stream};
use proto::auth::{self as pb, ExportAccountResponse, export_account_response::Entry};
use time::OffsetDateTime;

use super::{
    current,
    encode::{service_account, session},
    passkeys,
};
use crate::{
    account_export::{self, Export},
    app::App,
    audit::StoredEvent,
    error::Error,
    identity::Identity,
    user::User,
};

pub(super) async fn entries(
    app: &App,
    context: &Context,
) -> Result<impl Stream<Item = Result<ExportAccountResponse, Error>> + Send + use<>, Error> {
    let now = now();
    let Export { user, verified_at, sessions, identities, service_accounts, passkeys } = account_export::begin(app, context, now).await?;
    let events = account_export::events(app.pool.clone(), user.id, now).map(|event| event.map(|event| Entry::Event(encode(event))));
    let current = current(context);
    let of_account: Vec<_> = std::iter::once(Entry::Account(account(user, verified_at)))
        .chain(sessions.iter().map(|one| Entry::Session(session(&app.places, one, current))))
        .chain(identities.into_iter().map(|one| Entry::Identity(identity(one))))
        .chain(passkeys.into_iter().map(|one| Entry::Passkey(passkeys::encode(one))))
        .chain(service_accounts.into_iter().map(|one| Entry::ServiceAccount(service_account(one))))
        .map(Ok)
        .collect();
    let all = stream::iter(of_account).chain(events);
    Ok(all.map(|entry| entry.map(|entry| ExportAccountResponse { entry: Some(entry) })))
}

fn account(user: User, verified_at: Option<OffsetDateTime>) -> pb::ExportedAccount {
    pb::ExportedAccount {
        id: user.id.to_string(),
        email: user.email,
        display_name: user.display_name,
        plan: user.plan.name().to_owned(),
        create_time: Some(timestamp(user.created_at)),
        verify_time: verified_at.map(timestamp),
    }
}

fn identity(identity: Identity) -> pb::ExportedIdentity {
    let Identity { provider, issuer, label, created_at, .. } = identity;
    pb::ExportedIdentity { provider, issuer, label, create_time: Some(timestamp(created_at)) }
}

fn encode(event: StoredEvent) -> pb::AccountEvent {
    pb::AccountEvent {
        id: event.id.to_string(),
        create_time: Some(timestamp(event.created_at)),
        kind: event.kind,
        actor_kind: event.actor_kind,
        network: event.network.unwrap_or_default(),
        details: event.details.to_string(),
    }
}
