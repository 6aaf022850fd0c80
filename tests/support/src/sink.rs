//! A server that keeps the bodies of all requests with one path, such as those of an exporter of traces.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::net::TcpListener;

/// Clones share the bodies.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<Bytes>>>);

impl Sink {
    /// Listens for requests with this path. Returns the address.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn listen(&self, path: &'static str) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let sink = self.clone();
        chassis::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sink = sink.clone();
                chassis::task::spawn(async move {
                    let service = service_fn(move |request| sink.clone().keep(path, request));
                    // The client may leave.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(address.to_string())
    }

    async fn keep(self, path: &'static str, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
        let mut response = Response::new(Empty::new());
        let is_wanted = request.uri().path() == path;
        match request.into_body().collect().await {
            Ok(body) if is_wanted => self.0.lock().unwrap_or_else(PoisonError::into_inner).push(body.to_bytes()),
            _ => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        Ok(response)
    }

    /// The bodies so far.
    #[must_use]
    pub fn bodies(&self) -> Vec<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
