//! Abusive bodies: large ones that stall, and ones of very many values.

use chassis::testing::Issuer;
use proto::{auth::Plan, id::UserId};
use reqwest::Client;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{Gateway, WAIT_LIMIT, start};

const SAVE: &str = "/api/projects/save";

/// A gateway and a token that it accepts. project-storage cannot be reached, so a save that passes the gateway is answered with 503.
async fn with_token() -> (Gateway, String) {
    let issuer = Issuer::start().await;
    let token = issuer.token(UserId::generate(), Plan::Free);
    (start(&[("BACKLOT_AUTH_URL", &issuer.uri.to_string())]).await, token)
}

async fn save(gateway: &Gateway, token: &str, body: String) -> Value {
    let request = Client::new().post(gateway.url(SAVE)).bearer_auth(token).header("content-type", "application/json").body(body);
    request.send().await.expect("an answer").json().await.expect("a problem")
}

/// A save whose body the gateway has requested, and of which nothing arrives.
async fn stalled(gateway: &Gateway, token: &str, length: &str) -> TcpStream {
    let mut stream = gateway.connect().await;
    let head = format!(
        "POST {SAVE} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{length}\r\n"
    );
    stream.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
    let mut interim = [0; 12];
    timeout(WAIT_LIMIT, stream.read_exact(&mut interim)).await.expect("in time").expect("an answer");
    assert_eq!(&interim, b"HTTP/1.1 100");
    stream
}

#[tokio::test]
async fn stalled_saves_do_not_delay_others() {
    let (gateway, token) = with_token().await;
    let mut stalls = Vec::new();
    for length in ["content-length: 75000000", "transfer-encoding: chunked"] {
        for _ in 0..8 {
            stalls.push(stalled(&gateway, &token, length).await);
        }
    }
    assert_eq!(save(&gateway, &token, "{}".into()).await["reason"], "UNAVAILABLE");
}

#[tokio::test]
async fn a_body_of_too_many_values_is_refused() {
    let (gateway, token) = with_token().await;
    let problem = save(&gateway, &token, format!("{{\"changes\":[{}]}}", vec!["{}"; 200_000].join(","))).await;
    assert_eq!((&problem["status"], &problem["reason"]), (&413.into(), &"TOO_LARGE".into()), "{problem}");
    let text = "{},".repeat(10_000);
    let allowed = vec![format!("{{\"path\":\"a\",\"write\":{{\"text\":\"{text}\"}}}}"); 200].join(",");
    assert_eq!(save(&gateway, &token, format!("{{\"changes\":[{allowed}]}}")).await["reason"], "UNAVAILABLE");
}
