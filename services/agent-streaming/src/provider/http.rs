//! One HTTP client for all providers: what a status means, how an event stream is read, and that no secret gets into a text.

use std::{collections::VecDeque, error::Error as _, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, Response, Url, redirect};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::time::timeout;

use super::{ErrorClass, ProviderConfig, ProviderError, sse};

/// How much of a provider's words goes into an error.
const MAX_TEXT_CHARS: usize = 500;
/// How much of an error body is read at all.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;
/// A longer wait is not worth holding a project's slot.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long a finished answer may take to end its response, so that the connection can be used again.
const TAIL: Duration = Duration::from_millis(50);

/// The client and its limits.
pub(super) struct Http {
    /// It cannot be built on a machine without root certificates; then every call says so, and `demo` still works.
    client: Result<Client, String>,
    idle: Duration,
}

/// One request.
pub(super) struct Call<'a> {
    pub provider: &'static str,
    pub url: Url,
    pub headers: &'a HeaderMap,
    pub body: &'a Value,
}

/// Why there is no stream, with what a dialect needs to say it in another way.
pub(super) struct Refused {
    pub error: ProviderError,
    /// 0 when no answer came.
    pub status: u16,
    /// The field that the provider did not like, and its words.
    pub complaint: String,
}

impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Self {
        Self { error, status: 0, complaint: String::new() }
    }
}

impl Http {
    pub(super) fn new(config: &ProviderConfig) -> Self {
        chassis::install_crypto();
        let client = Client::builder()
            .user_agent(concat!("backlot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            // A key must go where it was meant to go, whatever the shell or a server says.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .build();
        Self { client: client.map_err(|e| chain(&e)), idle: config.idle_timeout }
    }

    /// Sends a request whose answer is an event stream.
    pub(super) async fn post(&self, call: Call<'_>) -> Result<Reader, Refused> {
        let client = self.client.as_ref().map_err(|e| ProviderError {
            retryable: false,
            ..ProviderError::new(ErrorClass::Connection, format!("no HTTP client: {e}"))
        })?;
        let body = serde_json::to_vec(call.body).map_err(|e| ProviderError::new(ErrorClass::InvalidRequest, e.to_string()))?;
        let request = client
            .post(call.url)
            .headers(call.headers.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "text/event-stream")
            .body(body);
        let response = timeout(self.idle, request.send()).await.map_err(|_| stalled(call.provider, self.idle))?;
        let response = response.map_err(|e| transport(call.provider, e))?;
        tracing::debug!(
            provider = call.provider,
            status = response.status().as_u16(),
            request_id = request_id(response.headers()),
            "model answers"
        );
        let reader = Reader::new(response, call.provider, self.idle);
        if !reader.response.status().is_success() || reader.is_not_a_stream() {
            return Err(reader.refusal().await);
        }
        Ok(reader)
    }
}

/// Reads the events of one answer.
pub(super) struct Reader {
    response: Response,
    decoder: sse::Decoder,
    ready: VecDeque<sse::Event>,
    provider: &'static str,
    idle: Duration,
}

impl Reader {
    fn new(response: Response, provider: &'static str, idle: Duration) -> Self {
        Self { response, decoder: sse::Decoder::default(), ready: VecDeque::new(), provider, idle }
    }

    /// The data of the next event; `None` at the end of the response. Any byte, also one of a comment, resets the stall watch.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ProviderError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event.data));
            }
            let chunk = timeout(self.idle, self.response.chunk()).await.map_err(|_| stalled(self.provider, self.idle))?;
            let Some(bytes) = chunk.map_err(|e| transport(self.provider, e))? else { return Ok(None) };
            let mut events = Vec::new();
            self.decoder
                .push(&bytes, &mut events)
                .map_err(|e| ProviderError::new(ErrorClass::ServerError, format!("{}: {e}", self.provider)))?;
            self.ready.extend(events);
        }
    }

    /// Reads to the end of a response that has said everything, so that its connection can be used again.
    pub(super) async fn drain(&mut self) {
        let _ = timeout(TAIL, async { while let Ok(Some(_)) = self.response.chunk().await {} }).await;
    }

    /// A 200 that is a web page or one JSON document comes from something else than a streaming model.
    fn is_not_a_stream(&self) -> bool {
        let kind = self.response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        kind.starts_with("text/html") || kind.starts_with("application/json")
    }

    async fn refusal(mut self) -> Refused {
        let mut body = Vec::new();
        while body.len() < MAX_ERROR_BODY_BYTES
            && let Ok(Ok(Some(bytes))) = timeout(self.idle, self.response.chunk()).await
        {
            body.extend_from_slice(&bytes);
        }
        let (status, headers) = (self.response.status().as_u16(), self.response.headers());
        let said = Said::read(&String::from_utf8_lossy(&body));
        let complaint = format!("{} {}", said.param, said.message);
        Refused { error: refusal(self.provider, status, headers, &said), status, complaint }
    }
}

/// What an error body says, whichever shape it has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub kind: String,
    pub code: String,
    pub param: String,
    pub message: String,
    /// `error.details.error_code`.
    pub detail: String,
}

impl Said {
    pub(super) fn read(body: &str) -> Self {
        match serde_json::from_str::<Value>(body) {
            Ok(value) => Self::of(&value),
            Err(_) => Self { message: body.to_owned(), ..Self::default() },
        }
    }

    /// `{"error":{"type","code","param","message","details"}}`, `{"error":"…"}`, `{"message":…}` or `{"detail":…}`.
    pub(super) fn of(value: &Value) -> Self {
        let error = value.get("error").filter(|e| !e.is_null()).unwrap_or(value);
        if let Some(message) = error.as_str() {
            return Self { message: message.to_owned(), ..Self::default() };
        }
        let text = |v: Option<&Value>| match v {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        Self {
            kind: text(error.get("type")),
            code: text(error.get("code")),
            param: text(error.get("param")),
            message: text(error.get("message").or_else(|| error.get("detail"))),
            detail: text(error.pointer("/details/error_code")),
        }
    }

    /// The class that the words name, if they name one.
    pub(super) fn class(&self) -> Option<ErrorClass> {
        [&self.kind, &self.code].into_iter().find_map(|word| {
            Some(match word.as_str() {
                "overloaded_error" | "overloaded" | "engine_overloaded" => ErrorClass::Overloaded,
                "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "rate_limit" => ErrorClass::RateLimited,
                "timeout_error" | "timeout" => ErrorClass::Timeout,
                "api_error" | "server_error" | "internal_server_error" | "InternalServerError" => ErrorClass::ServerError,
                "invalid_request_error" | "request_too_large" | "context_length_exceeded" | "BadRequestError" => ErrorClass::InvalidRequest,
                "authentication_error" | "permission_error" | "billing_error" | "invalid_api_key" => ErrorClass::Authentication,
                "not_found_error" | "model_not_found" | "NotFoundError" => ErrorClass::NotFound,
                number => class_of_status(number.parse().ok().filter(|status| (400..600).contains(status))?),
            })
        })
    }

    /// A limit that waiting does not lift.
    fn spent(&self) -> bool {
        self.detail == "enforced_spend_limit_reached" || self.kind == "insufficient_quota" || self.code == "insufficient_quota"
    }

    /// An error that came inside a stream.
    pub(super) fn into_error(self, provider: &str) -> ProviderError {
        let class = self.class().unwrap_or(ErrorClass::ServerError);
        let spent = self.spent();
        let mut error = ProviderError::new(class, format!("{provider}: {}", self.words()));
        error.retryable &= !spent;
        error
    }

    fn words(&self) -> String {
        let kind = if self.kind.is_empty() { &self.code } else { &self.kind };
        let text = if self.message.is_empty() { "no reason given" } else { &self.message };
        if kind.is_empty() { shorten(text) } else { format!("{}: {}", shorten(kind), shorten(text)) }
    }
}

fn class_of_status(status: u16) -> ErrorClass {
    match status {
        401..=403 => ErrorClass::Authentication,
        404 => ErrorClass::NotFound,
        408 | 504 => ErrorClass::Timeout,
        429 => ErrorClass::RateLimited,
        503 | 529 => ErrorClass::Overloaded,
        409 | 500.. => ErrorClass::ServerError,
        _ => ErrorClass::InvalidRequest,
    }
}

fn refusal(provider: &str, status: u16, headers: &HeaderMap, said: &Said) -> ProviderError {
    if status < 400 {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("nothing");
        let words = if said.kind.is_empty() { String::new() } else { format!(": {}", said.words()) };
        return ProviderError {
            retryable: false,
            ..ProviderError::new(
                said.class().unwrap_or(ErrorClass::InvalidRequest),
                format!("{provider} answered {status} with {} instead of an event stream{words}", shorten(kind)),
            )
        };
    }
    let id = request_id(headers);
    let id = if id.is_empty() { String::new() } else { format!(" (request {})", shorten(id)) };
    let class = said.class().filter(|_| status != 429 && status != 529).unwrap_or_else(|| class_of_status(status));
    let retry_after = retry_after(headers, chassis::clock::now());
    let retryable = match headers.get("x-should-retry").map(HeaderValue::as_bytes) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => matches!(status, 408 | 409 | 429 | 500..) && (!said.spent() || headers.contains_key(header::RETRY_AFTER)),
    };
    ProviderError { class, message: format!("{provider} answered {status}: {}{id}", said.words()), retryable, retry_after }
}

fn request_id(headers: &HeaderMap) -> &str {
    ["request-id", "x-request-id"].into_iter().find_map(|name| headers.get(name)?.to_str().ok()).unwrap_or_default()
}

/// `retry-after-ms`, else `retry-after` in seconds or as a date, if it is not too long.
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let seconds = |text: &str| text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let milliseconds = text("retry-after-ms").and_then(|t| Some(seconds(t)? / 1_000));
    let wait = milliseconds.or_else(|| {
        let text = text("retry-after")?;
        seconds(text).or_else(|| {
            let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
            Some(Duration::try_from(date - now).unwrap_or_default())
        })
    });
    wait.filter(|wait| *wait <= MAX_RETRY_AFTER)
}

fn stalled(provider: &str, idle: Duration) -> ProviderError {
    ProviderError::new(ErrorClass::Timeout, format!("{provider} sent nothing for {} s", idle.as_secs_f64()))
}

/// The answer ended in the middle.
pub(super) fn cut(provider: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Connection, format!("{provider} ended the stream before the answer was whole"))
}

/// The stream holds something that is not the protocol.
pub(super) fn malformed(provider: &str, what: &str) -> ProviderError {
    ProviderError::new(ErrorClass::ServerError, format!("{provider} sent {what}"))
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

/// One line of at most [`MAX_TEXT_CHARS`].
fn shorten(text: &str) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT_CHARS).collect();
    if text.trim().chars().count() > MAX_TEXT_CHARS { format!("{line}…") } else { line }
}

/// Takes secrets out of what a provider wrote: some repeat the key that they refuse.
#[derive(Clone)]
pub(super) struct Redaction(Arc<[String]>);

impl Redaction {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(secrets.into_iter().filter(|secret| !secret.is_empty()).map(str::to_owned).collect())
    }

    pub(super) fn apply(&self, mut error: ProviderError) -> ProviderError {
        for secret in self.0.iter() {
            if error.message.contains(secret.as_str()) {
                error.message = error.message.replace(secret.as_str(), "[redacted]");
            }
        }
        error
    }
}

/// A header whose value is never shown.
pub(super) fn secret_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn refused(status: u16, pairs: &[(&'static str, &str)], body: &str) -> ProviderError {
        refusal("anthropic", status, &headers(pairs), &Said::read(body))
    }

    #[test]
    fn a_status_becomes_a_class() {
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
    fn words_are_more_exact_than_the_status() {
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
    fn what_the_provider_says_about_retries_wins() {
        assert!(!refused(529, &[("x-should-retry", "false")], "").retryable);
        assert!(refused(400, &[("x-should-retry", "true")], "").retryable);
        let spend = r#"{"error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
        assert!(!refused(429, &[], spend).retryable);
        assert!(refused(429, &[("retry-after", "3")], spend).retryable);
        assert!(!refused(429, &[], r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"m"}}"#).retryable);
    }

    #[test]
    fn the_wait_is_read_in_three_forms() {
        let now = OffsetDateTime::parse("Wed, 21 Oct 2026 07:28:00 GMT", &Rfc2822).unwrap();
        let wait = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs), now).map(|d| d.as_millis());
        assert_eq!(wait(&[("retry-after-ms", "250"), ("retry-after", "9")]), Some(250));
        assert_eq!(wait(&[("retry-after", "9")]), Some(9_000));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")]), Some(30_000));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2026 07:27:30 GMT")]), Some(0));
        for pairs in [&[("retry-after", "61")][..], &[("retry-after", "soon")], &[("retry-after", "-1")], &[]] {
            assert_eq!(wait(pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn an_error_inside_a_stream_has_a_class() {
        let error = |text: &str| Said::read(text).into_error("openai");
        assert_eq!(error(r#"{"error":{"code":429,"message":"slow"}}"#).class, ErrorClass::RateLimited);
        assert_eq!(error(r#"{"error":{"code":502,"message":"bad"}}"#).class, ErrorClass::ServerError);
        assert_eq!(error(r#"{"error":"boom"}"#), ProviderError::new(ErrorClass::ServerError, "openai: boom"));
        assert!(!error(r#"{"error":{"type":"invalid_request_error","message":"m"}}"#).retryable);
    }

    #[test]
    fn texts_are_short_and_hold_no_secret() {
        let long = "é".repeat(2_000);
        let error = refused(400, &[], &format!(r#"{{"error":{{"message":"{long}"}}}}"#));
        assert_eq!(error.message.chars().filter(|c| *c == 'é').count(), MAX_TEXT_CHARS);
        let redaction = Redaction::new(["sk-key", ""]);
        let error = redaction.apply(refused(401, &[], r#"{"error":{"message":"Incorrect key sk-key."}}"#));
        assert_eq!(error.message, "anthropic answered 401: Incorrect key [redacted].");
    }
}
