//! Anthropic Messages, streamed. [`request`] writes, [`answer`] reads.

mod answer;
mod request;

use std::sync::Arc;

use async_stream::stream;
use chassis::config::Secret;
use futures::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderValue};
use reqwest::Url;

use self::answer::{Answer, Progress};
use super::{
    BaseUrl, ModelEvent, ModelRequest, Provider, ProviderError,
    http::{Call, Http, Redaction, cut, secret_header},
};

const NAME: &str = "anthropic";
/// How often a model may pause one answer and be asked to go on.
const MAX_PAUSES: usize = 8;

/// The provider.
pub struct Anthropic {
    http: Arc<Http>,
    url: Url,
    headers: HeaderMap,
    redaction: Redaction,
}

impl Anthropic {
    pub(super) fn new(http: &Arc<Http>, base: &BaseUrl, key: &Secret) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        secret_header(&mut headers, "x-api-key", key.expose());
        let redaction = Redaction::new([key.expose()].into_iter().chain(base.password()));
        Self { http: Arc::clone(http), url: base.join("v1/messages"), headers, redaction }
    }
}

impl Provider for Anthropic {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let (http, url, headers) = (Arc::clone(&self.http), self.url.clone(), self.headers.clone());
        let redaction = self.redaction.clone();
        let events = stream! {
            let mut answer = Answer::new(&request);
            let mut said = Vec::new();
            loop {
                let asked = {
                    // Gone before the answer, which may take minutes.
                    let body = request::body(&request, &said);
                    http.post(Call { provider: NAME, url: url.clone(), headers: &headers, body: &body }).await
                };
                let mut reader = match asked {
                    Ok(reader) => reader,
                    Err(refused) => {
                        yield Err(refused.error.after_output(answer.has_output()));
                        return;
                    }
                };
                let mut progress = Progress::Open;
                while progress == Progress::Open {
                    let mut out = Vec::new();
                    let step = match reader.next().await {
                        Ok(Some(data)) => answer.event(&data, &mut out),
                        Ok(None) => Err(cut(NAME)),
                        Err(error) => Err(error),
                    };
                    if matches!(step, Ok(Progress::Paused | Progress::Whole)) {
                        reader.drain().await;
                    }
                    for event in out {
                        yield Ok(event);
                    }
                    match step {
                        Ok(now) => progress = now,
                        Err(error) => {
                            yield Err(error.after_output(answer.has_output()));
                            return;
                        }
                    }
                }
                if progress == Progress::Whole {
                    return;
                }
                if said.len() == MAX_PAUSES {
                    yield Err(cut(NAME).after_output(true));
                    return;
                }
                said.push(answer.take_content());
            }
        };
        events.map(move |event| event.map_err(|error| redaction.apply(error))).boxed()
    }
}
