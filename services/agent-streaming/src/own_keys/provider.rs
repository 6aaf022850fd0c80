//! The provider of a turn that uses a stored key. It reads the key before each request, so that a deletion or a change takes effect at the next
//! one, on every replica.

use std::sync::{Arc, Mutex, PoisonError};

use async_stream::stream;
use futures::{StreamExt as _, stream::BoxStream};
use proto::id::{ProjectId, UserId};
use reqwest::Url;
use uuid::Uuid;

use super::OwnKeys;
use crate::{
    model::provider::{BaseUrl, ErrorClass, ModelEvent, ModelRequest, Provider, ProviderError},
    store::provider_keys,
    turn::Turn,
};

/// The last sealed value and its provider, which knows what its models accept.
type Last = Option<(Vec<u8>, Arc<dyn Provider>)>;

/// Cheap to clone; the clones share the provider that was made last.
#[derive(Clone)]
pub(crate) struct OwnProvider {
    keys: OwnKeys,
    id: Uuid,
    user: UserId,
    project: Option<ProjectId>,
    last: Arc<Mutex<Last>>,
}

impl OwnKeys {
    /// The provider of a turn with this stored key.
    pub(crate) fn provider(&self, id: Uuid, turn: &Turn) -> OwnProvider {
        OwnProvider { keys: self.clone(), id, user: turn.user_id, project: turn.project_id, last: Arc::default() }
    }
}

impl OwnProvider {
    async fn current(&self) -> Result<Arc<dyn Provider>, ProviderError> {
        let refused = |text: &str| ProviderError::new(ErrorClass::Authentication, text);
        let found = provider_keys::record_use(&self.keys.db, self.id, self.user, self.project).await;
        let found = found.map_err(|_| ProviderError::new(ErrorClass::ServerError, "the stored key of the provider could not be read"))?;
        let (owner, kind, sealed) = found.ok_or_else(|| {
            ProviderError::new(
                ErrorClass::KeyMissing,
                "the stored key of the provider was deleted; start the turn again to use another one",
            )
        })?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, provider)) = last.as_ref().filter(|(known, _)| *known == sealed) {
            return Ok(Arc::clone(provider));
        }
        let vault = self.keys.vault.as_ref().ok_or_else(|| refused("this cluster cannot open stored keys of providers"))?;
        let opened = vault.open(self.id, owner, &sealed).map_err(|error| {
            tracing::error!(key = %self.id, %error, "a stored key of a provider could not be opened");
            refused("the stored key of the provider cannot be opened; enter it again")
        })?;
        let url: Url = opened.base_url.parse().map_err(|_| refused("the address of the stored key is no URL"))?;
        let provider = self.keys.providers.make(kind, BaseUrl::new(url), &opened.key);
        *last = Some((sealed, Arc::clone(&provider)));
        Ok(provider)
    }
}

impl Provider for OwnProvider {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let own = self.clone();
        stream! {
            match own.current().await {
                Ok(provider) => {
                    let mut events = provider.stream(request);
                    while let Some(event) = events.next().await {
                        yield event;
                    }
                }
                Err(error) => yield Err(error),
            }
        }
        .boxed()
    }
}
