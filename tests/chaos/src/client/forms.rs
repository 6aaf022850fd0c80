//! Forms that a browser or an OAuth client sends, and answers that are no JSON.

use reqwest::{Method, StatusCode, Url, header::HeaderMap};
use serde_json::{Value, json};
use test_support::canary::Stopwatch;
use tokio::time::sleep;
use url::form_urlencoded;

use super::{Answer, Client};

/// An answer, at the end of the redirects that its client follows.
pub struct Page {
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Page {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What is sent: a GET, or a body in a POST.
enum Sent<'a> {
    Nothing,
    Fields(&'a [(&'a str, &'a str)]),
    EmptyObject,
}

impl Client {
    /// Repeats a form until it gets a final answer. Returns `None` if there is none in time, which is recorded as a violation.
    pub async fn form(&mut self, what: &str, path: &str, fields: &[(&str, &str)]) -> Option<Result<Page, (StatusCode, Value)>> {
        self.page(what, path, Sent::Fields(fields)).await
    }

    /// The same for a request without fields, whose answer is a file.
    pub async fn download(&mut self, what: &str, path: &str) -> Option<Result<Page, (StatusCode, Value)>> {
        self.page(what, path, Sent::EmptyObject).await
    }

    /// The same for a GET whose answer is a file.
    pub async fn file(&mut self, what: &str, path: &str) -> Option<Result<Page, (StatusCode, Value)>> {
        self.page(what, path, Sent::Nothing).await
    }

    async fn page(&mut self, what: &str, path: &str, sent: Sent<'_>) -> Option<Result<Page, (StatusCode, Value)>> {
        let clock = Stopwatch::start();
        while clock.elapsed() < self.turn_limit {
            let method = if matches!(sent, Sent::Nothing) { Method::GET } else { Method::POST };
            let request = self.request(method, path);
            let request = match &sent {
                Sent::Nothing => request,
                Sent::Fields(fields) => {
                    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(*fields).finish();
                    request.header("content-type", "application/x-www-form-urlencoded").body(body)
                }
                Sent::EmptyObject => request.json(&json!({})),
            };
            match self.send(what, request).await {
                Answer::Good(response) => {
                    let (url, headers) = (response.url().clone(), response.headers().clone());
                    // The request is repeated if the answer is truncated.
                    if let Ok(body) = response.bytes().await {
                        return Some(Ok(Page { url, headers, body: body.to_vec() }));
                    }
                }
                Answer::Refused(status, problem) => return Some(Err((status, problem))),
                Answer::Later(pause) => sleep(pause).await,
            }
        }
        self.record.violation(format!("{what} {path} was not answered within {:?}", self.turn_limit));
        None
    }
}
