//! The error that services and clients exchange: one of ten codes, a stable reason, and what a client needs to act on it. On the
//! wire it is a `google.rpc.Status` with details. Nothing matches on its text.

mod bounds;

use std::{collections::HashMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation as WireViolation, QuotaViolation as WireQuota, StatusExt};

use self::bounds::visible;
pub use self::bounds::{OMITTED, clip};

/// The domain of a status that no service of Backlot made: a library, a proxy or the transport did.
pub const DEFAULT_DOMAIN: &str = "backlot.dev";

/// The kind of a fault. Other processes act on the kind alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    InvalidArgument,
    Unauthenticated,
    Forbidden,
    NotFound,
    /// The current state of the resource forbids the call: ABORTED on the wire.
    Conflict,
    RateLimited,
    Timeout,
    Unavailable,
    Internal,
    /// This release does not have the RPC or does not support the encoding.
    Unimplemented,
}

impl ErrorCode {
    /// The gRPC code on the wire.
    #[must_use]
    pub fn grpc(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::Conflict => Code::Aborted,
            Self::RateLimited => Code::ResourceExhausted,
            Self::Timeout => Code::DeadlineExceeded,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
            Self::Unimplemented => Code::Unimplemented,
        }
    }

    /// The code that is nearest to a gRPC code.
    #[must_use]
    pub fn from_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::Forbidden,
            Code::NotFound => Self::NotFound,
            Code::Unimplemented => Self::Unimplemented,
            Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => Self::Conflict,
            Code::ResourceExhausted => Self::RateLimited,
            Code::DeadlineExceeded | Code::Cancelled => Self::Timeout,
            Code::Unavailable => Self::Unavailable,
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }
}

/// A field of a request that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field as the contract spells it, with indices: `changes[3].path`.
    pub field: String,
    /// The rule, with its limit.
    pub description: String,
}

/// A rate limit policy that refused the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaViolation {
    /// The policy's name.
    pub policy: String,
    /// What the policy allows, as text for people: "3 per 60 s".
    pub description: String,
}

/// An error that is sent to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: ErrorCode,
    /// Stable, upper-case, listed in the service's `.proto`.
    pub reason: String,
    /// The service that defines the reason, such as `auth.backlot.dev`.
    pub domain: String,
    /// Text for people. It has no secrets, and nothing matches on it.
    pub message: String,
    pub violations: Vec<FieldViolation>,
    pub quota: Vec<QuotaViolation>,
    pub retry_after: Option<Duration>,
    /// Values for programs, such as `{"current": "…"}`.
    pub metadata: HashMap<String, String>,
}

impl Fault {
    /// A fault of a service, which is named as its folder: `project-storage`. The message is clipped, and its control characters become
    /// escapes, because it may quote a request. So do the texts of [`Fault::invalid`]. [`Fault::with`] only clips.
    #[must_use]
    pub fn new(service: &str, code: ErrorCode, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            domain: format!("{service}.backlot.dev"),
            message: clip(&visible(&message.into()), bounds::TEXT),
            violations: Vec::new(),
            quota: Vec::new(),
            retry_after: None,
            metadata: HashMap::new(),
        }
    }

    /// INVALID_ARGUMENT with the invalid fields, reason INVALID_FIELD.
    #[must_use]
    pub fn invalid(service: &str, violations: Vec<FieldViolation>) -> Self {
        let clipped = |v: FieldViolation| FieldViolation {
            field: clip(&visible(&v.field), bounds::FIELD),
            description: clip(&visible(&v.description), bounds::DESCRIPTION),
        };
        let violations: Vec<_> = violations.into_iter().map(clipped).collect();
        // A violation without a field concerns the whole request.
        let line = |v: &FieldViolation| if v.field.is_empty() { v.description.clone() } else { format!("{}: {}", v.field, v.description) };
        let message = violations.iter().map(line).collect::<Vec<_>>().join("; ");
        Self { violations, ..Self::new(service, ErrorCode::InvalidArgument, "INVALID_FIELD", message) }
    }

    /// Adds a value for programs to the metadata.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), clip(&value.into(), bounds::VALUE));
        self
    }

    /// Tells the client how long to wait before it repeats the call.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Reads a received status. A status without details, which a library made, keeps its text and gets the default reason of its
    /// code and the domain `backlot.dev`.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        Self {
            code: ErrorCode::from_grpc(status.code()),
            reason: info.map_or_else(|| default_reason(status.code()).to_owned(), |i| i.reason.clone()),
            domain: info.map_or_else(|| DEFAULT_DOMAIN.to_owned(), |i| i.domain.clone()),
            message: status.message().to_owned(),
            violations: details
                .bad_request()
                .map(|b| {
                    b.field_violations
                        .iter()
                        .map(|v| FieldViolation { field: v.field.clone(), description: v.description.clone() })
                        .collect()
                })
                .unwrap_or_default(),
            quota: details
                .quota_failure()
                .map(|q| {
                    q.violations.iter().map(|v| QuotaViolation { policy: v.subject.clone(), description: v.description.clone() }).collect()
                })
                .unwrap_or_default(),
            retry_after: details.retry_info().and_then(|r| r.retry_delay),
            metadata: info.map(|i| i.metadata.clone()).unwrap_or_default(),
        }
    }
}

/// The reason of a status without details.
fn default_reason(code: Code) -> &'static str {
    match ErrorCode::from_grpc(code) {
        ErrorCode::InvalidArgument => "INVALID_FIELD",
        ErrorCode::Unauthenticated => "TOKEN_INVALID",
        ErrorCode::Forbidden => "CALLER_DENIED",
        ErrorCode::NotFound => "NOT_FOUND",
        ErrorCode::Conflict => "CONFLICT",
        ErrorCode::RateLimited => "RATE_LIMITED",
        ErrorCode::Timeout => "TIMEOUT",
        ErrorCode::Unavailable => "UNAVAILABLE",
        ErrorCode::Internal => "INTERNAL",
        ErrorCode::Unimplemented => "UNIMPLEMENTED",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Status {
    /// Bounds the fault first, see [`Fault::bounded`].
    fn from(fault: Fault) -> Self {
        let fault = fault.bounded();
        let mut details = ErrorDetails::new();
        details.set_error_info(fault.reason, fault.domain, fault.metadata);
        if !fault.violations.is_empty() {
            details.set_bad_request(
                fault
                    .violations
                    .into_iter()
                    .map(|v| WireViolation { field: v.field, description: v.description, ..Default::default() })
                    .collect::<Vec<_>>(),
            );
        }
        if !fault.quota.is_empty() {
            details.set_quota_failure(
                fault
                    .quota
                    .into_iter()
                    .map(|v| WireQuota { subject: v.policy, description: v.description, ..Default::default() })
                    .collect::<Vec<_>>(),
            );
        }
        if let Some(delay) = fault.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(fault.code.grpc(), fault.message, details)
    }
}

/// Collects the violations of a request, so that one response names every invalid field.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Records a violation.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(FieldViolation { field: field.into(), description: description.into() });
    }

    /// Parses a field. Returns `None` and records the error if it does not parse.
    pub fn parse<T: std::str::FromStr>(&mut self, field: &str, text: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        text.parse().map_err(|e: T::Err| self.add(field, e.to_string())).ok()
    }

    /// Records a violation if the length in bytes is outside of the bounds, both inclusive.
    pub fn length(&mut self, field: &str, text: &str, bounds: std::ops::RangeInclusive<usize>) {
        if bounds.contains(&text.len()) {
            return;
        }
        let (min, max) = bounds.into_inner();
        self.add(field, if min == 0 { format!("must be at most {max} bytes") } else { format!("must be {min} to {max} bytes") });
    }

    /// Records a violation if a name has characters that make it look like another name.
    pub fn no_misleading_characters(&mut self, field: &str, text: &str) {
        if text.chars().any(crate::text::is_misleading) {
            self.add(field, "must hold no control characters and none that change the direction of the text");
        }
    }

    /// Fails if a violation was recorded.
    ///
    /// # Errors
    /// INVALID_FIELD with every violation.
    pub fn check(self, service: &str) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::invalid(service, self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_round_trips_through_a_status() {
        let mut fault = Fault::new("auth", ErrorCode::RateLimited, "RATE_LIMITED", "too many")
            .retry_after(Duration::from_secs(12))
            .with("policy", "auth");
        fault.quota.push(QuotaViolation { policy: "auth".into(), description: "5 per 900 s".into() });
        fault.violations.push(FieldViolation { field: "email".into(), description: "must hold one @".into() });
        assert_eq!(Fault::from_status(&Status::from(fault.clone())), fault);
    }

    #[test]
    fn a_status_without_details_gets_a_reason() {
        assert_eq!(Fault::from_status(&Status::unavailable("gone")).reason, "UNAVAILABLE");
    }
}
