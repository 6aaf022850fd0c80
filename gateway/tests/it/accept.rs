use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{WAIT_LIMIT, let_time_pass, read_to_end, start, until};

const QUICK: (&str, &str) = ("BACKLOT_HEADER_TIMEOUT", "300ms");
const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const UNLIMITED: (&str, &str) = ("BACKLOT_EDGE_PER_SECOND", "0");

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let gateway = start(&[QUICK]).await;
    let began = Instant::now();
    assert_eq!(read_to_end(&mut gateway.connect().await).await, "");
    assert!(began.elapsed() >= Duration::from_millis(250) && began.elapsed() < WAIT_LIMIT);
}

#[tokio::test]
async fn a_connection_with_an_endless_head_is_closed() {
    let gateway = start(&[QUICK]).await;
    for start_of_head in ["GET / HT", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: ", "PRI * HTTP/2.0\r\n"] {
        let mut stream = gateway.connect().await;
        stream.write_all(start_of_head.as_bytes()).await.unwrap();
        assert!(!read_to_end(&mut stream).await.contains("200 OK"), "{start_of_head}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let gateway = start(&[("BACKLOT_IDLE_TIMEOUT", "300ms")]).await;
    let mut stream = gateway.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("connection: close"), "{answer}");
}

/// Sends a request and asserts that the answer is 200.
async fn request_ok(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).await.unwrap();
    let mut bytes = [0; 2048];
    let n = tokio::time::timeout(WAIT_LIMIT, stream.read(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes[..n].starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&bytes[..n]));
}

#[tokio::test]
async fn the_header_timeout_does_not_apply_between_requests() {
    let gateway = start(&[("BACKLOT_HEADER_TIMEOUT", "300ms"), ("BACKLOT_IDLE_TIMEOUT", "2s")]).await;
    let mut stream = gateway.connect().await;
    let began = Instant::now();
    request_ok(&mut stream, HEALTHZ).await;
    // The connection is closed without another byte.
    assert_eq!(read_to_end(&mut stream).await, "");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_header_timeout_applies_to_every_request() {
    let gateway = start(&[("BACKLOT_HEADER_TIMEOUT", "1s"), ("BACKLOT_IDLE_TIMEOUT", "1h")]).await;
    for begin in ["G", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: "] {
        let mut stream = gateway.connect().await;
        for _ in 0..2 {
            request_ok(&mut stream, HEALTHZ).await;
        }
        stream.write_all(begin.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, "", "{begin}");
    }
}

#[tokio::test]
async fn the_header_timeout_applies_neither_to_pieces_of_a_head_nor_to_a_body() {
    let gateway = start(&[("BACKLOT_HEADER_TIMEOUT", "1s"), ("BACKLOT_IDLE_TIMEOUT", "1h"), ("BACKLOT_BODY_TIMEOUT", "1h")]).await;
    let mut stream = gateway.connect().await;
    for _ in 0..2 {
        let (begin, end) = HEALTHZ.split_at(20);
        stream.write_all(begin).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
        request_ok(&mut stream, end).await;
    }
    stream.write_all(b"POST /api/auth/signin HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8\r\n\r\n").await.unwrap();
    // The body takes longer than the header timeout.
    for _ in 0..4 {
        let_time_pass(Duration::from_millis(500)).await;
        stream.write_all(b"{}").await.unwrap();
    }
    let mut bytes = [0; 2048];
    let n = tokio::time::timeout(WAIT_LIMIT, stream.read(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes[..n].starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&bytes[..n]));
}

#[tokio::test]
async fn a_connection_with_an_unread_answer_is_not_idle() {
    let gateway = start(&[("BACKLOT_IDLE_TIMEOUT", "200ms"), UNLIMITED]).await;
    let mut stream = gateway.connect().await;
    // The answers are larger than the buffers of both sockets.
    let requests = 200;
    stream.write_all("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(requests).as_bytes()).await.unwrap();
    // Longer than the idle timeout.
    let_time_pass(Duration::from_millis(800)).await;
    assert_eq!(read_to_end(&mut stream).await.matches("HTTP/1.1 200 OK").count(), requests);
}

#[tokio::test]
async fn a_connection_that_does_not_read_is_closed() {
    let gateway = start(&[("BACKLOT_WRITE_TIMEOUT", "300ms"), UNLIMITED]).await;
    let mut stream = gateway.connect().await;
    stream.write_all("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000).as_bytes()).await.unwrap();
    // Writes succeed until the gateway has closed the connection.
    let closed = |error: std::io::Error| error.kind() != std::io::ErrorKind::WouldBlock;
    until(|| stream.try_write(b"\r\n").is_err_and(closed)).await;
    assert!(read_to_end(&mut stream).await.matches("HTTP/1.1 200 OK").count() < 1000);
}

#[tokio::test]
async fn a_connection_whose_client_closes_its_windows_is_closed() {
    const CLOSED_WINDOWS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    // GET http://x/openapi.json in HPACK, with the flags END_HEADERS and END_STREAM.
    const HEADERS: &[u8] = b"\0\0\x14\x01\x05\0\0\0\x01\x82\x86\x41\x01x\x44\x0d/openapi.json";
    const RESET: &str = "\0\0\x04\x03\0\0\0\0\x01";
    let gateway = start(&[("BACKLOT_WRITE_TIMEOUT", "200ms"), ("BACKLOT_IDLE_TIMEOUT", "200ms"), ("BACKLOT_HOSTS", "x")]).await;
    let mut stream = gateway.connect().await;
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CLOSED_WINDOWS, HEADERS].concat()).await.unwrap();
    // After the reset of its stream the connection is idle, so it is closed.
    assert!(read_to_end(&mut stream).await.contains(RESET));
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let gateway = start(&[]).await;
    let mut stream = gateway.connect().await;
    for _ in 0..3 {
        request_ok(&mut stream, HEALTHZ).await;
    }
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let gateway = start(&[("BACKLOT_MAX_CONNECTIONS", "1"), QUICK]).await;
    let _holder = gateway.connect().await;
    let mut waiting = gateway.connect().await;
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut waiting).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn http2_is_served() {
    let gateway = start(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client.get(gateway.url("/healthz")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

#[tokio::test]
async fn the_gateway_stops_while_idle_connections_are_open() {
    let mut gateway = start(&[]).await;
    let client = reqwest::Client::new();
    client.get(gateway.url("/healthz")).send().await.unwrap();
    let _silent = gateway.connect().await;
    gateway.stop.cancel();
    tokio::time::timeout(WAIT_LIMIT, &mut gateway.done).await.expect("ended").unwrap();
}
