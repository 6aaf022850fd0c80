//! The contract lists the reason of every error.

use std::{collections::BTreeSet, fs};

use house::{
    root,
    source::{File, files, names, sources},
};

/// The protos of a service list its reasons and those of chassis. The OpenAPI document lists the reasons of the gateway.
#[test]
fn the_contract_lists_every_reason() {
    let (sources, chassis) = (sources(), "services/chassis/src/");
    // A refusal of rate-limit is an ordinary answer there, and an error at the gateway. The ends of streams and of sessions are of the services
    // that use them.
    let (ends, sessions) = ("services/chassis/src/tail/end.rs", "services/chassis/src/revocations.rs");
    let others = [ends, sessions, "services/chassis/src/limit.rs"];
    // What tests use answers as another service.
    let is_of_chassis =
        |path: &str| path.starts_with(chassis) && !path.starts_with("services/chassis/src/testing") && !others.contains(&path);
    let of_chassis = reasons(&sources, is_of_chassis);
    let (of_streams, of_sessions) = (reasons(&sources, |path| path == ends), reasons(&sources, |path| path == sessions));
    assert!(of_chassis.contains("CALLER_DENIED") && of_streams.contains("SLOW_READER"), "{of_chassis:?} {of_streams:?}");
    assert!(of_sessions.contains("SESSION_ENDED"), "{of_sessions:?}");
    for service in ["auth", "agent-streaming", "project-storage", "rate-limit", "compile"] {
        let folder = format!("proto/backlot/{}/", service.replace('-', "_"));
        let contract: String =
            files(|path| path.starts_with(&folder) && path.ends_with(".proto")).into_iter().map(|file| file.text).collect();
        let source = format!("services/{service}/src/");
        let mut own = reasons(&sources, |path| path.starts_with(&source));
        if sources.iter().any(|file| file.path.starts_with(&source) && file.own().contains("StreamEnd::")) {
            own.extend(of_streams.clone());
        }
        if sources.iter().any(|file| file.path.starts_with(&source) && file.own().contains(".refuse_ended_sessions(")) {
            own.extend(of_sessions.clone());
        }
        let missing: Vec<_> = own.union(&of_chassis).filter(|reason| !names(&contract, reason)).collect();
        assert!(!own.is_empty() && missing.is_empty(), "{service}: {missing:?} of {own:?}");
    }
    let description = fs::read_to_string(root().join("gateway/src/web/openapi/responses.rs")).expect("responses.rs");
    let missing: Vec<_> =
        reasons(&sources, |path| path.starts_with("gateway/src/")).into_iter().filter(|r| !names(&description, r)).collect();
    assert!(missing.is_empty(), "gateway: {missing:?}");
}

/// Finds the reasons that the source files pass to errors.
fn reasons(sources: &[File], is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in sources.iter().filter(|file| is_wanted(&file.path)) {
        let code = file.own();
        // In a pattern the code is the first element of a tuple. Otherwise it is the argument of a call.
        let in_pattern = |at: usize| code[..at].strip_suffix('(').is_some_and(|before| !before.ends_with(char::is_alphanumeric));
        let calls = code.match_indices("ErrorCode::").filter(|(at, _)| !in_pattern(*at));
        let made = calls.filter_map(|(at, _)| code[at..].split_once(',')).map(|(_, rest)| rest.trim_start());
        let tools = code.split("Refusal::new(").skip(1).map(str::trim_start);
        let arms = if file.path.starts_with("services/") && file.path.ends_with("/error.rs") {
            code.split("=> ").skip(1).collect()
        } else {
            Vec::new()
        };
        let quoted = made.chain(tools).chain(arms).filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
        found.extend(quoted.filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')).map(str::to_owned));
    }
    found
}
