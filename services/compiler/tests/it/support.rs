//! Trees as requests.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use compiler_client::{
    message::{Answer, Facts, File, Finding, Request, facts::Kind},
    worker::Workers,
};
use prost::Message as _;

/// A request with these files, with every content.
pub(crate) fn request(files: &[(&str, &str)]) -> Request {
    Request { files: files.iter().map(|(path, content)| file(path, content.as_bytes())).collect(), check_all: true, ..Request::default() }
}

pub(crate) fn file(path: &str, content: &[u8]) -> File {
    let id = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    File { path: path.to_owned(), id: format!("{id:016x}"), size: content.len() as u64, content: Some(content.to_vec().into()) }
}

pub(crate) fn compile(request: Request) -> Answer {
    compiler::compile::compile(request, &mut |_| ())
}

/// Compiles a page with one script and these files.
pub(crate) fn answer(files: &[(&str, &str)]) -> Answer {
    let mut all = vec![("index.html", "<!doctype html><head></head><script type=module src=/src/main.tsx></script>")];
    all.retain(|(path, _)| !files.iter().any(|(other, _)| other == path));
    all.extend_from_slice(files);
    compile(request(&all))
}

/// Compiles a page with one script and these files, with the tools.
pub(crate) fn answer_with_tools(files: &[(&str, &str)]) -> Answer {
    let mut all = vec![("index.html", "<!doctype html><head></head><script type=module src=/src/main.ts></script>")];
    all.retain(|(path, _)| !files.iter().any(|(other, _)| other == path));
    all.extend_from_slice(files);
    compile(Request { tools: crate::tools::all(), ..request(&all) })
}

/// What the next request may know of an answer.
pub(crate) fn known(answer: &Answer) -> Vec<Bytes> {
    let facts = answer.modules.iter().filter_map(|module| module.facts.as_ref());
    // A module that depends on the whole page has no key, and is not kept.
    facts.filter(|facts| !facts.key.is_empty()).map(|facts| facts.encode_to_vec().into()).collect()
}

/// The code of a module.
pub(crate) fn code<'a>(answer: &'a Answer, path: &str) -> &'a str {
    code_of(answer, path, Kind::Module)
}

pub(crate) fn code_of<'a>(answer: &'a Answer, path: &str, kind: Kind) -> &'a str {
    let is_it = |facts: &Facts| facts.path == path && facts.kind() == kind;
    let module = answer.modules.iter().find(|module| module.facts.as_ref().is_some_and(is_it));
    &module.unwrap_or_else(|| panic!("no module {path} in {:#?}", answer.findings)).code
}

/// Code, file and place of each finding.
pub(crate) fn brief(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|found| format!("{} {}:{}:{}", found.code, found.file, found.line, found.column)).collect()
}

/// Workers with the executable of this build. On a busy machine, too, the limit of processor time ends a worker before this deadline.
pub(crate) fn workers() -> Workers {
    Workers { executable: PathBuf::from(env!("CARGO_BIN_EXE_backlot-compiler")), deadline: Duration::from_secs(600) }
}
