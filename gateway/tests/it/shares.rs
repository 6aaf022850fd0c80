//! The shares of one client. Without these limits each of the tests would block other clients.

use std::time::Duration;

use chassis::testing::{Issuer, eventually};
use proto::{auth::Plan, id::UserId};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::harness::{Gateway, WAIT_LIMIT, let_time_pass, read_to_end, start, until};

const UNLIMITED: (&str, &str) = ("BACKLOT_EDGE_PER_SECOND", "0");

/// A request from this address whose body does not arrive.
async fn unfinished(gateway: &Gateway, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(gateway.main).await.unwrap();
    let head = "POST /api/auth/signin HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn reason(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    (status, problem["reason"].as_str().unwrap_or_default().to_owned())
}

async fn sign_in(gateway: &Gateway) -> (u16, String) {
    let request = Client::new().post(gateway.url("/api/auth/signin")).header("content-type", "application/json").body("{}");
    reason(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_request_whose_body_does_not_arrive_takes_no_working_slot() {
    let gateway = start(&[UNLIMITED, ("BACKLOT_MAX_REQUESTS", "1")]).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(unfinished(&gateway, [127, 0, 0, 1]).await);
    }
    // auth cannot be reached, which only a request with a working slot reports.
    assert_eq!(sign_in(&gateway).await, (503, "UNAVAILABLE".to_owned()));
}

#[tokio::test]
async fn an_address_has_a_share_of_waiting_requests() {
    let gateway = start(&[UNLIMITED, ("BACKLOT_MAX_WAITING", "8"), ("BACKLOT_SHARE_CONNECTION", "100")]).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(unfinished(&gateway, [127, 0, 0, 2]).await);
    }
    // A few of them wait; the others are refused.
    let mut refused = String::new();
    let mut last = held.pop().unwrap();
    last.shutdown().await.unwrap();
    last.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("SHARE_EXHAUSTED"), "{refused}");
    assert_eq!(sign_in(&gateway).await, (503, "UNAVAILABLE".to_owned()), "another address");
    let mut others = Vec::new();
    for at in 3..9 {
        others.push(unfinished(&gateway, [127, 0, 0, at]).await);
    }
    eventually(WAIT_LIMIT, || async { (sign_in(&gateway).await == (503, "OVERLOADED".to_owned())).then_some(()) }).await;
    for path in ["/healthz", "/readyz"] {
        let answer = reqwest::get(gateway.url(path)).await.unwrap();
        assert!(answer.text().await.unwrap().contains(if path == "/healthz" { "ok" } else { "\"ready\":false" }), "{path}");
    }
    drop((held, others));
    eventually(WAIT_LIMIT, || async { (sign_in(&gateway).await == (503, "UNAVAILABLE".to_owned())).then_some(()) }).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_refused_in_time() {
    let gateway = start(&[("BACKLOT_BODY_TIMEOUT", "200ms")]).await;
    let answer = read_to_end(&mut unfinished(&gateway, [127, 0, 0, 1]).await).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BODY_TIMEOUT"), "{answer}");
}

/// Without an order each body would hold a part of the bytes and wait for bytes that the others hold.
#[tokio::test]
async fn large_bodies_at_the_same_time_all_arrive() {
    const ALL: [(&str, &str); 3] = [("BACKLOT_SHARE_CONNECTION", "100"), ("BACKLOT_SHARE_ADDRESS", "100"), ("BACKLOT_SHARE_PERSON", "100")];
    let gateway = start(&[&ALL[..], &[UNLIMITED, ("BACKLOT_RECEIVING_BYTES", "2000000")]].concat()).await;
    let body = format!("{{\"email\":\"a@example.com\",\"password\":\"{}\"}}", "p".repeat(900_000));
    let sent = (0..8).map(|at| {
        // Every second one is sent without its length.
        let framing = if at % 2 == 0 { format!("content-length: {}", body.len()) } else { "transfer-encoding: chunked".to_owned() };
        let (gateway, body) = (&gateway, &body);
        async move {
            let mut stream = gateway.connect().await;
            let head = format!("POST /api/auth/signin HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{framing}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            for part in body.as_bytes().chunks(20_000) {
                let part = if at % 2 == 0 { part.to_vec() } else { [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat() };
                stream.write_all(&part).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.write_all(if at % 2 == 0 { b"" } else { b"0\r\n\r\n" }).await.unwrap();
            let mut answer = [0; 1024];
            let length = tokio::time::timeout(WAIT_LIMIT * 6, stream.read(&mut answer)).await.expect("an answer").unwrap();
            String::from_utf8_lossy(&answer[..length]).into_owned()
        }
    });
    for answer in futures::future::join_all(sent).await {
        // auth cannot be reached, which only a request with a working slot reports.
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("UNAVAILABLE"), "{answer}");
    }
}

#[tokio::test]
async fn the_size_of_a_save_is_limited_by_the_plan() {
    let issuer = Issuer::start().await;
    let gateway = start(&[("BACKLOT_AUTH_URL", &issuer.uri.to_string())]).await;
    for (plan, length, outcome) in [
        (Plan::Free, 64 * 1024 * 1024, "TOO_LARGE"),
        (Plan::Pro, 64 * 1024 * 1024, "TOO_LARGE"),
        (Plan::Team, 64 * 1024 * 1024, ""),
        (Plan::Team, 80 * 1024 * 1024, "TOO_LARGE"),
        (Plan::Free, 30 * 1024 * 1024, ""),
    ] {
        let token = issuer.token(UserId::generate(), plan);
        let mut stream = gateway.connect().await;
        let head = format!(
            "POST /api/projects/save HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = [0; 2048];
        let n = tokio::time::timeout(WAIT_LIMIT, stream.read(&mut bytes)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&bytes[..n]);
        // The gateway does not request a body that it refuses for its length.
        let requested = answer.starts_with("HTTP/1.1 100");
        assert_eq!(requested, outcome.is_empty() || answer.contains("100 Continue"), "{plan:?} {length}: {answer}");
        if !outcome.is_empty() {
            stream.shutdown().await.unwrap();
            let rest = format!("{answer}{}", read_to_end(&mut stream).await);
            assert!(rest.contains(outcome), "{plan:?} {length}: {rest}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_reads_too_slowly_is_closed() {
    let gateway = start(&[("BACKLOT_WRITE_TIMEOUT", "1s"), ("BACKLOT_READ_PACE", "100000000"), UNLIMITED]).await;
    let mut stream = gateway.connect().await;
    stream.write_all("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000).as_bytes()).await.unwrap();
    // It reads a little now and then, more often than the write timeout.
    let mut piece = [0; 1024];
    let closed = async {
        while stream.read(&mut piece).await.is_ok_and(|n| n > 0) {
            let_time_pass(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT_LIMIT * 6, closed).await.expect("closed");
}

#[tokio::test]
async fn unread_answers_are_limited() {
    let gateway = start(&[UNLIMITED, ("BACKLOT_UNSENT_BYTES", "12000000")]).await;
    let stream = gateway.connect().await;
    let (send, connection) = h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let _driving = chassis::task::spawn(connection);
    let mut held = Vec::new();
    for _ in 0..40 {
        let request = axum::http::Request::get(format!("http://localhost:{}/openapi.json", gateway.main.port())).body(()).unwrap();
        let answer = send.clone().ready().await.unwrap().send_request(request, true).unwrap().0;
        held.push(tokio::time::timeout(WAIT_LIMIT, answer).await.expect("an answer").unwrap());
    }
    let of = |status: u16| held.iter().filter(|answer| answer.status() == status).count();
    assert!(of(200) > 0 && of(429) > 0 && of(200) + of(429) == 40, "{} {}", of(200), of(429));
    // Another client has its own share.
    let answer = reqwest::get(gateway.url("/openapi.json")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap().len() > 10_000);
}

#[tokio::test]
async fn an_address_loses_its_oldest_connection() {
    let gateway = start(&[UNLIMITED, ("BACKLOT_MAX_CONNECTIONS", "8"), ("BACKLOT_HEADER_TIMEOUT", "1h")]).await;
    let mut first = gateway.connect().await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(gateway.connect().await);
    }
    read_to_end(&mut first).await;
    until(|| held[0].try_write(b"x").is_err()).await;
    // The newest connection still works.
    let newest = held.last_mut().unwrap();
    newest.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(newest).await.starts_with("HTTP/1.1 200 OK"));
}
