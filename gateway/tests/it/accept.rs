use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{PATIENCE, read_to_end, start};

const QUICK: (&str, &str) = ("BACKLOT_HEADER_TIMEOUT", "300ms");

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let gateway = start(&[QUICK]).await;
    let began = Instant::now();
    assert_eq!(read_to_end(&mut gateway.connect().await).await, "");
    assert!(began.elapsed() >= Duration::from_millis(250) && began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let gateway = start(&[QUICK]).await;
    for begin in ["GET / HT", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: ", "PRI * HTTP/2.0\r\n"] {
        let mut stream = gateway.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        assert!(!read_to_end(&mut stream).await.contains("200 OK"), "{begin}");
    }
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_a_while() {
    let gateway = start(&[("BACKLOT_IDLE_TIMEOUT", "300ms")]).await;
    let mut stream = gateway.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn one_connection_carries_several_requests() {
    let gateway = start(&[]).await;
    let mut stream = gateway.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut bytes = [0; 2048];
        let n = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(bytes[..n].starts_with(b"HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn a_full_house_waits_and_goes_on() {
    let gateway = start(&[("BACKLOT_MAX_CONNECTIONS", "1"), QUICK]).await;
    let _holder = gateway.connect().await;
    let mut waiting = gateway.connect().await;
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut waiting).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn http2_is_spoken_too() {
    let gateway = start(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client.get(gateway.url("/healthz")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

#[tokio::test]
async fn the_gateway_ends_with_idle_connections_open() {
    let mut gateway = start(&[]).await;
    let client = reqwest::Client::new();
    client.get(gateway.url("/healthz")).send().await.unwrap();
    let _silent = gateway.connect().await;
    gateway.stop.cancel();
    tokio::time::timeout(PATIENCE, &mut gateway.done).await.expect("ended").unwrap();
}
