//! The limits of direct callers, one by one. Without them each of these calls could block other clients.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use chassis::{
    client::{CALLER_HEADER, ServiceChannel, connect},
    config::Env,
    identity::{Caller, Signer},
    server::{Config, Rule, Scope, Server, Size::Ordinary},
    task,
    testing::{self, eventually},
    verifier::{Keys, Verifier},
};
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use proto::{
    error::Fault,
    rate_limit::{
        CheckRequest, CheckResponse, ListPoliciesRequest, ListPoliciesResponse, PolicyCheck,
        rate_limit_service_client::RateLimitServiceClient,
        rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Response, Status};

const LIMIT: Duration = Duration::from_secs(20);
const DIRECT_AND_GATEWAY: &[Caller] = &[Caller::Direct, Caller::Gateway];
const RULES: &[Rule] = &[
    Rule { rpc: "Check", callers: DIRECT_AND_GATEWAY, user: false, scope: Scope::Open, size: Ordinary },
    Rule { rpc: "ListPolicies", callers: DIRECT_AND_GATEWAY, user: false, scope: Scope::Open, size: Ordinary },
];
const CHECK: &str = "/backlot.rate_limit.v1.RateLimitService/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const UNLIMITED: (&str, &str) = ("BACKLOT_EDGE_PER_SECOND", "0");

struct Answers;

#[tonic::async_trait]
impl RateLimitService for Answers {
    async fn check(&self, _: tonic::Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse::default()))
    }

    async fn list_policies(&self, _: tonic::Request<ListPoliciesRequest>) -> Result<Response<ListPoliciesResponse>, Status> {
        Ok(Response::new(ListPoliciesResponse::default()))
    }
}

struct Service {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Service {
    async fn start(settings: &[(&str, &str)]) -> Self {
        chassis::install_crypto();
        let mut env = Env::of(settings.iter().copied());
        let config = Config::read(&mut env);
        env.check().unwrap();
        let (_, keys) = watch::channel(Vec::new());
        let verifier = Arc::new(Verifier::new(Caller::RateLimit, &testing::secret(), Keys::Local(keys)));
        let listener = testing::listener().await;
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = Server::new(Caller::RateLimit, config, verifier, RULES)
            .add_service(RateLimitServiceServer::new(Answers).accept_compressed(tonic::codec::CompressionEncoding::Gzip));
        task::spawn(server.serve(listener, stop.clone()));
        Self { address, _stop: stop.drop_guard() }
    }

    /// A service of the cluster.
    fn gateway(&self) -> RateLimitServiceClient<ServiceChannel> {
        let uri = format!("http://{}", self.address).parse().unwrap();
        RateLimitServiceClient::new(connect(Caller::Gateway, Caller::RateLimit, &uri, &testing::secret()))
    }

    async fn stranger(&self) -> Stranger {
        self.client(h2::client::Builder::new(), None).await
    }

    async fn client(&self, builder: h2::client::Builder, token: Option<String>) -> Stranger {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (send, connection) = builder.handshake(stream).await.unwrap();
        let driving = task::spawn(async move { _ = connection.await });
        Stranger { address: self.address, send, driving, token }
    }
}

/// A connection without a token, or with one.
struct Stranger {
    address: SocketAddr,
    send: SendRequest<Bytes>,
    driving: tokio::task::JoinHandle<()>,
    token: Option<String>,
}

impl Stranger {
    /// Starts a call that sends a part of its message and does not end it.
    async fn begin(&self, path: &str, sent: &[u8]) -> (ResponseFuture, h2::SendStream<Bytes>) {
        let request = Request::post(format!("http://{}{path}", self.address)).header("content-type", "application/grpc");
        let request = self.token.iter().fold(request, |request, token| request.header(CALLER_HEADER, token)).body(()).unwrap();
        let (answer, mut body) = self.send.clone().ready().await.unwrap().send_request(request, false).unwrap();
        if !sent.is_empty() {
            body.send_data(Bytes::copy_from_slice(sent), false).unwrap();
        }
        (answer, body)
    }

    /// The code and the text of a complete call.
    async fn call(&self) -> (u32, String) {
        status_of(self.begin(CHECK, &[0; 5]).await.0).await
    }
}

/// The code and the text of a response, from its headers or its trailers.
async fn status_of(answer: ResponseFuture) -> (u32, String) {
    let answer = tokio::time::timeout(LIMIT, answer).await.expect("an answer").unwrap();
    let text = |headers: &http::HeaderMap, name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let (head, mut body) = answer.into_parts();
    if let Some(code) = text(&head.headers, "grpc-status") {
        return (code.parse().unwrap(), text(&head.headers, "grpc-message").unwrap_or_default());
    }
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap();
    (text(&trailers, "grpc-status").unwrap().parse().unwrap(), text(&trailers, "grpc-message").unwrap_or_default())
}

const OK: u32 = 0;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNAUTHENTICATED: u32 = 16;

#[tokio::test]
async fn a_call_with_an_incomplete_message_takes_no_slot() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_CONCURRENT_REQUESTS", "1")]).await;
    let stranger = service.stranger().await;
    let mut held = Vec::new();
    for path in [CHECK, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"] {
        for sent in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 9]] {
            held.push(stranger.begin(path, sent).await);
        }
    }
    assert_eq!(stranger.call().await.0, OK);
    service.gateway().check(CheckRequest::default()).await.expect("a slot");
}

#[tokio::test]
async fn a_message_that_does_not_arrive_is_refused_in_time() {
    let service = Service::start(&[("BACKLOT_BODY_TIMEOUT", "100ms")]).await;
    let stranger = service.stranger().await;
    for path in [CHECK, "/grpc.health.v1.Health/Check"] {
        for sent in [&[][..], &[0, 0], &[0, 0, 0, 0, 9, 1]] {
            let (answer, _body) = stranger.begin(path, sent).await;
            assert_eq!(status_of(answer).await.0, DEADLINE_EXCEEDED, "{path} {sent:?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_sent() {
    let service = Service::start(&[]).await;
    let stranger = service.stranger().await;
    for length in [4 * 1024 * 1024 + 1, 100 * 1024 * 1024, u32::MAX] {
        let (answer, _body) = stranger.begin(CHECK, &[&[0], &length.to_be_bytes()[..]].concat()).await;
        let (code, text) = status_of(answer).await;
        assert!(code == RESOURCE_EXHAUSTED && text.contains("4194304"), "{length}: {code} {text}");
    }
}

/// A gzip message that decompresses to this number of megabytes of zeros.
fn bomb(megabytes: usize) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..megabytes {
        std::io::Write::write_all(&mut gzip, &[0; 1024 * 1024]).unwrap();
    }
    let compressed = gzip.finish().unwrap();
    [&[1], &u32::try_from(compressed.len()).unwrap().to_be_bytes()[..], &compressed].concat()
}

#[tokio::test]
async fn the_size_limit_applies_to_the_decompressed_message() {
    let service = Service::start(&[UNLIMITED]).await;
    let stranger = service.stranger().await;
    for (megabytes, expected) in [(5, "4194304"), (100, "4194304"), (1, "")] {
        let request = Request::post(format!("http://{}{CHECK}", service.address)).header("content-type", "application/grpc");
        let request = request.header("grpc-encoding", "gzip").body(()).unwrap();
        let (answer, mut body) = stranger.send.clone().ready().await.unwrap().send_request(request, false).unwrap();
        body.send_data(bomb(megabytes).into(), true).unwrap();
        let (code, text) = status_of(answer).await;
        assert!(code == if expected.is_empty() { 3 } else { RESOURCE_EXHAUSTED } && text.contains(expected), "{megabytes}: {code} {text}");
    }
}

#[tokio::test]
async fn the_fields_of_a_message_are_limited_except_for_the_cluster() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_MESSAGE_FIELDS", "100")]).await;
    let (stranger, mut gateway) = (service.stranger().await, service.gateway());
    let call = async |elements: usize| {
        let content = [0x0a, 0].repeat(elements);
        let message = [&[0], &u32::try_from(content.len()).unwrap().to_be_bytes()[..], &content].concat();
        let (answer, mut body) = stranger.begin(CHECK, &message).await;
        body.send_data(Bytes::new(), true).unwrap();
        status_of(answer).await
    };
    assert_eq!(call(100).await.0, OK);
    for many in [101, 2_000_000] {
        let (code, text) = call(many).await;
        assert!(code == RESOURCE_EXHAUSTED && text.contains("at%20most%20100%20fields"), "{many}: {code} {text}");
    }
    let checks = vec![PolicyCheck::default(); 200];
    gateway.check(CheckRequest { checks }).await.expect("the cluster has no such limit");
}

/// If messages took their share in parts, they would hold parts and wait for each other.
#[tokio::test]
async fn concurrent_large_messages_all_arrive() {
    const LENGTH: usize = 900_000;
    const ALL: [(&str, &str); 3] = [("BACKLOT_SHARE_CONNECTION", "100"), ("BACKLOT_SHARE_ADDRESS", "100"), ("BACKLOT_SHARE_PERSON", "100")];
    let service = Service::start(&[&ALL[..], &[UNLIMITED, ("BACKLOT_RECEIVING_BYTES", "2000000")]].concat()).await;
    // A string in an unknown field, with a length of three bytes.
    let length = LENGTH - 5;
    let field = [0xfa, 0x7f, (length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8];
    let message = [&[0], &u32::try_from(LENGTH).unwrap().to_be_bytes()[..], &field, &vec![b'a'; length]].concat();
    let sent = (0..8).map(|_| async {
        let stranger = service.stranger().await;
        let (answer, mut body) = stranger.begin(CHECK, &[]).await;
        for part in message.chunks(20_000) {
            body.send_data(Bytes::copy_from_slice(part), false).unwrap();
            tokio::task::yield_now().await;
        }
        body.send_data(Bytes::new(), true).unwrap();
        status_of(answer).await
    });
    for answer in futures::future::join_all(sent).await {
        assert_eq!(answer, (OK, String::new()));
    }
}

/// A call from the cluster does not wait for its share but is refused, because an unread call would block the other calls of its
/// connection.
#[tokio::test]
async fn a_full_share_does_not_block_the_connection_of_the_cluster() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_RECEIVING_BYTES", "3000000"), ("BACKLOT_SHARE_ADDRESS", "100")]).await;
    let stranger = service.stranger().await;
    // Messages of which only the first part has arrived take all bytes.
    let (mut held, part) = (Vec::new(), [&[0], &700_000_u32.to_be_bytes()[..], &[7; 20_000]].concat());
    for _ in 0..4 {
        let stranger = service.stranger().await;
        held.push((stranger.begin(CHECK, &part).await, stranger));
    }
    assert_eq!(stranger.call().await.0, OK);
    let mut gateway = service.gateway();
    let large = CheckRequest { checks: vec![PolicyCheck { policy: "p".repeat(700_000), ..PolicyCheck::default() }] };
    // Refused as soon as the messages above have their share.
    let refused = eventually(LIMIT, || async { gateway.clone().check(large.clone()).await.err() }).await;
    assert_eq!(Fault::from_status(&refused).reason, "OVERLOADED");
    let calls = (0..8).map(|_| (gateway.clone(), large.clone()));
    for refused in futures::future::join_all(calls.map(async |(mut gateway, large)| gateway.check(large).await.map(drop))).await {
        assert_eq!(Fault::from_status(&refused.unwrap_err()).reason, "OVERLOADED");
    }
    gateway.check(CheckRequest::default()).await.expect("other calls are served");
}

/// The code and the text of a reflection stream with this number of messages of this size.
async fn reflect(stranger: &Stranger, messages: usize, bytes: usize, ends: bool) -> (u32, String) {
    let (answer, mut body) = stranger.begin(REFLECTION, &[]).await;
    // A request that lists the services. An unknown name would end the stream with an error.
    let content = [&[0x3a, 0x80 | (bytes & 0x7f) as u8, (bytes >> 7) as u8], &vec![b'*'; bytes][..]].concat();
    let message = [&[0], &u32::try_from(content.len()).unwrap().to_be_bytes()[..], &content].concat();
    for _ in 0..messages {
        body.send_data(Bytes::copy_from_slice(&message), false).unwrap();
    }
    if ends {
        body.send_data(Bytes::new(), true).unwrap();
    }
    status_of(answer).await
}

#[tokio::test]
async fn a_reflection_stream_is_limited() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_REFLECTION_MESSAGES", "20"), ("BACKLOT_BODY_TIMEOUT", "1s")]).await;
    let stranger = service.stranger().await;
    assert_eq!(reflect(&stranger, 20, 1, true).await.0, OK);
    let (code, text) = reflect(&stranger, 21, 1, false).await;
    assert!(code == RESOURCE_EXHAUSTED && text.contains("20%20messages"), "{code} {text}");
    assert_eq!(reflect(&stranger, 1, 4_000, true).await.0, OK);
    let (code, text) = reflect(&stranger, 1, 4_100, false).await;
    assert!(code == RESOURCE_EXHAUSTED && text.contains("4096"), "{code} {text}");
    let (code, text) = reflect(&stranger, 1, 1, false).await;
    assert!(code == DEADLINE_EXCEEDED && text.contains("3%20s"), "{code} {text}");
}

#[tokio::test]
async fn open_reflection_streams_count_as_open_calls() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_DIRECT_CALLS", "16"), ("BACKLOT_SHARE_ADDRESS", "100")]).await;
    let stranger = service.stranger().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(stranger.begin(REFLECTION, &[]).await);
    }
    let refused = stranger.call().await;
    assert!(refused.0 == RESOURCE_EXHAUSTED && refused.1.contains("one%20connection"), "{refused:?}");
    drop(held);
    eventually(LIMIT, || async { (stranger.call().await.0 == OK).then_some(()) }).await;
}

#[tokio::test]
async fn the_size_of_health_requests_is_limited() {
    let service = Service::start(&[]).await;
    let stranger = service.stranger().await;
    for rpc in ["Check", "Watch", "List"] {
        let (answer, _body) = stranger.begin(&format!("/grpc.health.v1.Health/{rpc}"), &[0, 0, 0, 0x10, 1]).await;
        let (code, text) = status_of(answer).await;
        assert!(code == RESOURCE_EXHAUSTED && text.contains("4096"), "{rpc}: {code} {text}");
    }
}

#[tokio::test]
async fn a_connection_and_an_address_have_a_share_of_open_calls() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_DIRECT_CALLS", "16"), ("BACKLOT_SHARE_ADDRESS", "50")]).await;
    let (first, second, third) = (service.stranger().await, service.stranger().await, service.stranger().await);
    let mut held = Vec::new();
    for stranger in [&first, &second] {
        for _ in 0..4 {
            held.push(stranger.begin(CHECK, &[]).await);
        }
    }
    let refused = first.call().await;
    assert!(refused.0 == RESOURCE_EXHAUSTED && refused.1.contains("one%20connection"), "{refused:?}");
    let refused = third.call().await;
    assert!(refused.0 == RESOURCE_EXHAUSTED && refused.1.contains("one%20address"), "{refused:?}");
    service.gateway().check(CheckRequest::default()).await.expect("the cluster has no such limit");
    drop(held);
    eventually(LIMIT, || async { (third.call().await.0 == OK).then_some(()) }).await;
}

#[tokio::test]
async fn the_edge_limit_counts_only_direct_callers() {
    let service = Service::start(&[("BACKLOT_EDGE_PER_SECOND", "1"), ("BACKLOT_EDGE_BURST", "3")]).await;
    let (stranger, mut gateway) = (service.stranger().await, service.gateway());
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(stranger.call().await.0);
        gateway.check(CheckRequest::default()).await.expect("not counted");
    }
    assert_eq!(codes[..3], [OK; 3]);
    assert!(codes[3..].contains(&RESOURCE_EXHAUSTED), "{codes:?}");
}

/// A client with an invalid caller token is not of the cluster.
#[tokio::test]
async fn the_edge_limit_counts_callers_with_an_invalid_caller_token() {
    let service = Service::start(&[("BACKLOT_EDGE_PER_SECOND", "1"), ("BACKLOT_EDGE_BURST", "3")]).await;
    let stranger = service.stranger().await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        let request = Request::post(format!("http://{}{CHECK}", service.address));
        let request = request.header("content-type", "application/grpc").header(CALLER_HEADER, "invented").body(()).unwrap();
        let (answer, _) = stranger.send.clone().ready().await.unwrap().send_request(request, true).unwrap();
        codes.push(status_of(answer).await.0);
    }
    assert_eq!(codes[..3], [UNAUTHENTICATED; 3]);
    assert!(codes[3..].contains(&RESOURCE_EXHAUSTED), "{codes:?}");
}

#[tokio::test]
async fn a_connection_with_too_many_resets_is_closed() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_RESETS", "50")]).await;
    let stranger = service.stranger().await;
    let mut gateway = service.gateway();
    gateway.check(CheckRequest::default()).await.expect("trusted from here on");
    let reset = async {
        while !stranger.driving.is_finished() {
            let Ok(mut send) = stranger.send.clone().ready().await else { break };
            let request = Request::post(format!("http://{}{CHECK}", service.address)).body(()).unwrap();
            let Ok((_, mut body)) = send.send_request(request, false) else { break };
            tokio::task::yield_now().await;
            body.send_reset(h2::Reason::CANCEL);
        }
    };
    tokio::time::timeout(LIMIT, reset).await.expect("closed");
    gateway.check(CheckRequest::default()).await.expect("other connections are served");
}

/// Frames of HTTP/2 that open a stream and reset it.
fn open_and_reset(stream: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // POST, http, and the path as a literal without indexing.
    let path = [&[0x83, 0x86, 0x04, u8::try_from(CHECK.len()).unwrap()], CHECK.as_bytes()].concat();
    [frame(1, 0x4, &path), frame(3, 0, &8_u32.to_be_bytes())].concat()
}

/// Opens streams and resets them, as fast as the service reads, until this number of bytes is written or the connection is closed. Returns the
/// bytes written.
async fn flood_with_resets(socket: &mut TcpStream, bytes: usize) -> usize {
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    let (mut written, mut streams) = (0, (1_u32..).step_by(2));
    while written < bytes {
        let frames: Vec<u8> = streams.by_ref().take(1000).flat_map(open_and_reset).collect();
        if socket.write_all(&frames).await.is_err() {
            break;
        }
        written += frames.len();
    }
    written
}

#[tokio::test]
async fn a_flood_of_resets_is_not_read_to_its_end() {
    // More than the buffers of both sockets.
    const BYTES: usize = 64 * 1024 * 1024;
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_RESETS", "50")]).await;
    let mut socket = TcpStream::connect(service.address).await.unwrap();
    let written = tokio::time::timeout(LIMIT, flood_with_resets(&mut socket, BYTES)).await.expect("closed");
    assert!(written < BYTES, "the service has read all {written} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_resets_causes_few_tasks() {
    const BYTES: usize = 512 * 1024;
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_RESETS", "1000000")]).await;
    let mut socket = TcpStream::connect(service.address).await.unwrap();
    let flood = async {
        assert!(flood_with_resets(&mut socket, BYTES).await >= BYTES, "the connection was closed");
        // A ping is answered after everything before it was read.
        socket.write_all(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00complete").await.unwrap();
        let mut read = Vec::new();
        while !read.windows(8).any(|bytes| bytes == b"complete") {
            assert!(socket.read_buf(&mut read).await.unwrap() > 0, "closed");
        }
    };
    let mut most = 0;
    let mut flood = std::pin::pin!(tokio::time::timeout(LIMIT, flood));
    loop {
        tokio::select! {
            read = &mut flood => break read.expect("everything is read"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                most = most.max(tokio::runtime::Handle::current().metrics().num_alive_tasks());
            }
        }
    }
    // One read has about a hundred calls, and the whole flood more than 6,000.
    assert!((1..1_000).contains(&most), "{most} tasks at once");
}

/// This holds beside another open call, and on a connection of the cluster, which is shared by many clients.
#[tokio::test]
async fn an_unread_stream_is_reset_and_its_connection_stays_open() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_WRITE_TIMEOUT", "200ms")]).await;
    let of_the_cluster = Signer::new(Caller::Gateway, &testing::secret()).sign(Caller::RateLimit, None).unwrap();
    for token in [None, Some(of_the_cluster)] {
        let mut without_window = h2::client::Builder::new();
        without_window.initial_window_size(0);
        let client = service.client(without_window, token).await;
        let _open = client.begin(CHECK, &[]).await;
        for _ in 0..2 {
            let (answer, _body) = client.begin(CHECK, &[0; 5]).await;
            let answer = tokio::time::timeout(LIMIT, answer).await.expect("an answer").unwrap();
            let read = tokio::time::timeout(LIMIT, answer.into_body().data()).await.expect("in time").expect("no end");
            assert!(read.unwrap_err().is_reset());
        }
        assert!(!client.driving.is_finished());
    }
}

#[tokio::test]
async fn a_silent_connection_and_an_idle_one_are_closed() {
    let service = Service::start(&[("BACKLOT_HEADER_TIMEOUT", "100ms"), ("BACKLOT_IDLE_TIMEOUT", "100ms")]).await;
    let mut silent = TcpStream::connect(service.address).await.unwrap();
    let mut bytes = Vec::new();
    _ = tokio::time::timeout(LIMIT, silent.read_to_end(&mut bytes)).await.expect("closed");
    let stranger = service.stranger().await;
    assert_eq!(stranger.call().await.0, OK);
    tokio::time::timeout(LIMIT, stranger.driving).await.expect("closed").unwrap();
}

#[tokio::test]
async fn an_address_with_too_many_connections_does_not_close_those_of_the_cluster() {
    let service = Service::start(&[UNLIMITED, ("BACKLOT_MAX_CONNECTIONS", "8"), ("BACKLOT_HEADER_TIMEOUT", "1h")]).await;
    let mut gateway = service.gateway();
    gateway.check(CheckRequest::default()).await.expect("connected");
    let mut first = TcpStream::connect(service.address).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..30 {
        held.push(TcpStream::connect(service.address).await.unwrap());
    }
    let mut bytes = Vec::new();
    _ = tokio::time::timeout(LIMIT, first.read_to_end(&mut bytes)).await.expect("replaced by a newer connection");
    gateway.check(CheckRequest::default()).await.expect("the connection is still open");
    // Before its token was verified, a new connection may be replaced by one of those above that is accepted later.
    eventually(LIMIT, || async { service.gateway().check(CheckRequest::default()).await.ok() }).await;
}
