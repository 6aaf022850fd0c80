//! Anthropic Messages, streamed. [`request`] writes, [`answer`] reads.

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
    http::{Call, Http, Reader, Refused, malformed, secret_header},
    output_limit::{self, OutputLimit},
    redaction::Redaction,
};

const NAME: &str = "anthropic";
/// How often a model may pause one answer and be asked to go on.
const MAX_PAUSES: usize = 8;

/// The request as the API gets it.
#[cfg(test)]
pub(super) fn next_body(request: &ModelRequest) -> Value {
    request::body(request, &[], request.max_tokens)
}

/// The provider.
pub(crate) struct Anthropic {
    endpoint: Endpoint,
    redaction: Redaction,
}

#[derive(Clone)]
struct Endpoint {
    http: Arc<Http>,
    url: Url,
    headers: HeaderMap,
    limits: Arc<output_limit::Known>,
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
    /// Asks, and again for a shorter answer where the model refuses the configured length. `said` is what the model said before
    /// each of its pauses.
    async fn ask(&self, request: &ModelRequest, said: &[Vec<Value>]) -> Result<Reader, ProviderError> {
        let mut limit = OutputLimit::new(&self.limits, &request.model, request.max_tokens);
        loop {
            let body = request::body(request, said, limit.get());
            let call = Call { provider: NAME, url: self.url.clone(), headers: &self.headers, body: &body };
            match self.http.post(call).await {
                Ok(reader) => {
                    limit.accepted(&self.limits, &request.model);
                    return Ok(reader);
                }
                Err(Refused { status, complaint, .. }) if limit.lower(status, &complaint) => {
                    tracing::debug!(model = request.model, complaint, limit = limit.get(), "asking for a shorter answer");
                }
                Err(Refused { error, status, complaint }) => return Err(limit.explain(error, status, &complaint)),
            }
        }
    }
}

impl Provider for Anthropic {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let (endpoint, redaction) = (self.endpoint.clone(), self.redaction.clone());
        let events = stream! {
            let mut answer = Answer::new(&request);
            let mut said = Vec::new();
            loop {
                let mut reader = match endpoint.ask(&request, &said).await {
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
                if progress == Progress::Whole {
                    return;
                }
                if said.len() == MAX_PAUSES {
                    yield Err(malformed(NAME, "more pauses in one answer than it may have"));
                    return;
                }
                said.push(answer.take_content());
            }
        };
        events.map(move |event| event.map_err(|error| redaction.apply(error))).boxed()
    }
}
