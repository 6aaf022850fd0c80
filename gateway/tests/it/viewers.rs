//! Viewers that hurt: many that do not read, and one that comes again and again.

use axum::http::Request;
use bytes::Bytes;
use h2::client::SendRequest;
use reqwest::Client;
use serde_json::{Value, json};

use crate::{
    harness::until,
    script::{LAST, Step, TURN},
    stream::{House, body, house},
};

/// More than a channel's window for calls holds, when each of them leaves three large events unread.
const VIEWERS: usize = 64;

/// A connection whose client keeps every window shut.
async fn shut(house: &House) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (send, connection) = builder.handshake(house.gateway.connect().await).await.unwrap();
    chassis::task::spawn(async move { _ = connection.await });
    send
}

#[tokio::test]
async fn viewers_that_do_not_read_take_nothing_from_others() {
    let acts = (0..VIEWERS).map(|_| vec![Step::Flood]).chain([vec![Step::Events(1..=LAST)]]).collect();
    let settings = [("BACKLOT_STREAM_OPENINGS", "1000"), ("BACKLOT_EDGE_PER_SECOND", "0"), ("BACKLOT_MAX_STREAMS_PER_USER", "100")];
    let house = house(acts, &settings).await;
    let send = shut(&house).await;
    let mut held = Vec::new();
    for _ in 0..VIEWERS {
        let request = Request::get(house.gateway.url(&format!("/api/turns/{TURN}/events")));
        let request = request.header("authorization", format!("Bearer {}", house.token)).body(()).unwrap();
        held.push(send.clone().ready().await.unwrap().send_request(request, true).unwrap());
    }
    until(|| house.stage.open() == VIEWERS && house.stage.floods() >= 3 * VIEWERS).await;
    for _ in 0..20 {
        let turn = Client::new().get(house.gateway.url(&format!("/api/turns/{TURN}"))).bearer_auth(&house.token);
        assert_eq!(turn.send().await.unwrap().status(), 200);
    }
    let (text, clean) = body(house.events("").send().await.unwrap()).await;
    assert!(clean && text.contains(&format!("id: {LAST}\n")), "{text}");
    assert_eq!(house.stage.open(), VIEWERS, "they are still there");
}

#[tokio::test]
async fn a_viewer_that_comes_again_and_again_is_refused() {
    let acts = (0..10).map(|_| vec![Step::Events(1..=LAST)]).collect();
    let house = house(acts, &[("BACKLOT_STREAM_OPENINGS", "3")]).await;
    for _ in 0..3 {
        assert!(body(house.events("").send().await.unwrap()).await.1);
    }
    let refused = loop {
        // A slow machine is allowed another one in the meantime.
        let answer = house.events("").send().await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
    };
    assert!(refused.headers().contains_key("retry-after"));
    let (status, problem) = (refused.status().as_u16(), refused.json::<Value>().await.unwrap());
    assert_eq!((status, &problem["reason"], &problem["violated-policies"]), (429, &json!("RATE_LIMITED"), &json!(["openings"])));
    assert_eq!((&problem["metadata"]["limit"], &problem["metadata"]["window"]), (&json!("3"), &json!("10")), "{problem}");
}
