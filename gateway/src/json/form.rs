//! The fields of an HTML form.

use axum::{
    extract::{FromRef, FromRequest, Request},
    http::header,
};
use proto::error::ErrorCode;
use url::form_urlencoded;

use super::{body::require_no_coding, limits::BodyLimits, receive::BodyReader};
use crate::{
    edge::slots::Slot,
    error::{Failure, fault},
};

/// Bytes of a form.
const LIMIT: usize = 16 * 1024;
const KIND: &str = "application/x-www-form-urlencoded";

/// Extracts the fields of a form in their order.
#[derive(Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a field; an absent one is empty.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// The values of a field in their order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<S> FromRequest<S> for Form
where
    S: Send + Sync,
    BodyLimits: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(KIND) {
            let text = format!("the body must have the type {KIND}");
            return Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", text).into());
        }
        require_no_coding(&parts.headers)?;
        let (bytes, _share) = BodyReader::new(&BodyLimits::from_ref(state), &parts, LIMIT)?.read(body).await?;
        if let Some(slot) = parts.extensions.get::<Slot>() {
            slot.start_work()?;
        }
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }
}
