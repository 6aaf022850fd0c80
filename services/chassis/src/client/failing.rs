//! A connection with a failpoint before and after each call. After a call means that its answer has begun, which is the whole of
//! it but for streams.

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
pub struct Failing(Channel);

impl From<Channel> for Failing {
    fn from(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Service<http::Request<Body>> for Failing {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let place = format!("rpc/{}", request.uri().path().rsplit('/').next().unwrap_or_default());
        if let Err(error) = failpoint::before(&place) {
            return Box::pin(ready(Ok(Status::unavailable(error.to_string()).into_http())));
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let passed = failpoint::after(&place);
            Ok(passed.map_or_else(|error| Status::unavailable(error.to_string()).into_http(), |()| answer))
        })
    }
}
