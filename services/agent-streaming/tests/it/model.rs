//! A fake model server for chat completions. The last line of the prompt is an order:
//!
//! - `SAY text` answers with the text.
//! - `NUL text` answers with the text, and with U+0000 in place of each `_`.
//! - `CHOOSE n` answers with the name of the nth agent of a list, for the second stage of selection.
//! - `WRITE path text` writes a file, then answers.
//! - `SLOW n` answers in n pieces with pauses, `FLOOD n` in n large pieces without pauses.
//! - `HANG` sends some text, then nothing more. `HANG1` does this the first time, then answers.
//! - `CUT` closes the connection in the middle of an answer.
//! - `LENGTH` is cut at the output limit inside of a call. `DECLINE` declines.
//! - `STEPS path old new` writes a file, edits it, hangs the first time, then answers.
//! - `BUSY n text` is overloaded n times, then answers. `BAD` refuses the request.
//! - `ECHO_KEY` refuses the key of the request and shows it.
//! - `LOOP` lists files in every step. `CALLS n` calls n tools in one step.
//! - `END reason` writes a file and ends with that finish reason.
//! - `EMPTY n text` answers n times without text, then with it. `THINK` sends only reasoning.
//! - `BREAK n path text` closes the connection n times in a step that writes a file, then writes it.
//! - `TOOLS [[tool, arguments], ...]` makes these calls, one per step, then answers. `TOOLS_HANG` hangs once before the answer.
//! - `OBEY place` reads what may have an injected instruction, then obeys all that it finds (see [`injection`](crate::injection)).
//! - `THEN [[tool, arguments], ...]` in a line before the last one makes these calls when the findings of a check arrive. `THEN_HANG` hangs once
//!   before them. Without it the findings are answered with a text.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::injection;

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) url: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    /// Requests whose client disconnected before the end of the answer.
    dropped: AtomicUsize,
    busy: Mutex<HashMap<String, usize>>,
    /// The order and the messages of each request.
    requests: Mutex<Vec<(String, Value)>>,
    /// The order and the names of the tools of each request.
    offered: Mutex<Vec<(String, Vec<String>)>>,
    /// The header `authorization` of each request.
    keys: Mutex<Vec<String>>,
}

impl Model {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        chassis::task::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let counts = Arc::clone(&shared);
                chassis::task::spawn(async move { serve(stream, &counts).await });
            }
        });
        Self { url, counts }
    }

    pub(crate) fn calls(&self) -> usize {
        self.counts.calls.load(Ordering::SeqCst)
    }

    /// The messages of each request with this order.
    pub(crate) fn requests(&self, order: &str) -> Vec<Value> {
        self.counts.requests.lock().unwrap().iter().filter(|(of, _)| of == order).map(|(_, messages)| messages.clone()).collect()
    }

    /// The tools that each request with this order offers.
    pub(crate) fn offered(&self, order: &str) -> Vec<Vec<String>> {
        self.counts.offered.lock().unwrap().iter().filter(|(of, _)| of == order).map(|(_, tools)| tools.clone()).collect()
    }

    /// The different values of `authorization`, in the order of their first requests.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = self.counts.keys.lock().unwrap().clone();
        keys.dedup();
        keys
    }

    pub(crate) fn dropped(&self) -> usize {
        self.counts.dropped.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, counts: &Counts) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (key, request) = read(&mut stream).await?;
    counts.keys.lock().unwrap().push(key.clone());
    counts.calls.fetch_add(1, Ordering::SeqCst);
    let messages = request["messages"].as_array()?;
    let prompt = messages.iter().rev().find(|m| m["role"] == "user").map(|m| text_of(&m["content"]))?;
    let answered = messages.last()?["role"] == "tool";
    let order = if prompt.starts_with("This is an automatic message") { correction(messages) } else { prompt.lines().last()?.to_owned() };
    counts.requests.lock().unwrap().push((order.clone(), request["messages"].clone()));
    let tools = request["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["function"]["name"].as_str());
    counts.offered.lock().unwrap().push((order.clone(), tools.map(str::to_owned).collect()));
    let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
    let mut answer = Answer { stream: stream.into_inner() };
    if matches!(word, "BUSY" | "BAD") {
        return answer.refuse(word, rest, counts.seen(&order)).await;
    }
    if word == "ECHO_KEY" {
        return answer.refuse_key(&key).await;
    }
    answer.begin().await?;
    match word {
        "WRITE" if !answered => {
            let (path, text) = rest.split_once(' ')?;
            answer.call("write_file", &json!({"path": path, "content": text}).to_string()).await?;
            answer.end("tool_calls").await
        }
        "LOOP" => {
            answer.call("list_files", "{}").await?;
            answer.end("tool_calls").await
        }
        "THEN_HANG" if steps(messages) == 0 && counts.seen(&order) == 1 => answer.at_length("HANG", "", counts).await,
        "STEPS" | "TOOLS" | "TOOLS_HANG" | "THEN" | "THEN_HANG" => match planned(word, rest)?.get(steps(messages)) {
            Some((tool, arguments)) => {
                answer.call(tool, arguments).await?;
                answer.end("tool_calls").await
            }
            None if matches!(word, "STEPS" | "TOOLS_HANG") => answer.hang_once(counts.seen(&order), counts).await,
            None => {
                answer.say("All done.").await?;
                answer.end("stop").await
            }
        },
        "OBEY" => answer.many(&injection::calls(rest.parse().ok()?, steps(messages), &request["messages"])).await,
        "HANG1" => answer.hang_once(counts.seen(&order), counts).await,
        "LENGTH" | "DECLINE" | "END" | "EMPTY" | "THINK" | "CALLS" => answer.without_end(word, rest, counts.seen(&order)).await,
        "BREAK" if !answered => answer.broken(rest, counts.seen(&order)).await,
        "SLOW" | "FLOOD" | "HANG" => answer.at_length(word, rest, counts).await,
        "CUT" => answer.say("half an ans").await,
        "NUL" => {
            answer.say(&rest.replace('_', "\0")).await?;
            answer.end("stop").await
        }
        "CHOOSE" => answer.choose(&prompt, rest).await,
        _ => {
            answer.say(if answered { "All done." } else { rest }).await?;
            answer.end("stop").await
        }
    }
}

/// The calls of an order, one per step.
fn planned(word: &str, rest: &str) -> Option<Vec<(String, String)>> {
    if word != "STEPS" {
        return serde_json::from_str(rest).ok();
    }
    let mut words = rest.split(' ');
    let (path, old, new) = (words.next()?, words.next()?, words.next()?);
    let write = json!({"path": path, "content": old}).to_string();
    let edit = json!({"path": path, "old_text": old, "new_text": new}).to_string();
    Some(vec![("write_file".to_owned(), write), ("edit_file".to_owned(), edit)])
}

/// The order for findings, from a line of the prompt before them.
fn correction(messages: &[Value]) -> String {
    let prompt = messages.iter().rev().filter(|m| m["role"] == "user").nth(1).map(|m| text_of(&m["content"])).unwrap_or_default();
    prompt.lines().find(|line| line.starts_with("THEN")).unwrap_or("SAY It is right.").to_owned()
}

/// The number of answers in this turn.
fn steps(messages: &[Value]) -> usize {
    messages.iter().rev().take_while(|m| m["role"] != "user").filter(|m| m["role"] == "assistant").count()
}

impl Counts {
    /// How often this order was requested, including this time.
    fn seen(&self, order: &str) -> usize {
        let mut busy = self.busy.lock().unwrap();
        let seen = busy.entry(order.to_owned()).or_default();
        *seen += 1;
        *seen
    }
}

struct Answer {
    stream: TcpStream,
}

impl Answer {
    async fn status(&mut self, status: &str, body: &str) -> Option<()> {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await.ok()
    }

    async fn begin(&mut self) -> Option<()> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await.ok()
    }

    async fn send(&mut self, data: &str) -> Option<()> {
        let line = format!("data: {data}\n\n");
        self.stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.ok()
    }

    async fn delta(&mut self, delta: Value, finish: Option<&str>) -> Option<()> {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "test",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        self.send(&chunk.to_string()).await
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        self.delta(json!({"role": "assistant", "content": text}), None).await
    }

    async fn hang_once(&mut self, seen: usize, counts: &Counts) -> Option<()> {
        if seen == 1 {
            return self.at_length("HANG", "", counts).await;
        }
        self.say("All done.").await?;
        self.end("stop").await
    }

    async fn at_length(&mut self, word: &str, rest: &str, counts: &Counts) -> Option<()> {
        if word == "HANG" {
            self.say("wait").await?;
            // Waits until the client closes the connection.
            let _ = self.stream.read(&mut [0; 1]).await;
            counts.dropped.fetch_add(1, Ordering::SeqCst);
            return Some(());
        }
        for n in 0..rest.parse().ok()? {
            let piece = if word == "FLOOD" { "flood ".repeat(200) } else { format!("piece {n} ") };
            if self.say(&piece).await.is_none() {
                counts.dropped.fetch_add(1, Ordering::SeqCst);
                return None;
            }
            if word == "SLOW" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.end("stop").await
    }

    /// Refuses a request: with `BAD`, or with `BUSY` so many times before it answers.
    async fn refuse(&mut self, word: &str, rest: &str, seen: usize) -> Option<()> {
        if word == "BAD" {
            return self.status("400 Bad Request", r#"{"error":{"message":"no such thing"}}"#).await;
        }
        let (times, text) = rest.split_once(' ')?;
        if seen <= times.parse().ok()? {
            return self.status("503 Service Unavailable", r#"{"error":{"message":"overloaded"}}"#).await;
        }
        self.begin().await?;
        self.say(text).await?;
        self.end("stop").await
    }

    async fn refuse_key(&mut self, key: &str) -> Option<()> {
        let body = json!({"error": {"message": format!("Incorrect API key provided: {key}."), "type": "invalid_request_error"}});
        self.status("401 Unauthorized", &body.to_string()).await
    }

    /// Names an agent of the list in a prompt.
    async fn choose(&mut self, prompt: &str, number: &str) -> Option<()> {
        let listed = prompt.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(':')).nth(number.parse().ok()?);
        self.say(listed.map_or("All done.", |(name, _)| name)).await?;
        self.end("stop").await
    }

    /// An answer after which the turn must not commit.
    async fn without_end(&mut self, word: &str, rest: &str, seen: usize) -> Option<()> {
        match word {
            "LENGTH" => {
                self.call("write_file", r#"{"path":"half.txt","content":"only ha"#).await?;
                self.end("length").await
            }
            "END" => {
                self.call("write_file", r#"{"path":"half.txt","content":"only half"}"#).await?;
                self.end(rest).await
            }
            "EMPTY" => {
                let (times, text) = rest.split_once(' ')?;
                if seen > times.parse().ok()? {
                    self.say(text).await?;
                }
                self.end("stop").await
            }
            "THINK" => {
                self.delta(json!({"role": "assistant", "reasoning_content": "hm"}), None).await?;
                self.end("stop").await
            }
            "CALLS" => {
                for n in 0..rest.parse::<u32>().ok()? {
                    let function = json!({"name": "list_files", "arguments": "{}"});
                    self.delta(
                        json!({"tool_calls": [{"index": n, "id": format!("call_{n}"), "type": "function", "function": function}]}),
                        None,
                    )
                    .await?;
                }
                self.end("tool_calls").await
            }
            _ => self.end("content_filter").await,
        }
    }

    async fn broken(&mut self, rest: &str, seen: usize) -> Option<()> {
        let (times, rest) = rest.split_once(' ')?;
        let (path, text) = rest.split_once(' ')?;
        self.say("I write. ").await?;
        self.call("write_file", &json!({"path": path, "content": text}).to_string()).await?;
        if seen <= times.parse().ok()? {
            return Some(());
        }
        self.end("tool_calls").await
    }

    /// Makes calls in one step, or ends the turn without any.
    async fn many(&mut self, calls: &[(String, Value)]) -> Option<()> {
        if calls.is_empty() {
            self.say("All done.").await?;
            return self.end("stop").await;
        }
        for (n, (tool, arguments)) in calls.iter().enumerate() {
            let function = json!({"name": tool, "arguments": arguments.to_string()});
            let call = json!({"index": n, "id": format!("call_{n}"), "type": "function", "function": function});
            self.delta(json!({"tool_calls": [call]}), None).await?;
        }
        self.end("tool_calls").await
    }

    async fn call(&mut self, tool: &str, arguments: &str) -> Option<()> {
        let (first, second) = arguments.split_at(arguments.len() / 2);
        let open =
            json!({"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": tool, "arguments": first}}]});
        self.delta(open, None).await?;
        self.delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": second}}]}), None).await
    }

    async fn end(&mut self, finish: &str) -> Option<()> {
        self.delta(json!({}), Some(finish)).await?;
        let usage = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "test", "choices": [],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
        self.send(&usage.to_string()).await?;
        self.send("[DONE]").await?;
        self.stream.write_all(b"0\r\n\r\n").await.ok()
    }
}

/// Reads the body of one request.
/// The header `authorization` and the body of a request.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |name: &str| head.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.eq_ignore_ascii_case(name));
    let length: usize = header("content-length")?.1.trim().parse().ok()?;
    let key = header("authorization").map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((key, serde_json::from_slice(&bytes[end..end + length]).ok()?))
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}
