use std::sync::Arc;

use chassis::testing::Issuer;
use proto::{auth::Plan, id::UserId};
use reqwest::{Client, RequestBuilder, Response};
use tokio::io::AsyncWriteExt;
use tonic::Code;

use crate::{
    harness::{Gateway, WAIT_LIMIT, start, until},
    script::{LAST, Script, Step, TURN, event, play},
};

pub(crate) const OPENING: &str = ": ok\nretry: 2000\n";

pub(crate) struct Setup {
    pub(crate) gateway: Gateway,
    pub(crate) script: Arc<Script>,
    pub(crate) token: String,
}

pub(crate) async fn setup(streams: Vec<Vec<Step>>, settings: &[(&str, &str)]) -> Setup {
    let (script, url) = play(streams).await;
    let issuer = Issuer::start().await;
    let token = issuer.token(UserId::generate(), Plan::Free);
    let auth = issuer.uri.to_string();
    let mut all = vec![("BACKLOT_AUTH_URL", auth.as_str()), ("BACKLOT_AGENT_STREAMING_URL", url.as_str())];
    all.extend_from_slice(settings);
    Setup { gateway: start(&all).await, script, token }
}

impl Setup {
    pub(crate) fn events(&self, query: &str) -> RequestBuilder {
        Client::new().get(self.gateway.url(&format!("/api/turns/{TURN}/events{query}"))).bearer_auth(&self.token)
    }

    fn start_turn(&self, body: &'static str) -> RequestBuilder {
        let request = Client::new().post(self.gateway.url("/api/agent/stream")).bearer_auth(&self.token);
        request.header("content-type", "application/json").body(body)
    }
}

/// The body, and whether it ended cleanly.
pub(crate) async fn body(mut response: Response) -> (String, bool) {
    let mut text = String::new();
    loop {
        match tokio::time::timeout(WAIT_LIMIT, response.chunk()).await.expect("more of the stream") {
            Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => return (with_fixed_retry(&text), true),
            Err(_) => return (with_fixed_retry(&text), false),
        }
    }
}

/// Replaces the time to reconnect, which differs between streams.
fn with_fixed_retry(text: &str) -> String {
    let Some((before, rest)) = text.split_once("retry: ") else { return text.to_owned() };
    let (ms, rest) = rest.split_once('\n').unwrap();
    assert!((1_000..=4_000).contains(&ms.parse::<u64>().unwrap()), "{ms}");
    format!("{before}retry: 2000\n{rest}")
}

/// Reads until the text contains `part`.
pub(crate) async fn read_until(response: &mut Response, part: &str) -> String {
    let mut text = String::new();
    while !text.contains(part) {
        let chunk =
            tokio::time::timeout(WAIT_LIMIT, response.chunk()).await.expect("more of the stream").expect("no error").expect("no end");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

fn frames(seqs: impl IntoIterator<Item = u32>) -> String {
    seqs.into_iter().map(|seq| format!("id: {seq}\ndata: {}\n\n", event(seq).to_json().unwrap())).collect()
}

#[tokio::test]
async fn a_stream_has_its_headers_its_events_and_a_clean_end() {
    let setup = setup(vec![vec![Step::Events(1..=4), Step::Events(5..=LAST)]], &[]).await;
    let response = setup.events("").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(!headers.contains_key("content-length") && !headers.contains_key("connection"));
    assert_eq!(body(response).await, (format!("{OPENING}{}", frames(1..=LAST)), true));
}

#[tokio::test]
async fn a_broken_connection_to_agent_streaming_is_hidden_from_the_client() {
    let streams = vec![
        vec![Step::Events(1..=3), Step::Fail(Code::Unavailable)],
        vec![Step::Fail(Code::Unavailable)],
        // It repeats two events, and then omits one.
        vec![Step::Events(2..=5), Step::Events(7..=8)],
        // It ends cleanly although the turn still runs.
        vec![Step::Events(6..=7)],
        vec![Step::Events(8..=LAST)],
    ];
    let setup = setup(streams, &[]).await;
    let response = setup.events("").send().await.unwrap();
    assert_eq!(body(response).await, (format!("{OPENING}{}", frames(1..=LAST)), true));
    assert_eq!(setup.script.cursors(), [0, 3, 3, 5, 7]);
}

#[tokio::test]
async fn the_cursor_comes_from_the_header_or_the_query() {
    let setup = setup(vec![vec![Step::Events(8..=LAST)], vec![Step::Events(5..=LAST)]], &[]).await;
    let response = setup.events("?after=3").header("last-event-id", "7").send().await.unwrap();
    assert_eq!(body(response).await.0, format!("{OPENING}{}", frames(8..=LAST)));
    assert_eq!(body(setup.events("?after=4").send().await.unwrap()).await.0, format!("{OPENING}{}", frames(5..=LAST)));
    assert_eq!(setup.script.cursors(), [7, 4]);
    for (query, header) in [("?after=x", None), ("?after=-1", None), ("", Some("x"))] {
        let request = header.into_iter().fold(setup.events(query), |request, id| request.header("last-event-id", id));
        assert_eq!(request.send().await.unwrap().status(), 400, "{query}{header:?}");
    }
}

#[tokio::test]
async fn an_early_failure_is_a_problem_document() {
    // If a replica is stopping, the gateway tries others; here all of them are.
    let draining = (0..4).map(|_| vec![Step::Fail(Code::Unavailable)]);
    let setup = setup([vec![Step::Fail(Code::NotFound)]].into_iter().chain(draining).collect(), &[]).await;
    let refused = setup.events("").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["content-type"].to_str().unwrap()), (404, "application/problem+json"));
    assert_eq!(setup.events("").send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_client_that_has_the_last_event_gets_204() {
    let ahead = || vec![Step::Fail(Code::InvalidArgument)];
    let setup = setup(vec![vec![], ahead(), ahead()], &[]).await;
    assert_eq!(setup.events("?after=10").send().await.unwrap().status(), 204);
    assert_eq!(setup.events("?after=11").send().await.unwrap().status(), 400, "the turn still runs");
    setup.script.end_at(LAST);
    assert_eq!(setup.events("?after=11").send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn an_open_stream_without_a_terminal_event_ends_cleanly_if_the_turn_has_ended() {
    // The stream ends without a terminal event, because the turn had ended before.
    let setup = setup(vec![vec![Step::Events(1..=3)], vec![]], &[]).await;
    setup.script.end_at(3);
    let response = setup.events("").send().await.unwrap();
    assert_eq!(body(response).await, (format!("{OPENING}{}", frames(1..=3)), true));
}

#[tokio::test]
async fn a_quiet_stream_sends_heartbeats() {
    let setup = setup(vec![vec![Step::Hang]], &[("BACKLOT_HEARTBEAT", "50ms")]).await;
    let mut response = setup.events("").send().await.unwrap();
    let text = read_until(&mut response, ": ping\n: ping\n").await;
    assert!(text.starts_with(": ok\nretry: ") && !text.contains("\n\n"), "{text}");
}

#[tokio::test]
async fn a_refusal_in_the_middle_breaks_the_stream() {
    for code in [Code::NotFound, Code::ResourceExhausted, Code::PermissionDenied] {
        let setup = setup(vec![vec![Step::Events(1..=3), Step::Fail(code)]], &[]).await;
        let response = setup.events("").send().await.unwrap();
        assert_eq!(body(response).await, (format!("{OPENING}{}", frames(1..=3)), false), "{code}");
        assert_eq!(setup.script.cursors(), [0]);
    }
}

#[tokio::test]
async fn a_drain_breaks_the_stream_after_its_last_event() {
    let mut setup = setup(vec![vec![Step::Events(1..=3), Step::Hang]], &[]).await;
    let mut response = setup.events("").send().await.unwrap();
    read_until(&mut response, "id: 3\n").await;
    setup.gateway.stop.cancel();
    let (rest, clean) = body(response).await;
    assert!(
        !clean && !rest.contains("retry") && (rest.is_empty() || rest.ends_with("\n\n")),
        "the time to reconnect is sent only at the start: {rest}"
    );
    tokio::time::timeout(WAIT_LIMIT, &mut setup.gateway.done).await.expect("the gateway ends").unwrap();
}

#[tokio::test]
async fn http2_resets_only_the_stream_that_broke() {
    let setup = setup(vec![vec![Step::Events(1..=3), Step::Fail(Code::NotFound)]], &[]).await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let url = setup.gateway.url(&format!("/api/turns/{TURN}/events"));
    let response = client.get(url).bearer_auth(&setup.token).send().await.unwrap();
    assert_eq!(body(response).await, (format!("{OPENING}{}", frames(1..=3)), false));
    assert_eq!(client.get(setup.gateway.url("/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_closed_stream_is_closed_at_agent_streaming() {
    let setup = setup(vec![vec![Step::Events(1..=3), Step::Hang]], &[]).await;
    let mut response = setup.events("").send().await.unwrap();
    read_until(&mut response, "id: 3\n").await;
    assert_eq!(setup.script.open(), 1);
    drop(response);
    until(|| setup.script.open() == 0).await;
}

#[tokio::test]
async fn open_streams_are_limited_per_person() {
    let setup =
        setup(vec![vec![Step::Events(1..=1), Step::Hang], vec![Step::Events(1..=LAST)]], &[("BACKLOT_MAX_STREAMS_PER_USER", "1")]).await;
    let mut first = setup.events("").send().await.unwrap();
    read_until(&mut first, "id: 1\n").await;
    let refused = setup.start_turn(r#"{"projectId":"p","prompt":"x"}"#).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), setup.script.starts().len()), (429, 0));
    assert!(refused.headers().contains_key("retry-after"));
    drop(first);
    let events = || setup.events("").send();
    let answer = chassis::testing::eventually(WAIT_LIMIT, || async { events().await.ok().filter(|r| r.status() == 200) }).await;
    assert!(body(answer).await.1);
}

#[tokio::test]
async fn programs_can_request_json_lines() {
    let setup = setup(vec![vec![Step::Events(1..=LAST)]], &[]).await;
    let response = setup.events("").header("accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let lines: String = (1..=LAST).map(|seq| event(seq).to_json().unwrap() + "\n").collect();
    assert_eq!(body(response).await, (lines, true));
}

#[tokio::test]
async fn a_turn_is_started_and_followed_in_one_answer() {
    let setup = setup(vec![vec![Step::Events(1..=LAST)]], &[]).await;
    let request = setup.start_turn(r#"{"projectId":"p","prompt":"x"}"#).header("idempotency-key", "\"k1\"");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-backlot-turn-id"], TURN);
    assert_eq!(response.headers()["location"], format!("/api/turns/{TURN}"));
    assert_eq!(body(response).await, (format!("{OPENING}{}", frames(1..=LAST)), true));
    assert_eq!(setup.script.starts()[0].idempotency_key, "k1");
}

#[tokio::test]
async fn a_started_turn_is_named_even_if_its_stream_cannot_open() {
    let setup = setup(vec![vec![Step::Fail(Code::Unavailable)], vec![Step::Events(1..=LAST)]], &[]).await;
    let response = setup.start_turn(r#"{"draftId":"d","prompt":"x"}"#).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-backlot-turn-id"]), (200, &TURN.parse().unwrap()));
    assert_eq!(body(response).await, (format!("{OPENING}{}", frames(1..=LAST)), true));
}

#[tokio::test]
async fn a_prompt_above_the_body_limit_starts_no_turn() {
    let setup = setup(vec![], &[]).await;
    let body: String = format!(r#"{{"projectId":"p","prompt":"{}"}}"#, "x".repeat(300_000));
    let request = Client::new().post(setup.gateway.url("/api/turns")).bearer_auth(&setup.token).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.unwrap().status(), 413);
    assert_eq!(setup.script.starts().len(), 0);
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_dropped() {
    let setup = setup(vec![vec![Step::Flood]], &[("BACKLOT_WRITE_TIMEOUT", "300ms")]).await;
    let mut socket = setup.gateway.connect().await;
    let head = format!("GET /api/turns/{TURN}/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n", setup.token);
    socket.write_all(head.as_bytes()).await.unwrap();
    until(|| setup.script.open() == 1).await;
    until(|| setup.script.open() == 0).await;
    drop(socket);
}
