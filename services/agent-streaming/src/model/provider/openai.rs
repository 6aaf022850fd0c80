//! Chat completions, streamed, as OpenAI, Ollama, vLLM, OpenRouter and many others speak them. [`request`] writes, [`answer`]
//! reads, [`dialect`] remembers what a model did not like about a request.

mod answer;
mod content;
mod dialect;
mod request;
mod seal;
mod usage;

use std::sync::Arc;

use async_stream::stream;
use futures::{StreamExt, stream::BoxStream};
use http::HeaderMap;
use reqwest::Url;

#[cfg(test)]
pub(super) use self::answer::Answer;
#[cfg(not(test))]
use self::answer::Answer;
use self::dialect::{Dialect, Dialects};
use super::{
    ModelEvent, ModelRequest, Provider, ProviderConfig, ProviderError,
    answer::{Progress, advance},
    http::{Call, Http, Reader, Refused, secret_header},
    output_limit::{self, OutputLimit},
    redaction::Redaction,
};

const NAME: &str = "openai";

/// The request as a server of anybody gets it.
#[cfg(test)]
pub(super) fn next_body(request: &ModelRequest) -> serde_json::Value {
    request::body(request, &Dialects::new(super::MaxTokensField::MaxTokens).of(""), request.max_tokens, false)
}

/// The provider.
pub(crate) struct OpenAi {
    endpoint: Endpoint,
    learned: Arc<Learned>,
    redaction: Redaction,
}

/// What models turned out to take.
struct Learned {
    dialects: Dialects,
    limits: output_limit::Known,
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
            learned: Arc::new(Learned { dialects: Dialects::new(config.openai_max_tokens_field), limits: output_limit::Known::default() }),
            redaction: Redaction::new(key.into_iter().chain(base.password())),
        }
    }
}

impl Endpoint {
    /// Asks until the request is in words that the model takes; each refusal takes one of them away, or lowers the output limit.
    async fn ask(&self, request: &ModelRequest, learned: &Learned) -> Result<Reader, ProviderError> {
        let model = request.model.as_str();
        let mut dialect = learned.dialects.of(model);
        let mut limit = OutputLimit::new(&learned.limits, model, request.max_tokens);
        let mut tried = vec![dialect];
        loop {
            let body = request::body(request, &dialect, limit.get(), self.is_openai);
            let call = Call { provider: NAME, url: self.url.clone(), headers: &self.headers, body: &body };
            let Refused { error, status, complaint } = match self.http.post(call).await {
                Ok(reader) => {
                    learned.dialects.remember(model, dialect);
                    limit.accepted(&learned.limits, model);
                    return Ok(reader);
                }
                Err(refused) => refused,
            };
            if limit.lower(status, &complaint) {
                tracing::debug!(model, %error, limit = limit.get(), "asking for a shorter answer");
                continue;
            }
            let Some(simpler) = Dialect::after(&tried, status, &complaint) else { return Err(limit.explain(error, status, &complaint)) };
            tracing::debug!(model, %error, ?simpler, "asking in other words");
            dialect = simpler;
            tried.push(dialect);
        }
    }
}

impl Provider for OpenAi {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let (endpoint, learned, redaction) = (self.endpoint.clone(), Arc::clone(&self.learned), self.redaction.clone());
        let events = stream! {
            let mut reader = match endpoint.ask(&request, &learned).await {
                Ok(reader) => reader,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            let mut answer = Answer::new(&request);
            loop {
                let mut out = Vec::new();
                let progress = advance(&mut reader, &mut answer, &mut out).await;
                for event in out {
                    yield Ok(event);
                }
                match progress {
                    Ok(Progress::Open) => {}
                    Ok(Progress::Whole | Progress::Paused) => return,
                    Err(error) => {
                        yield Err(error);
                        return;
                    }
                }
            }
        };
        events.map(move |event| event.map_err(|error| redaction.apply(error))).boxed()
    }
}
