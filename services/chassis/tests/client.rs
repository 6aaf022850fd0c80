//! The channel between services against a server that violates the limits: only the affected call may fail.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use chassis::{
    client::{ServiceChannel, connect},
    identity::Caller,
    task,
    testing::{self, eventually},
};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::auth::{GetKeySetRequest, SignInRequest, WatchRevocationsRequest, auth_service_client::AuthServiceClient};

const LIMIT: Duration = Duration::from_secs(20);
/// An empty message with its prefix.
const MESSAGE: Bytes = Bytes::from_static(&[0; 5]);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn trailers(code: &'static str, text: usize) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    // Several headers, because a single one has a limit.
    for at in (0..text).step_by(60_000) {
        trailers.append("grpc-message", HeaderValue::try_from("a".repeat(60_000.min(text - at))).unwrap());
    }
    Frame::trailers(trailers)
}

/// GetKeySet answers with one message. SignIn fails with trailers of the size that its email names. WatchRevocations never ends.
async fn answer<B: http_body::Body<Data = Bytes>>(request: Request<B>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let frames = if path.ends_with("SignIn") {
        let size: String = body.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
        stream::iter([Ok(trailers("5", size.parse().unwrap()))]).boxed()
    } else if path.ends_with("WatchRevocations") {
        stream::iter([Ok(Frame::data(MESSAGE))]).chain(stream::pending()).boxed()
    } else {
        stream::iter([Ok(Frame::data(MESSAGE)), Ok(trailers("0", 0))]).boxed()
    };
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(answer)
}

async fn client() -> AuthServiceClient<ServiceChannel> {
    chassis::install_crypto();
    let listener = testing::listener().await;
    let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    task::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            task::spawn(builder.serve_connection(TokioIo::new(socket), hyper::service::service_fn(answer)));
        }
    });
    AuthServiceClient::new(connect(Caller::Gateway, Caller::Auth, &uri, &testing::secret()))
}

fn sign_in(bytes: usize) -> SignInRequest {
    SignInRequest { email: bytes.to_string(), ..SignInRequest::default() }
}

#[tokio::test]
async fn oversized_trailers_fail_one_call_and_not_the_connection() {
    let client = client().await;
    let mut watch = client.clone().watch_revocations(WatchRevocationsRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("the first message");
    for bytes in [0, 10_000, 60_000, 240_000, 900_000, 1_200_000] {
        for _ in 0..3 {
            let (refused, other) = tokio::join!(async { client.clone().sign_in(sign_in(bytes)).await }, async {
                client.clone().get_key_set(GetKeySetRequest {}).await
            });
            refused.expect_err("a refusal, or trailers that are too large");
            other.unwrap_or_else(|status| panic!("another call beside trailers of {bytes} bytes: {status:?}"));
        }
    }
    let ended = tokio::time::timeout(Duration::from_millis(1), watch.message()).await;
    assert!(ended.is_err(), "the connection of the watch has ended: {ended:?}");
}

#[tokio::test]
async fn a_lost_connection_is_restored() {
    let client = client().await;
    client.clone().get_key_set(GetKeySetRequest {}).await.unwrap();
    client.clone().sign_in(sign_in(6_000_000)).await.expect_err("more than the limit of h2");
    let next = client.clone().get_key_set(GetKeySetRequest {}).await;
    next.expect("the idempotent call is retried on a new connection");
    eventually(LIMIT, || {
        let mut client = client.clone();
        async move { client.sign_in(sign_in(1)).await.err().filter(|status| status.code() == tonic::Code::NotFound) }
    })
    .await;
}
