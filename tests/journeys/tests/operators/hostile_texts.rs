//! Row A19 of the test programme: a thousand requests with line breaks, control sequences of terminals and megabytes in every kind of field; in an
//! address it is cut to 200 characters, and in a header to 4 KiB. No answer shows a stack, a statement or a path of the server, and no byte of them controls the terminal of who reads an answer or the log.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use chassis::testing;
use futures::{StreamExt as _, stream};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::{Person, person::PASSWORD, process::Launch};

use crate::hostile_calls::{self, INTERNALS, TEXTS, controls};

/// Requests of the CI form.
const REQUESTS: usize = 1_000;
const AT_THE_SAME_TIME: usize = 8;
/// A word at which a line begins only if a text could begin a line.
const FORGED: &str = "FORGED";
/// One of this many texts is a megabyte long. With this number every kind of field gets one.
const LARGE_EVERY: usize = 53;
/// The length of a line in bytes. A line has some texts of a client, each of which is cut.
const MAX_LINE: usize = 16 * 1024;
fn is_large(number: usize) -> bool {
    number.is_multiple_of(LARGE_EVERY)
}

/// The text of a request: one of [`TEXTS`], sometimes with a megabyte behind it.
fn text(number: usize) -> String {
    let text = TEXTS[number % TEXTS.len()];
    if is_large(number) { format!("{text}{}", "x".repeat(1024 * 1024)) } else { text.to_owned() }
}

/// A request with the text in one of its fields.
fn request(person: &Person, number: usize) -> RequestBuilder {
    let text = text(number);
    let short: String = text.chars().take(200).collect();
    let escaped: String = url::form_urlencoded::byte_serialize(short.as_bytes()).collect();
    let post = |path: &str, body: Value| person.request(Method::POST, path).json(&body);
    let get = |path: String| person.request(Method::GET, &path);
    let save = |change: Value| post("/api/projects/save", json!({ "draftId": "d", "changes": [change] }));
    match number / TEXTS.len() % 15 {
        0 => post("/api/auth/signin", json!({ "email": text, "password": PASSWORD })),
        1 => post("/api/auth/signin", json!({ "email": person.email, "password": text })),
        // Without the session, which a sign-up would end.
        2 => {
            let account = json!({ "email": "b@example.org", "password": PASSWORD, "displayName": text });
            person.http.post(format!("{}/api/auth/signup", person.url)).json(&account)
        }
        3 => post("/api/projects/save", json!({ "draftId": text, "changes": [] })),
        4 => save(json!({ "path": text, "write": { "text": "x" } })),
        5 => save(json!({ "path": "a.html", "write": { "text": text } })),
        6 => post("/api/turns", json!({ "draftId": "d", "prompt": "x", "model": text })),
        7 => post("/api/provider-keys", json!({ "provider": "openai", "key": text, "baseUrl": text, "displayName": text })),
        8 => post("/api/auth/keys", json!({ "displayName": text, "scope": text })),
        9 => get(format!("/api/projects/{escaped}")),
        10 => get(format!("/api/projects?pageToken={escaped}&{escaped}=1")),
        11 => get(format!("/api/{escaped}")),
        // Header values have no line breaks, so only what a client can send.
        12 => get("/api/projects".to_owned()).header("user-agent", header(&text)).header("x-request-id", header(&text)),
        13 => {
            get("/api/projects".to_owned()).header("authorization", header(&format!("Bearer {text}"))).header("traceparent", header(&text))
        }
        _ => person.request(Method::POST, "/api/turns").header("content-type", "application/json").body(text),
    }
}

/// The bytes of a text that a header value may have.
fn header(text: &str) -> reqwest::header::HeaderValue {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte >= b' ' && *byte != 0x7f).take(4096).collect();
    reqwest::header::HeaderValue::from_bytes(&bytes).expect("bytes of a header value")
}

/// Sends the request. Returns what is wrong with its answer.
async fn problem_of(person: &Person, number: usize) -> Result<Option<String>> {
    let response = match request(person, number).send().await {
        // A body that is too large is refused before it was sent, and the connection closes.
        Err(error) if is_large(number) && !error.is_builder() => return Ok(None),
        answered => answered.with_context(|| format!("request {number}"))?,
    };
    let status = response.status();
    // The id of a request comes back if it has only characters of ids.
    let headers: Vec<_> = response.headers().iter().filter(|(name, _)| *name != "x-request-id").collect();
    let headers = format!("{headers:?}");
    let body = String::from_utf8(response.bytes().await?.to_vec()).context("an answer in UTF-8")?;
    // JSON escapes all of them but U+007F, which terminals ignore.
    let raw = body.chars().any(|c| c.is_ascii_control() && !matches!(c, '\n' | '\u{7f}'));
    let lower = body.to_lowercase();
    let shown: Vec<_> = INTERNALS.iter().filter(|part| lower.contains(**part)).collect();
    let is_good = !status.is_server_error() && !raw && shown.is_empty() && !headers.contains(FORGED);
    Ok((!is_good).then(|| format!("request {number}: {status}, raw control bytes: {raw}, internals: {shown:?}: {body:.300}")))
}

async fn hostile_texts(format: &str) -> Result<()> {
    let data = tempfile::tempdir()?;
    let policies = data.path().join("policies.yaml");
    std::fs::write(&policies, test_support::cluster::OPEN_POLICIES)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("DATABASE_URL", &testing::database_url(&format!("hostile_{format}")).await)
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("BACKLOT_EDGE_PER_SECOND", "100000")
        .set("BACKLOT_EDGE_BURST", "100000")
        .set("BACKLOT_LOG", "info,backlot=debug")
        .set("BACKLOT_LOG_FORMAT", format);
    let process = launch.up().await?;
    let mut person = Person::sign_up(&process.url).await?;
    // A connection that is kept may be closed after a refusal.
    person.http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
    // What the process itself logs at the start names its folders.
    let start = std::fs::read_to_string(launch.log())?.len();

    let answers = (0..REQUESTS).map(|number| problem_of(&person, number));
    let problems: Vec<_> = stream::iter(answers).buffer_unordered(AT_THE_SAME_TIME).collect().await;
    let problems = problems.into_iter().collect::<Result<Vec<_>>>()?;
    let mut problems: Vec<_> = problems.into_iter().flatten().collect();
    problems.extend(hostile_calls::problems(&process, &launch.data).await?);
    person.get("/api/projects").await.context("the session is still there")?;
    ensure!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    ensure!(process.terminate().await? == Some(0), "no clean exit");

    let log = String::from_utf8(std::fs::read(launch.log())?).context("a log in UTF-8")?;
    let found: BTreeSet<_> = log.chars().filter(|c| controls(*c)).collect();
    ensure!(found.is_empty(), "control characters in the log: {found:?}");
    for line in log[start..].lines() {
        ensure!(!line.trim_start().starts_with(FORGED), "a line that a client wrote: {line}");
        ensure!(line.len() <= MAX_LINE, "a line of {} bytes: {line:.300}", line.len());
        ensure!(!line.contains("panicked"), "{line}");
        ensure!(format != "json" || serde_json::from_str::<Value>(line).is_ok(), "a line that is not JSON: {line:.300}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_hostile_texts_show_nothing_and_control_nothing_with_a_log_of_text() -> Result<()> {
    hostile_texts("pretty").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_hostile_texts_show_nothing_and_control_nothing_with_a_log_of_json() -> Result<()> {
    hostile_texts("json").await
}
