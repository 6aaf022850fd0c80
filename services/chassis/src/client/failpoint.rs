//! A channel with a failpoint before and after each call. The second one is evaluated when the response headers have arrived.

use std::{
    future::ready,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{
    Status,
    body::Body,
    transport::{self, Channel},
};
use tower::Service;

use crate::failpoint;

#[derive(Clone, Debug)]
pub struct FailpointChannel(Channel);

impl From<Channel> for FailpointChannel {
    fn from(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Service<http::Request<Body>> for FailpointChannel {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let operation = format!("rpc/{}", request.uri().path().rsplit('/').next().unwrap_or_default());
        if let Err(error) = failpoint::before(&operation) {
            return Box::pin(ready(Ok(Status::unavailable(error.to_string()).into_http())));
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let result = failpoint::after(&operation);
            Ok(result.map_or_else(|error| Status::unavailable(error.to_string()).into_http(), |()| answer))
        })
    }
}
