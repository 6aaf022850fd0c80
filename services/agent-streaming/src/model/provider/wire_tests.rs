//! Tests of the providers over real connections.

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

/// The reply of the server to one request.
#[derive(Clone)]
enum Reply {
    /// Writes these pieces, then closes the connection.
    Send(Vec<Vec<u8>>),
    /// Writes these bytes and keeps the connection open.
    Hold(Vec<u8>),
}

struct Server {
    url: String,
    /// The head and the body of every request.
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    /// The number of held connections that the client has closed.
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
                    Reply::Send(pieces) => {
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
    env.check().expect("a valid configuration");
    Providers::new(&config).get(model).expect("configured").0
}

/// Bytes that produce no events count too.
#[tokio::test]
async fn a_response_above_the_limit_is_refused() {
    let unseen = format!("data: {}\n\n", json!({"choices": [{"delta": {"provider_specific_fields": {"x": "y".repeat(20_000)}}}]}));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, unseen.repeat(10).as_bytes()).unwrap();
    let packed = [head(200, "content-type: text/event-stream\r\n"), packed.finish().unwrap()].concat();
    for body in [sse(&unseen.repeat(10)), packed] {
        let server = Server::start(vec![reply(body)]).await;
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

fn reply(bytes: Vec<u8>) -> Reply {
    Reply::Send(vec![bytes])
}

fn refuse(status: u16, headers: &str, body: &str) -> Reply {
    reply([head(status, &format!("content-type: application/json\r\n{headers}")), body.as_bytes().to_vec()].concat())
}

fn request() -> ModelRequest {
    let messages = vec![ModelMessage::User { text: "Hi".into() }];
    ModelRequest {
        model: "m".into(),
        system: "S".into(),
        tree: String::new(),
        messages,
        history: 0,
        tools: Vec::new(),
        max_tokens: 9,
        prompt_key: "t".into(),
    }
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
async fn anthropic_answers_are_decoded_byte_by_byte() {
    let bytes = sse(&stream(&HELLO));
    let server = Server::start(vec![Reply::Send(bytes.chunks(1).map(<[u8]>::to_vec).collect())]).await;
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
async fn openai_requests_have_a_key_only_if_it_is_set() {
    let server = Server::start(vec![reply(sse(&stream(&CHUNKS)))]).await;
    assert_eq!(run(&server.openai()).await, (HELLO_SHOWN.map(str::to_owned).to_vec(), None));
    let head = server.heads().remove(0);
    assert!(head.starts_with("post /v1/chat/completions http/1.1") && !head.contains("authorization"), "{head}");
    let keyed = provider("openai/m", &[("OPENAI_API_KEY", "sk-secret"), ("OPENAI_BASE_URL", &server.url)]);
    drop(run(&keyed).await);
}

#[tokio::test]
async fn a_refusal_has_a_class_a_pause_and_no_secret() {
    let body = r#"{"type":"error","error":{"type":"authentication_error","message":"no key sk-secret"}}"#;
    let server = Server::start(vec![
        refuse(529, "retry-after-ms: 40\r\n", r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
        refuse(429, "retry-after: 2\r\n", "{}"),
        refuse(401, "", body),
        refuse(302, "location: http://127.0.0.1:1/\r\n", ""),
        refuse(200, "", r#"{"error":{"type":"invalid_request_error","message":"no stream"}}"#),
        reply([head(200, "content-type: text/html\r\n"), b"<html>".to_vec()].concat()),
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
async fn an_incomplete_answer_is_a_retryable_connection_error() {
    let server = Server::start(vec![reply(sse(&stream(&HELLO[..1]))), reply(sse(&stream(&HELLO[..2]))), reply(Vec::new())]).await;
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

/// Announces more bytes than it sends.
fn short(body: &str) -> Reply {
    reply([head(200, &format!("content-length: {}\r\n", body.len() + 9)), body.as_bytes().to_vec()].concat())
}

/// The last chunk is incomplete.
fn half_a_chunk(body: &str) -> Reply {
    reply([head(200, "transfer-encoding: chunked\r\n"), format!("{:x}\r\n{body}", body.len() + 9).into_bytes()].concat())
}

#[tokio::test]
async fn a_broken_connection_is_an_error_even_after_a_clean_finish_reason() {
    for (anthropic, body) in [(true, stream(&HELLO[..3])), (false, stream(&CHUNKS[..2]))] {
        let server = Server::start(vec![reply(sse(&body)), short(&body), half_a_chunk(&body)]).await;
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
async fn an_event_stream_is_decoded_for_every_content_type_and_compression() {
    let packed = |body: &str| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, body.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    for (anthropic, body) in [(true, stream(&HELLO)), (false, stream(&CHUNKS))] {
        let replies = vec![
            reply([head(200, "content-type: text/plain\r\n"), body.clone().into_bytes()].concat()),
            reply([head(200, "content-type: application/json\r\n"), body.clone().into_bytes()].concat()),
            reply([head(200, ""), body.clone().into_bytes()].concat()),
            reply([head(200, "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n"), packed(&body)].concat()),
            reply(sse(&format!("\u{feff}{}", body.replace('\n', "\r\n")))),
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
async fn a_refused_output_limit_is_lowered_and_remembered() {
    let complaint = r#"{"error":{"type":"invalid_request_error","message":"max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens"}}"#;
    for anthropic in [true, false] {
        let hello = || reply(sse(&if anthropic { stream(&HELLO) } else { stream(&CHUNKS) }));
        let tiny = refuse(400, "", r#"{"error":{"type":"invalid_request_error","message":"max_tokens is too large; at most 0"}}"#);
        let replies = [refuse(400, "", complaint), hello(), hello()].into_iter().chain(std::iter::repeat_n(tiny, 8));
        let server = Server::start(replies.collect()).await;
        let provider = if anthropic { server.anthropic() } else { server.openai() };
        let request = || Arc::new(ModelRequest { max_tokens: 9_000, ..request() });
        for _ in 0..2 {
            assert!(provider.stream(request()).all(async |event| event.is_ok()).await);
        }
        let limits: Vec<_> = server.bodies().iter().map(|body| body["max_tokens"].as_u64()).collect();
        assert_eq!(limits, [Some(9_000), Some(8_192), Some(8_192)]);
        let error = provider.stream(request()).next().await.expect("an event").expect_err("a refusal");
        assert!(error.message.ends_with("(BACKLOT_MAX_OUTPUT_TOKENS is 9000)"), "{error}");
    }
}

#[tokio::test]
async fn a_stalled_answer_is_a_timeout() {
    let server = Server::start(vec![Reply::Hold(Vec::new()), Reply::Hold(sse(&stream(&HELLO[..2])))]).await;
    let anthropic = server.anthropic();
    for _ in 0..2 {
        let error = run(&anthropic).await.1.expect("a stall");
        assert_eq!((error.class, error.retryable, error.message.as_str()), (ErrorClass::Timeout, true, "anthropic sent nothing for 0.3 s"));
    }
}

#[tokio::test]
async fn a_refused_connection_is_retryable_and_shows_no_secret() {
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
async fn a_paused_answer_continues_with_its_own_content() {
    let paused = [
        HELLO[0],
        HELLO[1],
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"pause_turn"},"usage":{"input_tokens":3,"output_tokens":2}}"#,
        HELLO[3],
    ];
    let server = Server::start(vec![reply(sse(&stream(&paused))), reply(sse(&stream(&HELLO)))]).await;
    let (events, error) = run(&server.anthropic()).await;
    assert_eq!(error, None);
    assert_eq!(
        events,
        ["text b1.1", "+ Hé", "end b1.1", "usage 3 2 0 0 0", "text b1.2", "+ Hé", "end b1.2", "usage 6 4 0 0 0", "finished stop"]
    );
    let messages = &server.bodies()[1]["messages"];
    assert_eq!(messages[1], json!({"role": "assistant", "content": [{"type": "text", "text": "Hé"}]}));
}

#[tokio::test]
async fn a_refused_field_is_left_out_and_the_dialect_is_remembered() {
    let no_tools = r#"{"error":{"message":"Function tools with reasoning_effort are not supported","type":"invalid_request_error","param":"reasoning_effort"}}"#;
    let server = Server::start(vec![
        refuse(400, "", r#"{"error":"unknown field stream_options"}"#),
        refuse(400, "", no_tools),
        reply(sse(&stream(&CHUNKS))),
        reply(sse(&stream(&CHUNKS))),
        refuse(400, "", r#"{"error":{"message":"context too long","code":"context_length_exceeded"}}"#),
    ])
    .await;
    let openai = server.openai();
    assert_eq!(run(&openai).await.1, None);
    assert_eq!(run(&openai).await.1, None);
    let fields = |body: &Value| (body.get("stream_options").is_some(), body.get("reasoning_effort").is_some());
    assert_eq!(server.bodies().iter().map(fields).collect::<Vec<_>>(), [(true, false), (false, false), (false, true), (false, true)]);
    let error = run(&openai).await.1.expect("a refusal");
    assert_eq!((error.class, error.message.contains("context too long")), (ErrorClass::InvalidRequest, true));
}
