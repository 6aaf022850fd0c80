//! Trees as requests.

use std::{path::PathBuf, process::Command, sync::LazyLock, time::Duration};

use bytes::Bytes;
use compiler_client::{
    message::{Answer, Facts, File, Finding, Request, facts::Kind, finding::MAX_FINDINGS},
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

/// The text of a script whose warnings are more than an answer has room for. It reads absent classes of `a.module.css`.
pub(crate) fn many_warnings() -> String {
    let uses: String = (0..MAX_FINDINGS + 5).map(|at| format!("s.c{at};\n")).collect();
    format!("import s from './a.module.css';\n{uses}")
}

/// Code, file and place of each finding.
pub(crate) fn brief(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|found| format!("{} {}:{}:{}", found.code, found.file, found.line, found.column)).collect()
}

/// The processor time of a file, as the service has it without a setting.
pub(crate) const FILE_TIME: Duration = Duration::from_millis(2_500);
/// Seconds of processor time in which each hostile file is answered. Without optimization the limits of the worker itself come long before.
const MOST: u32 = if cfg!(debug_assertions) { 60 } else { 3 };

/// Workers with the executable of this build. On a busy machine, too, the limits of processor time end a worker before this deadline.
pub(crate) fn workers() -> Workers {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_backlot-compiler"));
    Workers { executable, deadline: Duration::from_secs(600), file_time: FILE_TIME }
}

/// As [`workers`]. The kernel kills one after [`MOST`] seconds of processor time, and then the answer is a crash.
pub(crate) fn bounded() -> Workers {
    static SCRIPT: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bounded");
        let text = format!("#!/bin/sh\nulimit -t {MOST}\nexec {} \"$@\"\n", workers().executable.display());
        // A shell writes it: a process that another test starts meanwhile could hold an open file of this one, which then cannot be executed.
        let write = "printf %s \"$1\" > \"$0.$$\" && chmod 755 \"$0.$$\" && mv \"$0.$$\" \"$0\"";
        let status = Command::new("/bin/sh").args(["-c", write]).arg(&path).arg(text).status().expect("a shell");
        assert!(status.success(), "the script cannot be written");
        path
    });
    Workers { executable: SCRIPT.clone(), ..workers() }
}
