//! The contract lists every reason of an error.

use std::{collections::BTreeSet, fs};

use house::{
    root,
    source::{File, files, names, sources},
};

/// The contract lists every reason: each service lists the reasons of the stack as well, and the gateway's are in its OpenAPI document.
#[test]
fn every_reason_of_an_error_is_promised() {
    let (sources, stack) = (sources(), "services/chassis/src/");
    // A refusal by rate-limit is an answer there and an error at its callers.
    let of_stack = reasons(&sources, |path| path.starts_with(stack) && path != "services/chassis/src/limit.rs");
    assert!(of_stack.contains("CALLER_DENIED"), "{of_stack:?}");
    for service in ["auth", "agent-streaming", "project-storage", "rate-limit"] {
        let folder = format!("proto/backlot/{}/", service.replace('-', "_"));
        let contract: String =
            files(|path| path.starts_with(&folder) && path.ends_with(".proto")).into_iter().map(|file| file.text).collect();
        let own = reasons(&sources, |path| path.starts_with(&format!("services/{service}/src/")));
        let missing: Vec<_> = own.union(&of_stack).filter(|reason| !names(&contract, reason)).collect();
        assert!(!own.is_empty() && missing.is_empty(), "{service}: {missing:?} of {own:?}");
    }
    let description = fs::read_to_string(root().join("gateway/src/web/openapi/answers.rs")).expect("answers.rs");
    let missing: Vec<_> =
        reasons(&sources, |path| path.starts_with("gateway/src/")).into_iter().filter(|r| !names(&description, r)).collect();
    assert!(missing.is_empty(), "gateway: {missing:?}");
}

/// The reasons that source files give to errors.
fn reasons(sources: &[File], wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in sources.iter().filter(|file| wanted(&file.path)) {
        let code = file.own();
        // In a pattern the code is the first element of a tuple, otherwise the argument of a call.
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
