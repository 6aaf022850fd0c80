//! The two dialects over real connections.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{config::Env, task, testing::eventually};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    ErrorClass, ModelEvent, ModelMessage, ModelRequest, Provider, ProviderConfig, ProviderError, Providers,
    fixture::{shown, stream},
};

/// What the server does with one request.
#[derive(Clone)]
enum Reply {
    /// Writes these pieces, then closes.
    Say(Vec<Vec<u8>>),
    /// Writes this, then neither speaks nor closes.
    Hold(Vec<u8>),
}

struct Server {
    url: String,
    /// Head and body of every request.
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    /// Connections that the client closed while they were held.
    closed: Arc<Mutex<u32>>,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, requests: Arc::default(), closed: Arc::default() };
        let (requests, closed) = (Arc::clone(&server.requests), Arc::clone(&server.closed));
        task::spawn(async move {
            for reply in replies {
                let (mut socket, _) = listener.accept().await.unwrap();
                let request = read_request(&mut socket).await;
                requests.lock().unwrap().push(request);
                match reply {
                    Reply::Say(pieces) => {
                        for piece in pieces {
                            socket.write_all(&piece).await.unwrap();
                            socket.flush().await.unwrap();
                        }
                    }
                    Reply::Hold(bytes) => {
                        socket.write_all(&bytes).await.unwrap();
                        let mut rest = [0; 16];
                        while socket.read(&mut rest).await.is_ok_and(|n| n > 0) {}
                        *closed.lock().unwrap() += 1;
                    }
                }
            }
        });
        server
    }

    fn heads(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(head, _)| head.to_lowercase()).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        self.requests.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    fn anthropic(&self) -> Arc<dyn Provider> {
        provider("anthropic/m", &[("ANTHROPIC_API_KEY", "sk-secret"), ("ANTHROPIC_BASE_URL", &self.url)])
    }

    fn openai(&self) -> Arc<dyn Provider> {
        provider("openai/m", &[("OPENAI_BASE_URL", &format!("{}/v1", self.url))])
    }
}

fn provider(model: &str, pairs: &[(&str, &str)]) -> Arc<dyn Provider> {
    let short = [("BACKLOT_PROVIDER_IDLE_TIMEOUT", "300ms"), ("BACKLOT_PROVIDER_CONNECT_TIMEOUT", "2s"), ("BACKLOT_MODEL", "demo/demo")];
    let mut env = Env::of(pairs.iter().chain(&short).copied());
    let config = ProviderConfig::read(&mut env, usize::MAX);
    env.check().expect("a good configuration");
    Providers::new(&config).get(model).expect("configured").0
}

/// Fields that no event shows count as well.
#[tokio::test]
async fn a_response_that_is_too_long_ends_whatever_is_in_it() {
    let unseen = format!("data: {}\n\n", json!({"choices": [{"delta": {"provider_specific_fields": {"x": "y".repeat(20_000)}}}]}));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, unseen.repeat(10).as_bytes()).unwrap();
    let packed = [head(200, "content-type: text/event-stream\r\n"), packed.finish().unwrap()].concat();
    for body in [sse(&unseen.repeat(10)), packed] {
        let server = Server::start(vec![say(body)]).await;
        let mut env = Env::of([("OPENAI_BASE_URL", format!("{}/v1", server.url).as_str()), ("BACKLOT_MODEL", "demo/demo")]);
        let config = ProviderConfig { max_response_bytes: 100_000, ..ProviderConfig::read(&mut env, usize::MAX) };
        let error = run(&Providers::new(&config).get("openai/m").expect("configured").0).await.1.expect("an error");
        assert_eq!((error.class, error.retryable), (ErrorClass::TooLong, false));
        assert!(error.message.contains("100000 bytes"), "{}", error.message);
    }
}

async fn read_request(socket: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let n = socket.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..n]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length =
            head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap())).unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            return (head, serde_json::from_slice(&bytes[end + 4..]).unwrap());
        }
    }
}

fn head(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

fn sse(body: &str) -> Vec<u8> {
    [head(200, "content-type: text/event-stream\r\n"), body.as_bytes().to_vec()].concat()
}

fn say(bytes: Vec<u8>) -> Reply {
    Reply::Say(vec![bytes])
}

fn refuse(status: u16, headers: &str, body: &str) -> Reply {
    say([head(status, &format!("content-type: application/json\r\n{headers}")), body.as_bytes().to_vec()].concat())
}

fn request() -> ModelRequest {
    let messages = vec![ModelMessage::User { text: "Hi".into() }];
    ModelRequest { model: "m".into(), system: "S".into(), messages, tools: Vec::new(), max_tokens: 9, prompt_key: "t".into() }
}

async fn run(provider: &Arc<dyn Provider>) -> (Vec<String>, Option<ProviderError>) {
    let mut events = Vec::new();
    let mut answers = provider.stream(request().into());
    while let Some(event) = answers.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(answers.next().await.is_none(), "nothing follows an error");
                return (shown(&events), Some(error));
            }
        }
    }
    (shown(&events), None)
}

const HELLO: [&str; 4] = [
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé"}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":3,"output_tokens":2}}"#,
    r#"{"type":"message_stop"}"#,
];
const HELLO_SHOWN: [&str; 5] = ["text b1.1", "+ Hé", "end b1.1", "usage 3 2 0 0 0", "finished stop"];
const CHUNKS: [&str; 3] = [
    r#"{"choices":[{"index":0,"delta":{"content":"Hé"}}]}"#,
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
    "[DONE]",
];

#[tokio::test]
async fn anthropic_is_asked_and_heard_byte_by_byte() {
    let bytes = sse(&stream(&HELLO));
    let server = Server::start(vec![Reply::Say(bytes.chunks(1).map(<[u8]>::to_vec).collect())]).await;
    assert_eq!(run(&server.anthropic()).await, (HELLO_SHOWN.map(str::to_owned).to_vec(), None));
    let head = server.heads().remove(0);
    for line in [
        "post /v1/messages http/1.1",
        "x-api-key: sk-secret",
        "anthropic-version: 2023-06-01",
        "content-type: application/json",
        "accept: text/event-stream",
    ] {
        assert!(head.lines().any(|l| l == line), "{line} in {head}");
    }
    assert_eq!(server.bodies()[0]["stream"], true);
}

#[tokio::test]
async fn openai_is_asked_without_a_key_that_it_does_not_need() {
    let server = Server::start(vec![say(sse(&stream(&CHUNKS)))]).await;
    assert_eq!(run(&server.openai()).await, (HELLO_SHOWN.map(str::to_owned).to_vec(), None));
    let head = server.heads().remove(0);
    assert!(head.starts_with("post /v1/chat/completions http/1.1") && !head.contains("authorization"), "{head}");
    let keyed = provider("openai/m", &[("OPENAI_API_KEY", "sk-secret"), ("OPENAI_BASE_URL", &server.url)]);
    drop(run(&keyed).await);
}

#[tokio::test]
async fn a_refusal_has_its_class_its_wait_and_no_secret() {
    let body = r#"{"type":"error","error":{"type":"authentication_error","message":"no key sk-secret"}}"#;
    let server = Server::start(vec![
        refuse(529, "retry-after-ms: 40\r\n", r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
        refuse(429, "retry-after: 2\r\n", "{}"),
        refuse(401, "", body),
        refuse(302, "location: http://127.0.0.1:1/\r\n", ""),
        refuse(200, "", r#"{"error":{"type":"invalid_request_error","message":"no stream"}}"#),
        say([head(200, "content-type: text/html\r\n"), b"<html>".to_vec()].concat()),
    ])
    .await;
    let anthropic = server.anthropic();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let (events, error) = run(&anthropic).await;
        let error = error.expect("a refusal");
        assert!(events.is_empty() && !error.message.contains("sk-secret"), "{error}");
        seen.push((error.class, error.retryable, error.retry_after.map(|d| d.as_millis())));
    }
    use ErrorClass::{Authentication, InvalidRequest, Overloaded, RateLimited};
    let expected = [
        (Overloaded, true, Some(40)),
        (RateLimited, true, Some(2_000)),
        (Authentication, false, None),
        (InvalidRequest, false, None),
        (InvalidRequest, false, None),
        (InvalidRequest, false, None),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_cut_is_a_connection_error_that_can_be_retried() {
    let server = Server::start(vec![say(sse(&stream(&HELLO[..1]))), say(sse(&stream(&HELLO[..2]))), say(Vec::new())]).await;
    let anthropic = server.anthropic();
    for shown in [&[][..], &HELLO_SHOWN[..2], &[]] {
        let (events, error) = run(&anthropic).await;
        let error = error.expect("a cut");
        assert_eq!(
            (events.as_slice(), error.class, error.retryable),
            (shown.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice(), ErrorClass::Connection, true)
        );
    }
}

/// Promises more than it sends.
fn short(body: &str) -> Reply {
    say([head(200, &format!("content-length: {}\r\n", body.len() + 9)), body.as_bytes().to_vec()].concat())
}

/// The last chunk lacks its end.
fn half_a_chunk(body: &str) -> Reply {
    say([head(200, "transfer-encoding: chunked\r\n"), format!("{:x}\r\n{body}", body.len() + 9).into_bytes()].concat())
}

#[tokio::test]
async fn a_clean_end_word_and_an_orderly_close_are_an_end_and_a_broken_connection_is_none() {
    for (anthropic, body) in [(true, stream(&HELLO[..3])), (false, stream(&CHUNKS[..2]))] {
        let server = Server::start(vec![say(sse(&body)), short(&body), half_a_chunk(&body)]).await;
        let provider = if anthropic { server.anthropic() } else { server.openai() };
        assert_eq!(run(&provider).await, (HELLO_SHOWN.map(str::to_owned).to_vec(), None));
        for broken in ["length", "chunk"] {
            let (events, error) = run(&provider).await;
            assert!(!events.contains(&"finished stop".to_owned()), "{broken}: {events:?}");
            assert_eq!(error.map(|error| (error.class, error.retryable)), Some((ErrorClass::Connection, true)), "{broken}");
        }
    }
}

#[tokio::test]
async fn an_event_stream_is_read_whatever_it_is_called_and_packed_in() {
    let packed = |body: &str| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, body.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    for (anthropic, body) in [(true, stream(&HELLO)), (false, stream(&CHUNKS))] {
        let replies = vec![
            say([head(200, "content-type: text/plain\r\n"), body.clone().into_bytes()].concat()),
            say([head(200, "content-type: application/json\r\n"), body.clone().into_bytes()].concat()),
            say([head(200, ""), body.clone().into_bytes()].concat()),
            say([head(200, "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n"), packed(&body)].concat()),
            say(sse(&format!("\u{feff}{}", body.replace('\n', "\r\n")))),
        ];
        let count = replies.len();
        let server = Server::start(replies).await;
        let provider = if anthropic { server.anthropic() } else { server.openai() };
        for n in 0..count {
            assert_eq!(run(&provider).await, (HELLO_SHOWN.map(str::to_owned).to_vec(), None), "reply {n}");
        }
        assert!(server.heads().iter().all(|head| head.contains("accept-encoding: identity")));
    }
}

#[tokio::test]
async fn an_output_limit_that_a_model_refuses_is_lowered_and_remembered() {
    let complaint = r#"{"error":{"type":"invalid_request_error","message":"max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens"}}"#;
    for anthropic in [true, false] {
        let hello = || say(sse(&if anthropic { stream(&HELLO) } else { stream(&CHUNKS) }));
        let tiny = refuse(400, "", r#"{"error":{"type":"invalid_request_error","message":"max_tokens is too large; at most 0"}}"#);
        let replies = [refuse(400, "", complaint), hello(), hello()].into_iter().chain(std::iter::repeat_n(tiny, 8));
        let server = Server::start(replies.collect()).await;
        let provider = if anthropic { server.anthropic() } else { server.openai() };
        let request = || Arc::new(ModelRequest { max_tokens: 9_000, ..request() });
        for _ in 0..2 {
            assert!(provider.stream(request()).all(async |event| event.is_ok()).await);
        }
        let asked: Vec<_> = server.bodies().iter().map(|body| body["max_tokens"].as_u64()).collect();
        assert_eq!(asked, [Some(9_000), Some(8_192), Some(8_192)]);
        let error = provider.stream(request()).next().await.expect("an event").expect_err("a refusal");
        assert!(error.message.ends_with("(BACKLOT_MAX_OUTPUT_TOKENS is 9000)"), "{error}");
    }
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let server = Server::start(vec![Reply::Hold(Vec::new()), Reply::Hold(sse(&stream(&HELLO[..2])))]).await;
    let anthropic = server.anthropic();
    for _ in 0..2 {
        let error = run(&anthropic).await.1.expect("a stall");
        assert_eq!((error.class, error.retryable, error.message.as_str()), (ErrorClass::Timeout, true, "anthropic sent nothing for 0.3 s"));
    }
}

#[tokio::test]
async fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("http://me:hunter2@127.0.0.1:{port}");
    let error = run(&provider("anthropic/m", &[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", &url)])).await.1.expect("refused");
    assert_eq!((error.class, error.retryable), (ErrorClass::Connection, true));
    assert!(!error.message.contains("hunter2") && !error.message.contains("http://"), "{error}");
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let server = Server::start(vec![Reply::Hold(sse(&stream(&HELLO[..2])))]).await;
    let mut answers = server.anthropic().stream(request().into());
    assert!(matches!(answers.next().await, Some(Ok(ModelEvent::TextStarted { .. }))));
    assert_eq!(*server.closed.lock().unwrap(), 0);
    drop(answers);
    eventually(Duration::from_secs(5), || async { (*server.closed.lock().unwrap() == 1).then_some(()) }).await;
}

#[tokio::test]
async fn a_pause_is_answered_with_the_model_s_own_words() {
    let paused = [
        HELLO[0],
        HELLO[1],
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"pause_turn"},"usage":{"input_tokens":3,"output_tokens":2}}"#,
        HELLO[3],
    ];
    let server = Server::start(vec![say(sse(&stream(&paused))), say(sse(&stream(&HELLO)))]).await;
    let (events, error) = run(&server.anthropic()).await;
    assert_eq!(error, None);
    assert_eq!(
        events,
        ["text b1.1", "+ Hé", "end b1.1", "usage 3 2 0 0 0", "text b1.2", "+ Hé", "end b1.2", "usage 6 4 0 0 0", "finished stop"]
    );
    let again = &server.bodies()[1]["messages"];
    assert_eq!(again[1], json!({"role": "assistant", "content": [{"type": "text", "text": "Hé"}]}));
}

#[tokio::test]
async fn what_a_model_does_not_take_is_left_out_and_remembered() {
    let no_tools = r#"{"error":{"message":"Function tools with reasoning_effort are not supported","type":"invalid_request_error","param":"reasoning_effort"}}"#;
    let server = Server::start(vec![
        refuse(400, "", r#"{"error":"unknown field stream_options"}"#),
        refuse(400, "", no_tools),
        say(sse(&stream(&CHUNKS))),
        say(sse(&stream(&CHUNKS))),
        refuse(400, "", r#"{"error":{"message":"context too long","code":"context_length_exceeded"}}"#),
    ])
    .await;
    let openai = server.openai();
    assert_eq!(run(&openai).await.1, None);
    assert_eq!(run(&openai).await.1, None);
    let said = |body: &Value| (body.get("stream_options").is_some(), body.get("reasoning_effort").is_some());
    assert_eq!(server.bodies().iter().map(said).collect::<Vec<_>>(), [(true, false), (false, false), (false, true), (false, true)]);
    let error = run(&openai).await.1.expect("a refusal");
    assert_eq!((error.class, error.message.contains("context too long")), (ErrorClass::InvalidRequest, true));
}
