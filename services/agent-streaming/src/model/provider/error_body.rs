//! Reads the errors of providers in all known formats, and classifies them.

use std::time::Duration;

use serde_json::Value;

use super::{ErrorClass, ProviderError};

/// How much of a provider's text goes into an error message.
const MAX_TEXT_CHARS: usize = 500;
/// The largest depth of errors that are nested as JSON text in a message.
const MAX_DEPTH: usize = 4;

/// The fields of a provider's error. Fields are empty if the error does not have them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub kind: String,
    pub code: String,
    /// The field of the request that the error is about.
    pub param: String,
    pub message: String,
    /// `error.details.error_code`.
    pub detail: String,
    /// The pause that the provider asks for.
    pub retry_after: Option<Duration>,
}

impl ErrorBody {
    /// Reads a body or the data of an event: JSON in any known format, else plain text.
    pub(super) fn read(text: &str) -> Self {
        match serde_json::from_str::<Value>(text) {
            Ok(value) if value.is_object() || value.is_array() => Self::of(&value),
            _ => Self { message: text.trim().to_owned(), ..Self::default() },
        }
    }

    /// The error in a JSON value, if it contains one: `{"error":…}`, `{"type":"error",…}`, `{"object":"error",…}`, or an array that begins
    /// with one of them.
    pub(super) fn find(value: &Value) -> Option<Self> {
        match value {
            Value::Array(all) => all.first().and_then(Self::find),
            Value::Object(fields) => {
                let has_error = ["error", "errors"].iter().any(|key| fields.get(*key).is_some_and(is_present));
                let is_error = ["type", "object"].iter().any(|key| value[key] == "error");
                (has_error || is_error).then(|| Self::of(value))
            }
            _ => None,
        }
    }

    /// Reads a value that is an error: `{"error":{"type","code","param","message","details"}}`, `{"error":"…"}`,
    /// `{"errors":[…]}`, `{"message":…}`, `{"detail":…}`, or an array of these.
    pub(super) fn of(value: &Value) -> Self {
        Self::at(value, 0)
    }

    fn at(value: &Value, depth: usize) -> Self {
        if let Some(first) = value.as_array().and_then(|all| all.first()) {
            return Self::at(first, depth);
        }
        let error = ["error", "errors"].into_iter().find_map(|key| value.get(key).filter(|error| is_present(error)));
        match error {
            Some(Value::String(text)) => return Self::default().with_message(text, depth),
            Some(inner @ Value::Array(_)) => return Self::at(inner, depth),
            _ => {}
        }
        let error = error.unwrap_or(value);
        let fields = Self {
            kind: text(error.get("type").filter(|kind| *kind != "error").or_else(|| error.get("status"))),
            code: text(error.get("code")),
            param: text(error.get("param")),
            message: String::new(),
            detail: text(error.pointer("/details/error_code")),
            retry_after: retry_delay(error),
        };
        let message = ["message", "detail", "msg", "error_description"].into_iter().find_map(|key| error.get(key));
        let message = match message {
            Some(Value::Array(all)) => text(all.first().map(|first| first.get("msg").unwrap_or(first))),
            other => text(other),
        };
        let mut body = fields.with_message(&message, depth);
        if let Some(raw) = error.pointer("/metadata/raw").filter(|raw| is_present(raw)) {
            body.add_raw(&text(Some(raw)), depth);
        }
        body
    }

    /// Sets the message. If the message is itself the JSON text of an error, as gateways nest the errors of the providers behind them,
    /// the fields of that error are used.
    fn with_message(mut self, message: &str, depth: usize) -> Self {
        let inner = (depth < MAX_DEPTH && message.trim_start().starts_with(['{', '[']))
            .then(|| serde_json::from_str::<Value>(message).ok())
            .flatten()
            .map(|value| Self::at(&value, depth + 1))
            .filter(|inner| !inner.message.is_empty());
        match inner {
            Some(inner) => {
                self.kind = if self.kind.is_empty() { inner.kind } else { self.kind };
                self.code = if self.code.is_empty() { inner.code } else { self.code };
                self.retry_after = self.retry_after.or(inner.retry_after);
                self.message = inner.message;
            }
            None => message.clone_into(&mut self.message),
        }
        self
    }

    /// Adds the error of the provider behind a router.
    fn add_raw(&mut self, raw: &str, depth: usize) {
        let inner = Self::default().with_message(raw, depth);
        if !inner.message.is_empty() && !self.message.contains(&inner.message) {
            let before = std::mem::take(&mut self.message);
            self.message = if before.is_empty() { inner.message } else { format!("{before}: {}", inner.message) };
        }
        self.retry_after = self.retry_after.or(inner.retry_after);
    }

    /// The class of the error's type or code, if it is known.
    pub(super) fn class(&self) -> Option<ErrorClass> {
        [&self.kind, &self.code].into_iter().find_map(|word| {
            Some(match word.as_str() {
                "overloaded_error" | "overloaded" | "engine_overloaded" | "UNAVAILABLE" | "ServiceUnavailableException" => {
                    ErrorClass::Overloaded
                }
                "rate_limit_error"
                | "rate_limit_exceeded"
                | "insufficient_quota"
                | "rate_limit"
                | "RESOURCE_EXHAUSTED"
                | "ThrottlingException" => ErrorClass::RateLimited,
                "timeout_error" | "timeout" | "DEADLINE_EXCEEDED" | "ModelTimeoutException" => ErrorClass::Timeout,
                "api_error"
                | "server_error"
                | "internal_server_error"
                | "InternalServerError"
                | "INTERNAL"
                | "UNKNOWN"
                | "ABORTED"
                | "InternalServerException"
                | "ModelStreamErrorException" => ErrorClass::ServerError,
                "invalid_request_error"
                | "request_too_large"
                | "context_length_exceeded"
                | "BadRequestError"
                | "INVALID_ARGUMENT"
                | "FAILED_PRECONDITION"
                | "OUT_OF_RANGE"
                | "ValidationException" => ErrorClass::InvalidRequest,
                "authentication_error"
                | "permission_error"
                | "billing_error"
                | "invalid_api_key"
                | "UNAUTHENTICATED"
                | "PERMISSION_DENIED"
                | "AccessDeniedException" => ErrorClass::Authentication,
                "not_found_error" | "model_not_found" | "NotFoundError" | "NOT_FOUND" | "ResourceNotFoundException" => ErrorClass::NotFound,
                number => class_of_status(number.parse().ok().filter(|status| (400..600).contains(status))?),
            })
        })
    }

    /// Whether the error is an exceeded quota, which waiting does not lift.
    pub(super) fn is_quota_exceeded(&self) -> bool {
        self.detail == "enforced_spend_limit_reached" || self.kind == "insufficient_quota" || self.code == "insufficient_quota"
    }

    /// The error of a response that began with a success status.
    pub(super) fn into_error(self, provider: &str) -> ProviderError {
        let class = self.class().unwrap_or(ErrorClass::ServerError);
        let mut error = ProviderError::new(class, format!("{provider}: {}", self.summary()));
        error.retryable &= !self.is_quota_exceeded();
        error.retry_after = self.retry_after;
        error
    }

    /// One line for the error message.
    pub(super) fn summary(&self) -> String {
        let kind = if self.kind.is_empty() { &self.code } else { &self.kind };
        let text = if self.message.is_empty() { "no reason given" } else { &self.message };
        if kind.is_empty() { shorten(text) } else { format!("{}: {}", shorten(kind), shorten(text)) }
    }
}

/// Whether the value of an error field stands for an error.
fn is_present(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Google's `details: [{"retryDelay": "34s"}]`.
fn retry_delay(error: &Value) -> Option<Duration> {
    let details = error["details"].as_array()?;
    let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str())?;
    Duration::try_from_secs_f64(delay.strip_suffix('s')?.parse().ok()?).ok()
}

pub(super) fn class_of_status(status: u16) -> ErrorClass {
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

/// One line of at most [`MAX_TEXT_CHARS`].
pub(super) fn shorten(text: &str) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT_CHARS).collect();
    if text.trim().chars().count() > MAX_TEXT_CHARS { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ProviderError {
        ErrorBody::read(text).into_error("x")
    }

    #[test]
    fn errors_of_every_format_are_read() {
        use ErrorClass::{Authentication, InvalidRequest, NotFound, Overloaded, RateLimited, ServerError};
        for (body, class, words) in [
            (r#"{"error":{"code":429,"message":"slow"}}"#, RateLimited, "x: 429: slow"),
            (r#"{"error":{"code":502,"message":"bad"}}"#, ServerError, "x: 502: bad"),
            (r#"{"error":"boom"}"#, ServerError, "x: boom"),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Overloaded,
                "x: overloaded_error: Overloaded",
            ),
            (
                r#"{"object":"error","message":"too long","type":"BadRequestError","code":400}"#,
                InvalidRequest,
                "x: BadRequestError: too long",
            ),
            (
                r#"[{"error":{"code":400,"message":"bad key","status":"PERMISSION_DENIED"}}]"#,
                Authentication,
                "x: PERMISSION_DENIED: bad key",
            ),
            (r#"{"errors":[{"message":"gone","code":404}]}"#, NotFound, "x: 404: gone"),
            (r#"{"error":[{"message":"gone","code":404}]}"#, NotFound, "x: 404: gone"),
            (r#"{"detail":"Not Found"}"#, ServerError, "x: Not Found"),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, ServerError, "x: field required"),
            (
                r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"P","raw":"upstream is on fire"}}}"#,
                ServerError,
                "x: 502: Provider returned error: upstream is on fire",
            ),
            (
                r#"{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"message\":\"tpm used up\"}}"}}}"#,
                RateLimited,
                "x: 429: Provider returned error: tpm used up",
            ),
            (
                r#"{"error":{"message":"{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\",\"message\":\"try later\"}}"}}"#,
                Overloaded,
                "x: UNAVAILABLE: try later",
            ),
            ("the model fell over", ServerError, "x: the model fell over"),
            ("", ServerError, "x: no reason given"),
            (r#"{"error":{"type":"x","message":""}}"#, ServerError, "x: x: no reason given"),
        ] {
            let error = error(body);
            assert_eq!((error.class, error.message.as_str()), (class, words), "{body}");
        }
    }

    #[test]
    fn only_errors_are_found_as_errors() {
        let found = |text: &str| ErrorBody::find(&serde_json::from_str(text).unwrap()).is_some();
        for text in
            [r#"{"error":"x"}"#, r#"{"error":{"message":"x"}}"#, r#"[{"error":{"code":1}}]"#, r#"{"type":"error"}"#, r#"{"error":true}"#]
        {
            assert!(found(text), "{text}");
        }
        for text in [r#"{"error":null}"#, r#"{"error":""}"#, r#"{"error":{}}"#, r#"{"error":false}"#, r#"{"choices":[]}"#, "[]", "3"] {
            assert!(!found(text), "{text}");
        }
    }

    #[test]
    fn the_class_decides_whether_an_error_is_retryable() {
        assert!(!error(r#"{"error":{"type":"invalid_request_error","message":"m"}}"#).retryable);
        assert!(error(r#"{"error":{"type":"server_error","message":"m"}}"#).retryable);
        assert!(!error(r#"{"error":{"type":"insufficient_quota","message":"m"}}"#).retryable);
        let limited = error(r#"{"error":{"code":429,"message":"m","details":[{"@type":"x"},{"retryDelay":"34.5s"}]}}"#);
        assert_eq!((limited.retryable, limited.retry_after), (true, Some(Duration::from_millis(34_500))));
    }
}
