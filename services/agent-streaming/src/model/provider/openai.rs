//! The provider for the streaming chat completions API of OpenAI, Ollama, vLLM, OpenRouter and many others. [`request`] encodes requests,
//! [`answer`] decodes answers, [`dialect`] remembers which fields a model refuses.

mod answer;
mod content;
mod dialect;
mod opaque;
mod request;
mod usage;

use std::sync::Arc;

use async_stream::stream;
use chassis::config::Secret;
use futures::{StreamExt, stream::BoxStream};
use http::HeaderMap;
use reqwest::Url;

#[cfg(test)]
pub(super) use self::answer::Answer;
#[cfg(not(test))]
use self::answer::Answer;
use self::dialect::{Dialect, Dialects};
use super::{
    BaseUrl, MaxTokensField, ModelEvent, ModelRequest, Provider, ProviderError,
    answer::{Progress, advance},
    http::{EventReader, Http, Post, Refusal, secret_header},
    output_limit::{self, OutputLimit},
    redaction::Redaction,
};

const NAME: &str = "openai";

/// The encoded request for a server other than OpenAI.
#[cfg(test)]
pub(super) fn next_body(request: &ModelRequest) -> serde_json::Value {
    request::body(request, &Dialects::new(super::MaxTokensField::MaxTokens).of(""), request.max_tokens, false)
}

pub(crate) struct OpenAi {
    endpoint: Endpoint,
    known: Arc<KnownModels>,
    redaction: Redaction,
}

/// What the models have accepted.
struct KnownModels {
    dialects: Dialects,
    limits: output_limit::KnownLimits,
}

#[derive(Clone)]
struct Endpoint {
    http: Arc<Http>,
    url: Url,
    headers: HeaderMap,
    /// Only OpenAI itself gets `prompt_cache_key`, because other servers may refuse unknown fields.
    is_openai: bool,
}

impl OpenAi {
    pub(super) fn new(http: &Arc<Http>, base: &BaseUrl, key: Option<&Secret>, limit: MaxTokensField) -> Self {
        let key = key.map(Secret::expose);
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            secret_header(&mut headers, "authorization", &format!("Bearer {key}"));
        }
        Self {
            endpoint: Endpoint { http: Arc::clone(http), url: base.join("chat/completions"), headers, is_openai: base.is_openai() },
            known: Arc::new(KnownModels { dialects: Dialects::new(limit), limits: output_limit::KnownLimits::default() }),
            redaction: Redaction::new(key.into_iter().chain(base.password())),
        }
    }
}

impl Endpoint {
    /// Sends the request until the model accepts it. After a refusal it changes the dialect or lowers the output limit.
    async fn send(&self, request: &ModelRequest, known: &KnownModels) -> Result<EventReader, ProviderError> {
        let model = request.model.as_str();
        let mut dialect = known.dialects.of(model);
        let mut limit = OutputLimit::new(&known.limits, model, request.max_tokens);
        let mut tried = vec![dialect];
        loop {
            let body = request::body(request, &dialect, limit.get(), self.is_openai);
            let post = Post { provider: NAME, url: self.url.clone(), headers: &self.headers, body: &body };
            let Refusal { error, status, complaint } = match self.http.post(post).await {
                Ok(reader) => {
                    known.dialects.remember(model, dialect);
                    limit.accepted(&known.limits, model);
                    return Ok(reader);
                }
                Err(refusal) => refusal,
            };
            if limit.lower(status, &complaint) {
                tracing::debug!(model, %error, limit = limit.get(), "the output limit is lowered");
                continue;
            }
            let Some(next) = Dialect::after(&tried, status, &complaint) else { return Err(limit.explain(error, status, &complaint)) };
            tracing::debug!(model, %error, dialect = ?next, "another dialect is tried");
            dialect = next;
            tried.push(dialect);
        }
    }
}

impl Provider for OpenAi {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let (endpoint, known, redaction) = (self.endpoint.clone(), Arc::clone(&self.known), self.redaction.clone());
        let events = stream! {
            let mut reader = match endpoint.send(&request, &known).await {
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
                    Ok(Progress::Complete | Progress::Paused) => return,
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
