//! Row A19 of the test programme for gRPC: each RPC of each service, with a hostile text in each of its fields in turn.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use backlot::role::Role;
use chassis::{
    client::CALLER_HEADER,
    config::Env,
    identity::{Caller, Signer},
    secret::ClusterSecret,
};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value, prost::Message as _};
use proto::error::Fault;
use test_support::{Person, contract, grpc, process::Process};
use tonic::{Code, Status};

/// The fewest calls, so that a mistake in the walk of the contract is noticed.
const MIN_CALLS: usize = 200;

/// What only the server knows: places in its source, stacks, drivers, folders, statements, and errors of PostgreSQL and Redis. In lower case.
pub(crate) const INTERNALS: [&str; 22] = [
    ".rs:",
    "panicked",
    "backtrace",
    "sqlx",
    "/root/",
    "/tmp/",
    "postgres://",
    "redis://",
    "select count",
    "select id",
    "select exists",
    "select coalesce",
    "insert into",
    "delete from",
    "returning id",
    "on conflict",
    "constraint",
    "sqlstate",
    "duplicate key",
    "relation \"",
    "column \"",
    "wrongtype",
];

/// Texts that break lines, colour and move in a terminal, or hide.
pub(crate) const TEXTS: [&str; 10] = [
    "\r\nFORGED level=error",
    "\nFORGED {\"level\":\"ERROR\"}",
    "\rFORGED",
    "\u{1b}[2J\u{1b}[31mFORGED",
    "\u{1b}]0;FORGED\u{7}",
    "\u{9b}31mFORGED",
    "\u{85}FORGED\u{2028}FORGED\u{2029}FORGED",
    "\0FORGED\u{8}\u{8}\u{7f}",
    "\u{202e}DEGROF\u{2066}",
    "%0d%0aFORGED%1b[31m' OR 1=1 --",
];

/// Whether a terminal could obey the character. A line break ends a line of the log.
pub(crate) fn controls(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What is wrong with the answers. Public RPCs are called as a program calls them, others as the first role that may.
pub(crate) async fn problems(process: &Process, data: &Path) -> Result<Vec<String>> {
    let bearer = format!("Bearer {}", Person::sign_up(&process.url).await?.access_token().await?);
    let secret = ClusterSecret::read_root(&mut Env::of([("BACKLOT_DATA_DIR", data.to_string_lossy())]));
    let (rpcs, mut found, mut calls) = (contract::rpcs(), Vec::new(), 0);
    for role in Role::SERVICES {
        let me = Caller::named(role.name()).context("a caller")?;
        let channel = grpc::connect(process.grpc.get(&camel(role.name())).context(role.name())?).await?;
        for rpc in rpcs.iter().filter(|rpc| grpc::service_of(rpc) == role.name()) {
            let rule = role.rules().iter().find(|rule| rule.rpc == rpc.name()).with_context(|| rpc.full_name().to_owned())?;
            let caller = rule.callers.first().filter(|_| !rule.callers.contains(&Caller::Direct));
            let token = caller.map(|from| Signer::new(*from, &secret).sign(me, None)).transpose()?;
            // A stream that waits for events ends by itself.
            let mut headers = vec![("authorization", bearer.as_str()), ("grpc-timeout", "5S")];
            headers.extend(token.as_deref().map(|token| (CALLER_HEADER, token)));
            for field in rpc.input().fields().filter(|field| matches!(field.kind(), Kind::String)) {
                let answer = grpc::call(channel.clone(), rpc, with_text(rpc, &field, TEXTS[calls % TEXTS.len()]), &headers).await;
                let problem = answer.err().and_then(|status| problem_of(&status));
                found.extend(problem.map(|problem| format!("{}.{}: {problem}", rpc.full_name(), field.name())));
                calls += 1;
            }
        }
    }
    ensure!(calls >= MIN_CALLS, "{calls} calls");
    Ok(found)
}

/// The name of a role in the list of endpoints: `agentStreaming`.
fn camel(name: &str) -> String {
    let (first, rest) = name.split_once('-').unwrap_or((name, ""));
    first.chars().chain(rest.chars().take(1).flat_map(char::to_uppercase)).chain(rest.chars().skip(1)).collect()
}

/// A request with only this text.
fn with_text(rpc: &MethodDescriptor, field: &FieldDescriptor, text: &str) -> Vec<u8> {
    let mut message = DynamicMessage::new(rpc.input());
    let value = Value::String(text.to_owned());
    message.set_field(field, if field.is_list() { Value::List(vec![value]) } else { value });
    message.encode_to_vec()
}

fn problem_of(status: &Status) -> Option<String> {
    let fault = Fault::from_status(status);
    let violations = fault.violations.iter().flat_map(|violation| [violation.field.as_str(), violation.description.as_str()]);
    let text = std::iter::once(fault.message.as_str()).chain(violations).collect::<Vec<_>>().join(" ");
    let lower = text.to_lowercase();
    let shown: Vec<_> = INTERNALS.iter().filter(|part| lower.contains(**part)).collect();
    let raw = text.chars().any(|c| c == '\n' || controls(c));
    let is_internal = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss) || !fault.domain.ends_with(".backlot.dev");
    (is_internal || raw || !shown.is_empty())
        .then(|| format!("{:?}, raw control characters: {raw}, internals: {shown:?}: {text:.300}", status.code()))
}
