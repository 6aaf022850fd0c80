//! Connects to a role, with TLS if the cluster uses it.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower::Service;

use crate::{caller::Caller, tls::Tls};

type BoxError = Box<dyn Error + Send + Sync>;

/// A connection without or with TLS.
type Io = TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

#[derive(Clone)]
pub(super) struct Connector<R = GaiResolver> {
    tcp: HttpConnector<R>,
    to: Caller,
    /// Set if the connections are with TLS.
    tls: Option<Arc<Tls>>,
}

impl Connector {
    pub(super) fn new(to: Caller, tls: Option<Arc<Tls>>) -> Self {
        Self::over(HttpConnector::new(), to, tls)
    }
}

impl<R> Connector<R> {
    pub(super) fn over(mut tcp: HttpConnector<R>, to: Caller, tls: Option<Arc<Tls>>) -> Self {
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        Self { tcp, to, tls: tls.filter(|tls| tls.connects_with_tls()) }
    }
}

impl<R> Service<Uri> for Connector<R>
where
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>, Error: Into<BoxError>, Future: Send + 'static>,
    R: Service<Name>,
{
    type Response = Io;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Io, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, to, tls) = (self.tcp.call(uri), self.to, self.tls.clone());
        Box::pin(async move {
            let stream = connecting.await.map_err(Into::into)?.into_inner();
            Ok(TokioIo::new(match tls {
                None => Either::Left(stream),
                Some(tls) => Either::Right(Box::new(tls.connect(to, stream).await?)),
            }))
        })
    }
}
