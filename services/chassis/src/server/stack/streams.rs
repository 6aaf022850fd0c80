//! Calls whose request is a stream of messages.

use std::time::Instant;

use http::{Request, Response};
use proto::error::{ErrorCode, Fault};
use tonic::{body::Body, service::Routes};

use super::Shared;
use crate::{
    context::Context,
    server::{
        StreamSize,
        reflection::{self, MAX_QUERY_BYTES, StreamLimits},
        undecodable,
    },
};

impl Shared {
    pub(super) async fn call_reflection(&self, routes: &mut Routes, request: Request<Body>, context: Context) -> Response<Body> {
        let limits = StreamLimits {
            service: self.me.name(),
            name: "a reflection stream",
            message_bytes: MAX_QUERY_BYTES,
            messages: self.max_reflection_messages,
            time: self.body_timeout * 3,
        };
        let (parts, body) = request.into_parts();
        let (body, refusal) = reflection::limit(body, limits);
        // While the client does not read responses, the request body and its timer are not polled. So there is a deadline too.
        let deadline = Instant::now() + limits.time + self.body_timeout;
        let context = Context { deadline: Some(context.deadline.map_or(deadline, |earlier| earlier.min(deadline))), ..context };
        let response = self.call_handler(routes, Request::from_parts(parts, body), context).await;
        response.map(|body| reflection::with_refusal(body, refusal))
    }

    /// Calls a handler that reads a stream of messages. A limit that the stream exceeds is an error of the stream.
    pub(super) async fn call_with_stream(
        &self,
        routes: &mut Routes,
        request: Request<Body>,
        context: Context,
        size: StreamSize,
    ) -> Result<Response<Body>, Fault> {
        // The size of a compressed message in memory is not known before it is decompressed.
        if request.headers().get("grpc-encoding").is_some_and(|coding| coding != "identity") {
            return Err(self.fault(ErrorCode::Unimplemented, "UNIMPLEMENTED", "a stream of messages must be sent without grpc-encoding"));
        }
        let StreamSize { message_bytes, messages, time } = size;
        let limits = StreamLimits { service: self.me.name(), name: "a stream of this RPC", message_bytes, messages, time };
        let (parts, body) = request.into_parts();
        let (body, _) = reflection::limit(body, limits);
        let response = self.call_handler(routes, Request::from_parts(parts, body), context).await;
        Ok(undecodable::replace_status(self.me.name(), response))
    }
}
