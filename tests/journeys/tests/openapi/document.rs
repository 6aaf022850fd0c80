//! The OpenAPI document: linters and client generators accept it, and the answers of a cluster match it.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Cluster, Person, canary::within, document, sse::Frame};
use tokio::process::Command;

use crate::tools;

/// The limit for one tool: at least ten times the duration of the slowest one on a busy machine with two cores.
const LIMIT: Duration = Duration::from_secs(300);

/// A tool: its program in the folder of tools, its arguments, and for a generator a generated file with a word that it must contain.
struct Tool {
    program: &'static str,
    arguments: Vec<String>,
    generates: Option<(&'static str, &'static str)>,
}

fn all() -> Vec<Tool> {
    let config = |name: &str| tools::sources().join(name).to_string_lossy().into_owned();
    let tool = |program, arguments: &[&str], generates| Tool {
        program,
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        generates,
    };
    let npm = "node_modules/.bin/";
    let of_npm = |name: &'static str| -> &'static str { Box::leak(format!("{npm}{name}").into_boxed_str()) };
    vec![
        tool(of_npm("redocly"), &["lint", "openapi.json", "--config", &config("redocly.yaml")], None),
        tool(of_npm("spectral"), &["lint", "openapi.json", "--ruleset", &config("spectral.yaml"), "--fail-severity=warn"], None),
        tool(of_npm("openapi-typescript"), &["openapi.json", "--output", "types.ts"], Some(("types.ts", "StreamedEvent"))),
        tool(of_npm("openapi-ts"), &["--input", "openapi.json", "--output", "hey"], Some(("hey/sdk.gen.ts", "signUp"))),
        tool(of_npm("orval"), &["--input", "openapi.json", "--output", "orval.ts"], Some(("orval.ts", "signUp"))),
        tool(
            "venv/bin/openapi-python-client",
            &["generate", "--path", "openapi.json", "--fail-on-warning", "--meta", "none", "--config", &config("python-client.yaml")],
            Some(("backlot_client/models/project.py", "class Project")),
        ),
    ]
}

async fn run(tool: &Tool, at: &Path) -> Result<()> {
    let program = tools::folder().join(tool.program);
    let path =
        format!("{}:{}:/usr/bin:/bin", tools::folder().join("node_modules/node/bin").display(), tools::folder().join("venv/bin").display());
    let mut command = Command::new(&program);
    command.args(&tool.arguments).current_dir(at).env("PATH", path).env("HOME", at).env("CI", "1").env("REDOCLY_TELEMETRY", "off");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let done = within(LIMIT, command.output()).await.with_context(|| format!("{} did not exit in time", tool.program))?;
    let done = done.with_context(|| format!("{} is missing: `make test` installs it", program.display()))?;
    let output = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "{}: {output}", tool.program);
    if let Some((file, word)) = tool.generates {
        let text = std::fs::read_to_string(at.join(file)).with_context(|| format!("{} generated no {file}: {output}", tool.program))?;
        ensure!(text.contains(word), "{}: no {word} in {file}", tool.program);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn linters_and_generators_accept_the_document() -> Result<()> {
    let cluster = Cluster::start().await?;
    let text = reqwest::get(format!("{}/openapi.json", cluster.url)).await?.text().await?;
    cluster.stop().await?;
    let at = tempfile::tempdir()?;
    std::fs::write(at.path().join("openapi.json"), &text)?;
    let mut complaints = Vec::new();
    for tool in all() {
        if let Err(problem) = run(&tool, at.path()).await {
            complaints.push(format!("{problem:#}"));
        }
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("\n\n"));
    Ok(())
}

/// Checks that a value has all required fields of its schema and no undocumented field.
fn check_schema(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<()> {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).context("a reference without a target")?,
        None => schema,
    };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ensure!(value.get(name).is_some(), "{at}: {name} is missing in {value}");
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        if let Some(properties) = schema["properties"].as_object() {
            let known = properties.get(name).with_context(|| format!("{at}: {name} is not documented"))?;
            check_schema(document, known, inner, &format!("{at}.{name}"))?;
        }
    }
    value.as_array().into_iter().flatten().try_for_each(|inner| check_schema(document, &schema["items"], inner, &format!("{at}[]")))
}

/// Checks that each event of a turn is one that the document describes.
fn check_events(described: &Value, frames: &[Frame]) -> Result<()> {
    let event = &described["components"]["schemas"]["StreamedEvent"];
    for frame in frames {
        let event_of_frame = frame.json();
        check_schema(
            described,
            event,
            &json!({ "seq": event_of_frame["seq"], "turnId": event_of_frame["turnId"], "type": event_of_frame["type"],
            "time": event_of_frame["time"], "traceId": event_of_frame["traceId"], "data": {} }),
            "event",
        )?;
        let kind = event_of_frame["type"].as_str().unwrap_or_default();
        let message: String = kind.split(['.', '_']).map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        check_schema(described, &json!({ "$ref": format!("#/components/schemas/{message}") }), &event_of_frame["data"], kind)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_events_match_the_document() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let described = document::of(&cluster.url).await?;
    let done = person.turn(json!({ "draftId": "shop", "prompt": "a counter" })).await?;
    let (project, turn) = (&done.project, &done.turn);
    check_events(described, &done.frames)?;
    let write = json!({ "projectId": project, "changes": [{ "path": "a.txt", "write": { "text": "one" } }] });
    let rows = [
        (Method::GET, "/api/auth/session".to_owned(), Value::Null),
        (Method::POST, "/api/auth/token".to_owned(), json!({})),
        (Method::GET, "/api/auth/sessions".to_owned(), Value::Null),
        (Method::POST, "/api/auth/refresh-tokens".to_owned(), json!({ "displayName": "export" })),
        (Method::POST, "/api/auth/keys".to_owned(), json!({ "displayName": "export", "scope": "API_KEY_SCOPE_READ" })),
        (Method::GET, "/api/auth/keys".to_owned(), Value::Null),
        (Method::POST, "/api/auth/sessions:revoke".to_owned(), json!({})),
        (Method::GET, "/api/auth/providers".to_owned(), Value::Null),
        (Method::GET, "/api/auth/identities".to_owned(), Value::Null),
        (Method::GET, "/.well-known/jwks.json".to_owned(), Value::Null),
        (Method::GET, "/.well-known/oauth-authorization-server".to_owned(), Value::Null),
        (Method::GET, "/api/projects".to_owned(), Value::Null),
        (Method::POST, "/api/projects".to_owned(), json!({})),
        (Method::POST, "/api/projects/save".to_owned(), write),
        (Method::GET, format!("/api/projects/{project}"), Value::Null),
        (Method::PATCH, format!("/api/projects/{project}"), json!({ "displayName": "Shop" })),
        (Method::GET, format!("/api/projects/load?projectId={project}"), Value::Null),
        (Method::GET, format!("/api/projects/{project}/files"), Value::Null),
        (Method::GET, format!("/api/projects/{project}/files/a.txt"), Value::Null),
        (Method::GET, format!("/api/projects/{project}/revisions"), Value::Null),
        (Method::GET, format!("/api/projects/{project}/messages"), Value::Null),
        (Method::POST, format!("/api/projects/{project}/previews"), json!({})),
        (Method::POST, "/api/turns".to_owned(), json!({ "projectId": project, "prompt": "again" })),
        (Method::GET, format!("/api/turns?projectId={project}"), Value::Null),
        (Method::GET, format!("/api/turns/{turn}"), Value::Null),
        (Method::GET, "/api/agents".to_owned(), Value::Null),
        (Method::GET, "/api/agents/builder".to_owned(), Value::Null),
        (Method::POST, "/api/agents/select".to_owned(), json!({ "prompt": "a bar chart of my sales" })),
        (Method::POST, "/api/turns:plan".to_owned(), json!({ "projectId": project, "prompt": "make the counter blue" })),
        (Method::DELETE, format!("/api/projects/{project}"), Value::Null),
    ];
    for (method, path, body) in rows {
        let request = person.request(method.clone(), &path);
        let response = if body.is_null() { request } else { request.json(&body) }.send().await?;
        let at = format!("{method} {path}");
        let (_, operation) = document::operation(described, method.as_str(), &path).context(at.clone())?;
        let answer =
            document::answer(described, operation, response.status().as_u16()).with_context(|| format!("{at} {}", response.status()))?;
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let header = header["$ref"].as_str().and_then(|reference| described.pointer(reference.trim_start_matches('#')));
            let is_required = header.is_some_and(|header| header["required"] == true);
            ensure!(!is_required || response.headers().contains_key(name), "{at}: no {name}");
        }
        let schema = &answer["content"]["application/json"]["schema"];
        check_schema(described, schema, &response.json().await?, &at)?;
    }
    cluster.stop().await
}

/// A request that must be refused: whether it is authenticated, the method, the path, the body, and the reason.
type Row = (bool, Method, String, Value, &'static str);

fn of_accounts(email: &str) -> Vec<Row> {
    let post = |authenticated, path: &str, body, reason| (authenticated, Method::POST, format!("/api/auth/{path}"), body, reason);
    vec![
        post(true, "signup", json!({ "email": email, "password": "correct horse battery 7" }), "EMAIL_TAKEN"),
        post(true, "signup", json!({ "email": "b@example.com", "password": "passwordpassword" }), "WEAK_PASSWORD"),
        post(true, "signin", json!({ "email": email, "password": "nothing" }), "BAD_CREDENTIALS"),
        post(false, "token", json!({}), "TOKEN_MISSING"),
        post(false, "token", json!({ "refreshToken": "blt_rt_x" }), "SESSION_ENDED"),
        post(true, "password", json!({ "currentPassword": "nothing", "password": "correct horse battery 7" }), "BAD_CREDENTIALS"),
        (true, Method::DELETE, format!("/api/auth/sessions/{}", uuid::Uuid::now_v7()), Value::Null, "SESSION_NOT_FOUND"),
        post(false, "signout", json!({}), "TOKEN_MISSING"),
        (false, Method::GET, "/api/projects".to_owned(), Value::Null, "TOKEN_MISSING"),
    ]
}

fn of_projects(project: &str, turn: &str) -> Vec<Row> {
    let get = |path: String, reason| (true, Method::GET, format!("/api/projects{path}"), Value::Null, reason);
    let delete = |path: String, reason| (true, Method::DELETE, format!("/api/projects{path}"), Value::Null, reason);
    vec![
        get("?pageToken=x".to_owned(), "PAGE_TOKEN_INVALID"),
        get("?pageSize=x".to_owned(), "INVALID_FIELD"),
        get(format!("/{}", uuid::Uuid::now_v7()), "PROJECT_NOT_FOUND"),
        get(format!("/{project}/files/nothing.txt"), "FILE_NOT_FOUND"),
        get(format!("/{project}/files?revision={}", "0".repeat(40)), "REVISION_NOT_FOUND"),
        get(format!("/{project}/conflicts/{turn}"), "CONFLICT_NOT_FOUND"),
        get(format!("/{project}/"), "ROUTE_NOT_FOUND"),
        delete("/load".to_owned(), "METHOD_NOT_ALLOWED"),
        delete(format!("/{project}/previews/{}", "a".repeat(26)), "PREVIEW_NOT_FOUND"),
        (true, Method::POST, "/api/projects".to_owned(), json!({ "displayName": "two", "requestId": "one" }), "KEY_REUSED"),
    ]
}

fn of_saves(project: &str) -> Vec<Row> {
    let text = json!({ "text": "x" });
    let save = |change: Value, reason| {
        let body = json!({ "changes": [change], "baseRevision": "" });
        (true, Method::POST, format!("/api/projects/{project}/changes"), body, reason)
    };
    let no_etag = format!("\"{}\"", "0".repeat(40));
    let guarded = json!({ "changes": [{ "path": "a", "write": text }], "ifMatch": no_etag });
    vec![
        save(json!({ "path": "../x", "write": text }), "INVALID_PATH"),
        save(json!({ "path": "index.html", "create": text }), "FILE_EXISTS"),
        save(json!({ "path": "no.txt", "update": text }), "FILE_NOT_FOUND"),
        save(json!({ "path": "index.html", "write": text, "etag": no_etag }), "FILE_CHANGED"),
        (true, Method::POST, format!("/api/projects/{project}/changes"), guarded, "ETAG_MISMATCH"),
    ]
}

fn of_turns(project: &str, turn: &str) -> Vec<Row> {
    let other = uuid::Uuid::now_v7();
    let start = |body: Value, reason| (true, Method::POST, "/api/agent/stream".to_owned(), body, reason);
    let run = json!({ "threadId": "t", "runId": "r", "messages": [], "tools": [{}] });
    vec![
        start(json!({ "projectId": project, "prompt": "x", "agent": "nobody" }), "AGENT_NOT_FOUND"),
        start(json!({ "projectId": project, "prompt": "x", "model": "demo/nothing" }), "MODEL_NOT_FOUND"),
        start(json!({ "projectId": other, "prompt": "x" }), "PROJECT_NOT_FOUND"),
        (true, Method::GET, format!("/api/turns/{other}"), Value::Null, "TURN_NOT_FOUND"),
        (true, Method::POST, format!("/api/turns/{turn}/cancel"), json!({}), "TOO_LATE"),
        (true, Method::GET, "/api/agents/nobody".to_owned(), Value::Null, "AGENT_NOT_FOUND"),
        (true, Method::POST, "/api/agui".to_owned(), run, "TOOLS_UNSUPPORTED"),
    ]
}

/// Reasons that a client can cause. [`Person::refused`] compares each with the document.
#[tokio::test(flavor = "multi_thread")]
async fn documented_reasons_exist() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let anonymous = Person { cookie: String::new(), ..person.clone() };
    let done = person.turn(json!({ "draftId": "shop", "prompt": "a counter" })).await?;
    person.post("/api/projects", json!({ "displayName": "one", "requestId": "one" })).await?;
    let rows =
        [of_accounts(&person.email), of_projects(&done.project, &done.turn), of_saves(&done.project), of_turns(&done.project, &done.turn)];
    for (is_authenticated, method, path, body, reason) in rows.concat() {
        let who = if is_authenticated { &person } else { &anonymous };
        let (status, problem) = who.refused(method.clone(), &path, body).await.with_context(|| format!("{method} {path}"))?;
        ensure!(problem["reason"] == reason, "{method} {path}: {status} {problem}, expected {reason}");
    }
    cluster.stop().await
}
