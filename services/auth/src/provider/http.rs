//! Requests to a provider. The documents of an issuer say where some of them go, so the guard of outbound addresses keeps them away from
//! private networks, except for the hosts of the settings. A redirect is not followed, because it would send a code or a token to another
//! address.

use std::{pin::Pin, time::Duration};

use chassis::{
    error::chain,
    outbound::{Client, Guard},
};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{ClientBuilder, Response, Url};

/// Bytes of an answer. Documents of issuers have less than 64 KiB.
const MAX_BYTES: usize = 256 * 1024;

pub(super) struct Http(Client);

#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("{0}")]
    Failed(String),
    #[error("its answer has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("it redirects, which is not followed")]
    Redirect,
}

impl Http {
    /// # Errors
    /// The reason why there can be no client.
    pub(super) fn new(guard: &Guard, timeout: Duration) -> Result<Self, String> {
        chassis::install_crypto();
        let builder = ClientBuilder::new().user_agent(concat!("backlot/", env!("CARGO_PKG_VERSION"))).timeout(timeout);
        guard.client(builder).map(Self).map_err(|error| chain(&error))
    }

    /// Sends a request, and reads its answer to the end.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url: Url = parts.uri.to_string().parse().map_err(|_| HttpError::Failed("it has an address that is none".to_owned()))?;
        let request = self.0.request(parts.method, url).map_err(|refused| HttpError::Failed(format!("its address {refused}")))?;
        let sent = request.headers(parts.headers).body(body).send().await;
        let response = sent.map_err(|error| HttpError::Failed(chain(&error.without_url())))?;
        if response.status().is_redirection() {
            return Err(HttpError::Redirect);
        }
        let mut answer = http::Response::builder().status(response.status());
        if let Some(kind) = response.headers().get(http::header::CONTENT_TYPE) {
            answer = answer.header(http::header::CONTENT_TYPE, kind);
        }
        let body = read(response).await?;
        answer.body(body).map_err(|error| HttpError::Failed(error.to_string()))
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| HttpError::Failed(chain(&error.without_url())))? {
        if body.len() + part.len() > MAX_BYTES {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
