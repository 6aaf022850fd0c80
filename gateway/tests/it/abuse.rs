//! Event streams of abusive clients: many streams that are not read, and many that are opened in succession.

use axum::http::Request;
use bytes::Bytes;
use h2::client::SendRequest;
use reqwest::Client;
use serde_json::{Value, json};

use crate::{
    harness::until,
    script::{LAST, Step, TURN},
    stream::{Setup, body, setup},
};

/// Viewers that each leave three large events unread: together more than the flow-control window of a channel.
const VIEWERS: usize = 64;

/// A connection whose client keeps all flow-control windows closed.
async fn connect_with_closed_windows(setup: &Setup) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (send, connection) = builder.handshake(setup.gateway.connect().await).await.unwrap();
    chassis::task::spawn(async move { _ = connection.await });
    send
}

#[tokio::test]
async fn clients_that_do_not_read_do_not_delay_others() {
    let streams = (0..VIEWERS).map(|_| vec![Step::Flood]).chain([vec![Step::Events(1..=LAST)]]).collect();
    let settings = [("BACKLOT_STREAM_OPENINGS", "1000"), ("BACKLOT_EDGE_PER_SECOND", "0"), ("BACKLOT_MAX_STREAMS_PER_USER", "100")];
    let setup = setup(streams, &settings).await;
    let send = connect_with_closed_windows(&setup).await;
    let mut held = Vec::new();
    for _ in 0..VIEWERS {
        let request = Request::get(setup.gateway.url(&format!("/api/turns/{TURN}/events")));
        let request = request.header("authorization", format!("Bearer {}", setup.token)).body(()).unwrap();
        held.push(send.clone().ready().await.unwrap().send_request(request, true).unwrap());
    }
    until(|| setup.script.open() == VIEWERS && setup.script.floods() >= 3 * VIEWERS).await;
    for _ in 0..20 {
        let turn = Client::new().get(setup.gateway.url(&format!("/api/turns/{TURN}"))).bearer_auth(&setup.token);
        assert_eq!(turn.send().await.unwrap().status(), 200);
    }
    let (text, clean) = body(setup.events("").send().await.unwrap()).await;
    assert!(clean && text.contains(&format!("id: {LAST}\n")), "{text}");
    assert_eq!(setup.script.open(), VIEWERS, "the unread streams are still open");
}

#[tokio::test]
async fn a_client_that_opens_streams_too_often_is_refused() {
    let streams = (0..10).map(|_| vec![Step::Events(1..=LAST)]).collect();
    let setup = setup(streams, &[("BACKLOT_STREAM_OPENINGS", "3")]).await;
    for _ in 0..3 {
        assert!(body(setup.events("").send().await.unwrap()).await.1);
    }
    let refused = loop {
        // On a slow machine the limit allows another one in the meantime.
        let answer = setup.events("").send().await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
    };
    assert!(refused.headers().contains_key("retry-after"));
    let (status, problem) = (refused.status().as_u16(), refused.json::<Value>().await.unwrap());
    assert_eq!((status, &problem["reason"], &problem["violated-policies"]), (429, &json!("RATE_LIMITED"), &json!(["openings"])));
    assert_eq!((&problem["metadata"]["limit"], &problem["metadata"]["window"]), (&json!("3"), &json!("10")), "{problem}");
}
