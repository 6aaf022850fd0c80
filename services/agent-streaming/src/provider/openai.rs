//! Chat completions, streamed, as OpenAI, Ollama, vLLM, OpenRouter and many others speak them. [`request`] writes, [`answer`]
//! reads, [`dialect`] remembers what a model did not like about a request.

mod answer;
mod dialect;
mod request;

use std::sync::Arc;

use async_stream::stream;
use futures::{StreamExt, stream::BoxStream};
use http::HeaderMap;
use reqwest::Url;

use self::{
    answer::Answer,
    dialect::{Dialect, Dialects},
};
use super::{
    ModelEvent, ModelRequest, Provider, ProviderConfig, ProviderError,
    http::{Call, Http, Reader, Redaction, Refused, secret_header},
};

const NAME: &str = "openai";

/// The provider.
pub struct OpenAi {
    endpoint: Endpoint,
    dialects: Arc<Dialects>,
    redaction: Redaction,
}

#[derive(Clone)]
struct Endpoint {
    http: Arc<Http>,
    url: Url,
    headers: HeaderMap,
    /// Only the original knows `prompt_cache_key`; others may refuse a field that they do not know.
    is_openai: bool,
}

impl OpenAi {
    pub(super) fn new(http: &Arc<Http>, config: &ProviderConfig) -> Self {
        let base = &config.openai_url;
        let key = config.openai_key.as_ref().map(chassis::config::Secret::expose);
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            secret_header(&mut headers, "authorization", &format!("Bearer {key}"));
        }
        Self {
            endpoint: Endpoint { http: Arc::clone(http), url: base.join("chat/completions"), headers, is_openai: base.is_openai() },
            dialects: Arc::new(Dialects::new(config.openai_max_tokens_field)),
            redaction: Redaction::new(key.into_iter().chain(base.password())),
        }
    }
}

impl Endpoint {
    /// Asks until the request is in words that the model takes; each refusal takes one of them away.
    async fn ask(&self, request: &ModelRequest, dialects: &Dialects) -> Result<Reader, ProviderError> {
        let mut dialect = dialects.of(&request.model);
        let mut tried = vec![dialect];
        loop {
            let body = request::body(request, &dialect, self.is_openai);
            let call = Call { provider: NAME, url: self.url.clone(), headers: &self.headers, body: &body };
            let Refused { error, status, complaint } = match self.http.post(call).await {
                Ok(reader) => {
                    dialects.remember(&request.model, dialect);
                    return Ok(reader);
                }
                Err(refused) => refused,
            };
            let Some(simpler) = Dialect::after(&tried, status, &complaint) else { return Err(error) };
            tracing::debug!(model = request.model, %error, ?simpler, "asking in other words");
            dialect = simpler;
            tried.push(dialect);
        }
    }
}

impl Provider for OpenAi {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let (endpoint, dialects, redaction) = (self.endpoint.clone(), Arc::clone(&self.dialects), self.redaction.clone());
        let events = stream! {
            let mut reader = match endpoint.ask(&request, &dialects).await {
                Ok(reader) => reader,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            let mut answer = Answer::new(&request);
            loop {
                let mut out = Vec::new();
                let step = match reader.next().await {
                    Ok(Some(data)) => answer.event(&data, &mut out),
                    // Usage may be missing then; the answer is whole.
                    Ok(None) | Err(_) if answer.is_finished() => answer.end(&mut out).map(|()| true),
                    Ok(None) => Err(super::http::cut(NAME)),
                    Err(error) => Err(error),
                };
                if matches!(step, Ok(true)) {
                    reader.drain().await;
                }
                for event in out {
                    yield Ok(event);
                }
                match step {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(error) => {
                        yield Err(error.after_output(answer.has_output()));
                        return;
                    }
                }
            }
        };
        events.map(move |event| event.map_err(|error| redaction.apply(error))).boxed()
    }
}
