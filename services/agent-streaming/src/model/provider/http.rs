//! The HTTP client of all providers: sends requests, reads responses event by event, and converts failures to errors.

use std::{collections::VecDeque, error::Error as _, time::Duration};

use chassis::outbound;
use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, ClientBuilder, Method, Response, Url, redirect};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::time::timeout;

use super::{
    ErrorClass, ProviderConfig, ProviderError,
    body::{BadBody, BodyDecoder},
    error_body::{ErrorBody, class_of_status, shorten},
    sse::Event,
};

/// How much of an error body is read.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;
/// How long to wait for the end of a response whose answer is complete, so that the connection can be reused.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// The client and its limits.
pub(super) struct Http {
    /// An error on machines without root certificates. Then every request fails with it, and only `demo` works.
    client: Result<Sender, String>,
    idle: Duration,
    max_response_bytes: usize,
}

/// Who has set the address decides about the guard.
enum Sender {
    /// The operator.
    Free(Client),
    /// A person.
    Guarded(outbound::Client),
}

/// A request.
pub(super) struct Post<'a> {
    pub provider: &'static str,
    pub url: Url,
    pub headers: &'a HeaderMap,
    pub body: &'a Value,
}

/// A request that failed, with the details that a provider needs to change the request.
pub(super) struct Refusal {
    pub error: ProviderError,
    /// 0 if there was no response.
    pub status: u16,
    /// The field that the error is about, and the message of the error.
    pub complaint: String,
}

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self { error, status: 0, complaint: String::new() }
    }
}

impl Http {
    /// For an address that the operator has set.
    pub(super) fn new(config: &ProviderConfig) -> Self {
        Self::with(config, builder(config).build().map(Sender::Free))
    }

    /// For addresses that persons have set.
    pub(super) fn guarded(config: &ProviderConfig, guard: &outbound::Guard) -> Self {
        Self::with(config, guard.client(builder(config)).map(Sender::Guarded))
    }

    fn with(config: &ProviderConfig, client: reqwest::Result<Sender>) -> Self {
        Self { client: client.map_err(|e| chain(&e)), idle: config.idle_timeout, max_response_bytes: config.max_response_bytes }
    }

    /// Sends a request for an event stream.
    pub(super) async fn post(&self, call: Post<'_>) -> Result<EventReader, Refusal> {
        let client = self.client.as_ref().map_err(|e| ProviderError {
            retryable: false,
            ..ProviderError::new(ErrorClass::Connection, format!("the HTTP client could not be built: {e}"))
        })?;
        let body = serde_json::to_vec(call.body).map_err(|e| ProviderError::new(ErrorClass::InvalidRequest, e.to_string()))?;
        let request = match client {
            Sender::Free(client) => client.post(call.url),
            Sender::Guarded(client) => client
                .request(Method::POST, call.url)
                .map_err(|refused| ProviderError::new(ErrorClass::InvalidRequest, format!("the address of the stored key {refused}")))?,
        };
        let request = request
            .headers(call.headers.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "text/event-stream")
            // Compression may delay events. A response that is compressed nevertheless is decoded.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(body);
        let response = timeout(self.idle, request.send()).await.map_err(|_| stalled(call.provider, self.idle))?;
        let is_guarded = matches!(client, Sender::Guarded(_));
        let response = response.map_err(|e| if is_guarded && e.is_connect() { unreached(e) } else { transport(call.provider, e) })?;
        tracing::debug!(
            provider = call.provider,
            status = response.status().as_u16(),
            request_id = request_id(response.headers()),
            "a provider has answered a request"
        );
        let reader = EventReader {
            response,
            body: BodyDecoder::default(),
            ready: VecDeque::new(),
            ended: false,
            bytes: 0,
            max_bytes: self.max_response_bytes,
            provider: call.provider,
            idle: self.idle,
        };
        if !reader.response.status().is_success() {
            return Err(reader.refusal().await);
        }
        Ok(reader)
    }
}

fn builder(config: &ProviderConfig) -> ClientBuilder {
    chassis::install_crypto();
    Client::builder()
        .user_agent(concat!("backlot/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        // The API key must not go to another host, whatever proxy variables or redirects say.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
}

/// Reads the events of one response.
pub(super) struct EventReader {
    response: Response,
    body: BodyDecoder,
    ready: VecDeque<Event>,
    /// The response has ended.
    ended: bool,
    /// The bytes read so far, compressed and decompressed together.
    bytes: usize,
    max_bytes: usize,
    provider: &'static str,
    idle: Duration,
}

impl EventReader {
    /// The next event, or `None` at the regular end of the response. Every byte, also in a comment, resets the idle timeout.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ProviderError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let chunk = timeout(self.idle, self.response.chunk()).await.map_err(|_| stalled(self.provider, self.idle))?;
            let chunk = chunk.map_err(|e| transport(self.provider, e))?;
            let mut events = Vec::new();
            self.bytes += chunk.as_ref().map_or(0, |bytes| bytes.len());
            let read = match chunk {
                Some(bytes) => self.body.push(&bytes, &mut events),
                None => {
                    self.ended = true;
                    self.body.finish(&mut events)
                }
            };
            read.map_err(|bad| self.bad_body(bad))?;
            self.bytes += self.body.take_decompressed();
            if self.bytes > self.max_bytes {
                return Err(too_long(self.provider, self.max_bytes));
            }
            self.ready.extend(events);
        }
    }

    /// Reads the rest of a response whose answer is complete, so that the connection can be reused.
    pub(super) async fn drain(&mut self) {
        let _ = timeout(DRAIN_TIMEOUT, async { while let Ok(Some(_)) = self.response.chunk().await {} }).await;
    }

    fn bad_body(&self, bad: BadBody) -> ProviderError {
        match bad {
            BadBody::TooLong => malformed(self.provider, "an event of more than 8 MiB"),
            BadBody::Incomplete => incomplete(self.provider),
            BadBody::Unrecognized(text) => {
                let status = self.response.status().as_u16();
                refusal(self.provider, status, self.response.headers(), &ErrorBody::read(&text))
            }
        }
    }

    async fn refusal(mut self) -> Refusal {
        let mut body = Vec::new();
        while body.len() < MAX_ERROR_BODY_BYTES
            && let Ok(Ok(Some(bytes))) = timeout(self.idle, self.response.chunk()).await
        {
            body.extend_from_slice(&bytes);
        }
        let (status, headers) = (self.response.status().as_u16(), self.response.headers());
        let body = ErrorBody::read(&String::from_utf8_lossy(&body));
        let complaint = format!("{} {}", body.param, body.message);
        Refusal { error: refusal(self.provider, status, headers, &body), status, complaint }
    }
}

/// The error of a response that is not an answer.
fn refusal(provider: &str, status: u16, headers: &HeaderMap, body: &ErrorBody) -> ProviderError {
    if status < 400 {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("no content type");
        let text = if body.message.is_empty() { String::new() } else { format!(": {}", body.summary()) };
        return ProviderError {
            retryable: false,
            ..ProviderError::new(
                body.class().unwrap_or(ErrorClass::InvalidRequest),
                format!("{provider} answered {status} with {} instead of an event stream{text}", shorten(content_type)),
            )
        };
    }
    let id = request_id(headers);
    let id = if id.is_empty() { String::new() } else { format!(" (request {})", shorten(id)) };
    let class = body.class().filter(|_| status != 429 && status != 529).unwrap_or_else(|| class_of_status(status));
    let retry_after = retry_after(headers, chassis::clock::now()).or(body.retry_after);
    let retryable = match headers.get("x-should-retry").map(HeaderValue::as_bytes) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => matches!(status, 408 | 409 | 429 | 500..) && (!body.is_quota_exceeded() || headers.contains_key(header::RETRY_AFTER)),
    };
    ProviderError { class, message: format!("{provider} answered {status}: {}{id}", body.summary()), retryable, retry_after }
}

fn request_id(headers: &HeaderMap) -> &str {
    ["request-id", "x-request-id"].into_iter().find_map(|name| headers.get(name)?.to_str().ok()).unwrap_or_default()
}

/// The pause of `retry-after-ms`, or else of `retry-after` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let seconds = |text: &str| text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let milliseconds = text("retry-after-ms").and_then(|t| Some(seconds(t)? / 1_000));
    milliseconds.or_else(|| {
        let text = text("retry-after")?;
        seconds(text).or_else(|| {
            let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
            Some(Duration::try_from(date - now).unwrap_or_default())
        })
    })
}

fn stalled(provider: &str, idle: Duration) -> ProviderError {
    ProviderError::new(ErrorClass::Timeout, format!("{provider} sent nothing for {} s", idle.as_secs_f64()))
}

/// The error for an answer without an end.
pub(super) fn incomplete(provider: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Connection, format!("{provider} ended the stream before the answer was complete"))
}

fn too_long(provider: &str, limit: usize) -> ProviderError {
    ProviderError::new(ErrorClass::TooLong, format!("{provider} sent more than {limit} bytes for one answer (BACKLOT_MAX_STEP_BYTES)"))
}

/// The error for a stream that violates the protocol.
pub(super) fn malformed(provider: &str, what: &str) -> ProviderError {
    ProviderError::new(ErrorClass::ServerError, format!("{provider} sent {what}"))
}

/// The error for an address of a person to which there is no connection. One text for all causes, because they would tell which names and
/// addresses there are in the network of the operator.
fn unreached(error: reqwest::Error) -> ProviderError {
    tracing::debug!(cause = chain(&error.without_url()), "the address of a stored key was not reached");
    let text =
        "the address of the stored key cannot be reached; it must lead to a server on the public internet, unless the operator allows it";
    ProviderError::new(ErrorClass::Connection, text)
}

fn transport(provider: &str, error: reqwest::Error) -> ProviderError {
    let class = if error.is_timeout() && !error.is_connect() { ErrorClass::Timeout } else { ErrorClass::Connection };
    // The URL may carry credentials.
    ProviderError::new(class, format!("{provider}: {}", shorten(&chain(&error.without_url()))))
}

fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Adds a header whose value is not shown in logs.
pub(super) fn secret_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chassis::config::Env;
    use reqwest::dns::{Addrs, Name, Resolve, Resolving};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn refused(status: u16, pairs: &[(&'static str, &str)], body: &str) -> ProviderError {
        refusal("anthropic", status, &headers(pairs), &ErrorBody::read(body))
    }

    /// Knows one name, which leads into a private network.
    struct Names;

    impl Resolve for Names {
        fn resolve(&self, name: Name) -> Resolving {
            let found =
                if name.as_str() == "db.internal" { Ok(std::net::SocketAddr::from(([10, 0, 0, 1], 0))) } else { Err("no such name") };
            Box::pin(async move { Ok(Box::new(std::iter::once(found?)) as Addrs) })
        }
    }

    #[tokio::test]
    async fn an_error_does_not_tell_which_names_there_are_in_a_private_network() {
        let guard = outbound::Guard::with_names(outbound::Allowed::default(), Arc::new(Names));
        let config = ProviderConfig::read(&mut Env::of(std::iter::empty::<(&str, &str)>()), 1);
        let http = Http::guarded(&config, &guard);
        let mut errors = Vec::new();
        for url in ["https://db.internal/v1", "https://absent.internal/v1"] {
            let post = Post { provider: "openai", url: url.parse().unwrap(), headers: &HeaderMap::new(), body: &Value::Null };
            let Err(refusal) = http.post(post).await else { panic!("{url} was reached") };
            errors.push((refusal.error.class, refusal.error.message));
        }
        assert_eq!(errors[0], errors[1]);
        assert!(errors[0].1.contains("public internet") && !errors[0].1.contains("internal"), "{errors:?}");
    }

    #[test]
    fn the_class_follows_the_status() {
        use ErrorClass::{Authentication, InvalidRequest, NotFound, Overloaded, RateLimited, ServerError, Timeout};
        let body = r#"{"type":"error","error":{"type":"x_error","message":"no"},"request_id":"req_1"}"#;
        for (status, class, retryable) in [
            (400, InvalidRequest, false),
            (401, Authentication, false),
            (402, Authentication, false),
            (403, Authentication, false),
            (404, NotFound, false),
            (408, Timeout, true),
            (409, ServerError, true),
            (413, InvalidRequest, false),
            (422, InvalidRequest, false),
            (429, RateLimited, true),
            (500, ServerError, true),
            (502, ServerError, true),
            (503, Overloaded, true),
            (504, Timeout, true),
            (529, Overloaded, true),
        ] {
            let error = refused(status, &[("request-id", "req_9")], body);
            assert_eq!((error.class, error.retryable), (class, retryable), "{status}");
            assert_eq!(error.message, format!("anthropic answered {status}: x_error: no (request req_9)"));
        }
    }

    #[test]
    fn the_error_body_takes_precedence_over_the_status() {
        let error = refused(400, &[], r#"{"error":{"type":"authentication_error","message":"bad key"}}"#);
        assert_eq!(error.class, ErrorClass::Authentication);
        let error = refused(500, &[], r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
        assert_eq!((error.class, error.retryable), (ErrorClass::Overloaded, true));
        assert_eq!(refused(404, &[], r#"{"error":"model 'x' not found"}"#).message, "anthropic answered 404: model 'x' not found");
        assert_eq!(
            refused(400, &[], r#"{"object":"error","message":"too long","type":"BadRequestError","code":400}"#).message,
            "anthropic answered 400: BadRequestError: too long"
        );
        assert_eq!(refused(502, &[], "<html>\n bad gateway").message, "anthropic answered 502: <html>  bad gateway");
        assert_eq!(refused(500, &[], "").message, "anthropic answered 500: no reason given");
    }

    #[test]
    fn the_headers_of_the_provider_decide_about_retries() {
        assert!(!refused(529, &[("x-should-retry", "false")], "").retryable);
        assert!(refused(400, &[("x-should-retry", "true")], "").retryable);
        let spend = r#"{"error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
        assert!(!refused(429, &[], spend).retryable);
        assert!(refused(429, &[("retry-after", "3")], spend).retryable);
        assert!(!refused(429, &[], r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"m"}}"#).retryable);
    }

    #[test]
    fn retry_after_has_three_formats() {
        let now = OffsetDateTime::parse("Wed, 21 Oct 2026 07:28:00 GMT", &Rfc2822).unwrap();
        let wait = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs), now).map(|d| d.as_millis());
        assert_eq!(wait(&[("retry-after-ms", "250"), ("retry-after", "9")]), Some(250));
        assert_eq!(wait(&[("retry-after", "9")]), Some(9_000));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")]), Some(30_000));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2026 07:27:30 GMT")]), Some(0));
        assert_eq!(wait(&[("retry-after", "120")]), Some(120_000), "the caller decides whether this is too long");
        for pairs in [&[("retry-after", "soon")][..], &[("retry-after", "-1")], &[]] {
            assert_eq!(wait(pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn the_text_of_a_provider_is_cut() {
        let long = "é".repeat(2_000);
        let error = refused(400, &[], &format!(r#"{{"error":{{"message":"{long}"}}}}"#));
        assert_eq!(error.message.chars().filter(|c| *c == 'é').count(), 500);
    }
}
