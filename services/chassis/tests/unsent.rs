//! A call that is not idempotent is repeated if a server has refused it, and never if a handler may have it.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use chassis::{
    client::{ServiceChannel, connect},
    identity::Caller,
    task, testing,
};
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::auth::{SignInRequest, auth_service_client::AuthServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// An empty message with its prefix.
const MESSAGE: Bytes = Bytes::from_static(&[0; 5]);
const PREFACE_BYTES: usize = 24;
// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
/// The first stream of a client.
const FIRST_STREAM: u32 = 1;

/// How a server ends the first call that it gets.
#[derive(Debug, Clone, Copy)]
enum End {
    Reset(Reason),
    /// A GOAWAY with this last stream. Then the connection is closed.
    GoAway(u32),
    /// The process dies: the connection is closed without a frame.
    Close,
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
}

/// The type, the flags and the stream of the next frame.
async fn next_frame(socket: &mut TcpStream) -> io::Result<(u8, u8, u32)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await?;
    let [first, second, third, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, first, second, third]) as usize];
    socket.read_exact(&mut payload).await?;
    Ok((kind, flags, u32::from_be_bytes(stream)))
}

/// Reads a complete request, counts it if a handler gets it, and ends it.
async fn end_first_call(mut socket: TcpStream, end: End, is_handled: bool, handled: &AtomicUsize) -> io::Result<()> {
    socket.read_exact(&mut [0; PREFACE_BYTES]).await?;
    socket.write_all(&frame(SETTINGS, 0, &[])).await?;
    let is_last = |kind: u8, flags: u8| (kind == DATA || kind == HEADERS) && flags & END_STREAM != 0;
    loop {
        let (kind, flags, stream) = next_frame(&mut socket).await?;
        if is_last(kind, flags) {
            assert_eq!(stream, FIRST_STREAM);
            break;
        }
    }
    handled.fetch_add(usize::from(is_handled), Ordering::SeqCst);
    let go_away = |last: u32| frame(GOAWAY, 0, &[last.to_be_bytes(), u32::from(Reason::NO_ERROR).to_be_bytes()].concat());
    match end {
        End::Close => return Ok(()),
        End::GoAway(last) => socket.write_all(&go_away(last)).await?,
        End::Reset(reason) => {
            // With the GOAWAY, the next call gets a connection of its own.
            let reset = frame(RST_STREAM, FIRST_STREAM, &u32::from(reason).to_be_bytes());
            socket.write_all(&[reset, go_away(FIRST_STREAM)].concat()).await?;
        }
    }
    if is_handled {
        return Ok(());
    }
    // The client closes. A server that closes first could reset the connection before the client has read the frame.
    while next_frame(&mut socket).await.is_ok() {}
    Ok(())
}

/// Serves a connection whose calls are all answered.
async fn serve(socket: TcpStream, handled: Arc<AtomicUsize>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handled = Arc::clone(&handled);
        async move {
            request.into_body().collect().await.unwrap();
            handled.fetch_add(1, Ordering::SeqCst);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let frames = [Ok::<_, Infallible>(Frame::data(MESSAGE)), Ok(Frame::trailers(trailers))];
            let mut answer = Response::new(StreamBody::new(futures::stream::iter(frames)));
            answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            Ok::<_, Infallible>(answer)
        }
    });
    // The client may leave.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
}

async fn accept(listener: TcpListener, end: End, is_handled: bool, handled: Arc<AtomicUsize>) {
    let (first, _) = listener.accept().await.unwrap();
    let calls = Arc::clone(&handled);
    task::spawn(async move {
        // The client may leave.
        let _ = end_first_call(first, end, is_handled, &calls).await;
    });
    while let Ok((socket, _)) = listener.accept().await {
        task::spawn(serve(socket, Arc::clone(&handled)));
    }
}

/// A client of a server that ends the first call in this way. The number is that of calls that a handler got.
async fn client(end: End, is_handled: bool) -> (AuthServiceClient<ServiceChannel>, Arc<AtomicUsize>) {
    chassis::install_crypto();
    let listener = testing::listener().await;
    let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    task::spawn(accept(listener, end, is_handled, Arc::clone(&handled)));
    (AuthServiceClient::new(connect(Caller::Gateway, Caller::Auth, &uri, &testing::secret())), handled)
}

#[tokio::test]
async fn a_handler_gets_a_call_once() {
    assert!(!proto::IDEMPOTENT_METHODS.contains(&"/backlot.auth.v1.AuthService/SignIn"));
    let table = [
        ("a refused stream", End::Reset(Reason::REFUSED_STREAM), false),
        ("a stream above the last one of a GOAWAY", End::GoAway(0), false),
        ("a cancelled stream", End::Reset(Reason::CANCEL), true),
        ("a stream that fails", End::Reset(Reason::INTERNAL_ERROR), true),
        ("the last stream of a GOAWAY", End::GoAway(FIRST_STREAM), true),
        ("a process that dies", End::Close, true),
    ];
    for (case, end, is_handled) in table {
        let (mut client, handled) = client(end, is_handled).await;
        let answer = client.sign_in(SignInRequest::default()).await;
        assert_eq!(answer.is_err(), is_handled, "{case}: {answer:?}");
        assert_eq!(handled.load(Ordering::SeqCst), 1, "{case}: {answer:?}");
    }
}
