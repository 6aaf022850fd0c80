//! The provider for the streaming Anthropic Messages API. [`request`] encodes requests, [`answer`] decodes answers.

mod answer;
mod request;

use std::sync::Arc;

use async_stream::stream;
use chassis::config::Secret;
use futures::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderValue};
use reqwest::Url;
use serde_json::Value;

#[cfg(test)]
pub(super) use self::answer::Answer;
#[cfg(not(test))]
use self::answer::Answer;
use super::{
    BaseUrl, ModelEvent, ModelRequest, Provider, ProviderError,
    answer::{Progress, advance},
    http::{EventReader, Http, Post, Refusal, malformed, secret_header},
    output_limit::{self, OutputLimit},
    redaction::Redaction,
};

const NAME: &str = "anthropic";
/// How often a model may pause within one answer.
const MAX_PAUSES: usize = 8;

/// The encoded request.
#[cfg(test)]
pub(super) fn next_body(request: &ModelRequest) -> Value {
    request::body(request, &[], request.max_tokens)
}

pub(crate) struct Anthropic {
    endpoint: Endpoint,
    redaction: Redaction,
}

#[derive(Clone)]
struct Endpoint {
    http: Arc<Http>,
    url: Url,
    headers: HeaderMap,
    limits: Arc<output_limit::KnownLimits>,
}

impl Anthropic {
    pub(super) fn new(http: &Arc<Http>, base: &BaseUrl, key: &Secret) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        secret_header(&mut headers, "x-api-key", key.expose());
        let redaction = Redaction::new([key.expose()].into_iter().chain(base.password()));
        let endpoint = Endpoint { http: Arc::clone(http), url: base.join("v1/messages"), headers, limits: Arc::default() };
        Self { endpoint, redaction }
    }
}

impl Endpoint {
    /// Sends the request, and repeats it with a lower output limit if the model refuses the configured one. `paused` is the content before
    /// each pause.
    async fn send(&self, request: &ModelRequest, paused: &[Vec<Value>]) -> Result<EventReader, ProviderError> {
        let mut limit = OutputLimit::new(&self.limits, &request.model, request.max_tokens);
        loop {
            let body = request::body(request, paused, limit.get());
            let post = Post { provider: NAME, url: self.url.clone(), headers: &self.headers, body: &body };
            match self.http.post(post).await {
                Ok(reader) => {
                    limit.accepted(&self.limits, &request.model);
                    return Ok(reader);
                }
                Err(Refusal { status, complaint, .. }) if limit.lower(status, &complaint) => {
                    tracing::debug!(model = request.model, complaint, limit = limit.get(), "the output limit is lowered");
                }
                Err(Refusal { error, status, complaint }) => return Err(limit.explain(error, status, &complaint)),
            }
        }
    }
}

impl Provider for Anthropic {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let (endpoint, redaction) = (self.endpoint.clone(), self.redaction.clone());
        let events = stream! {
            let mut answer = Answer::new(&request);
            let mut paused = Vec::new();
            loop {
                let mut reader = match endpoint.send(&request, &paused).await {
                    Ok(reader) => reader,
                    Err(error) => {
                        yield Err(error);
                        return;
                    }
                };
                let mut progress = Progress::Open;
                while progress == Progress::Open {
                    let mut out = Vec::new();
                    let step = advance(&mut reader, &mut answer, &mut out).await;
                    for event in out {
                        yield Ok(event);
                    }
                    match step {
                        Ok(now) => progress = now,
                        Err(error) => {
                            yield Err(error);
                            return;
                        }
                    }
                }
                if progress == Progress::Complete {
                    return;
                }
                if paused.len() == MAX_PAUSES {
                    yield Err(malformed(NAME, &format!("more than {MAX_PAUSES} pauses in one answer")));
                    return;
                }
                paused.push(answer.take_content());
            }
        };
        events.map(move |event| event.map_err(|error| redaction.apply(error))).boxed()
    }
}
