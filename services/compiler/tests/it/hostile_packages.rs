//! Hostile packages in workers that bundle them, and that build a site with them. Each has an answer or a typed error. A worker that bundles has no
//! limit for one file and 20 seconds of processor time, but in the release profile, in which `make fuzz` runs these tests, the kernel kills it after
//! three, as it kills the workers of hostile sources.

use compiler_client::{
    message::{File, PackagesRequest, Request, SiteRequest},
    worker::Error,
};

use crate::support::{bounded, file};

/// A large number of bytes on one line.
const LINE: usize = 48 << 20;
const MIB: usize = 1 << 20;

/// What is bundled, and what may come out in place of an answer.
struct Case {
    name: &'static str,
    specifier: &'static str,
    files: Vec<(String, String)>,
    allowed: fn(&Error) -> bool,
}

impl Case {
    fn new(name: &'static str, files: Vec<(String, String)>, allowed: fn(&Error) -> bool) -> Self {
        let specifier = if files.iter().any(|(path, _)| path == "index.css") { "p/index.css" } else { "p" };
        Self { name, specifier, files, allowed }
    }

    /// One with a single file.
    fn of(name: &'static str, text: String, allowed: fn(&Error) -> bool) -> Self {
        Self::new(name, vec![("index.js".to_owned(), text)], allowed)
    }

    fn packages(&self) -> Vec<File> {
        self.files.iter().map(|(path, text)| file(&format!("node_modules/p/{path}"), text.as_bytes())).collect()
    }

    /// What two kinds of workers say.
    async fn outcomes(&self) -> [Result<(), Error>; 2] {
        let specifiers = vec![self.specifier.to_owned()];
        let bundle = PackagesRequest { files: self.packages(), specifiers, ..PackagesRequest::default() };
        let tree = [
            ("index.html", "<script type=module src=/main.js></script>".to_owned()),
            ("package.json", r#"{"dependencies": {"p": "1"}}"#.to_owned()),
            ("main.js", format!("import '{}';", self.specifier)),
        ];
        let files = tree.iter().map(|(path, text)| file(path, text.as_bytes())).collect();
        let site = SiteRequest { tree: Some(Request { files, ..Request::default() }), packages: self.packages() };
        [bounded().bundle(&bundle).await.map(drop), bounded().build_site(&site).await.map(drop)]
    }
}

fn never(_: &Error) -> bool {
    false
}

fn full_stack(error: &Error) -> bool {
    matches!(error, Error::StackOverflow { .. })
}

fn full_memory(error: &Error) -> bool {
    matches!(error, Error::OutOfMemory { .. })
}

/// Files `f0` and so on, each with the text for its number, and one that imports the first of them.
fn many(count: usize, extension: &str, first: &str, text: impl Fn(usize) -> String) -> Vec<(String, String)> {
    let own = (0..count).map(|at| (format!("f{at}.{extension}"), text(at)));
    own.chain([(format!("index.{extension}"), first.to_owned())]).collect()
}

fn cases() -> Vec<Case> {
    let circle = |at: usize, count: usize| ((at + 1) % count, (at * 7) % count);
    let modules = |at: usize| {
        let (next, other) = circle(at, 200);
        format!("export * from './f{next}.js'; import './f{other}.js'; export const a{at} = 1;")
    };
    let commonjs = |at: usize| {
        let (next, other) = circle(at, 200);
        format!("exports.a{at} = 1; module.exports = require('./f{next}.js'); require('./f{other}.js');")
    };
    let sheets = |at: usize| format!("@import './f{0}.css'; @import './f{0}.css' print;", (at + 1) % 60);
    let all: String = (0..8).map(|at| format!("import './f{at}.js';")).collect();
    vec![
        Case::of("brackets", format!("x={}{}", "[".repeat(3_000), "]".repeat(3_000)), never),
        Case::of("operators before a value", format!("x={}1", "!".repeat(MIB)), full_stack),
        Case::of("operators between values", format!("x={}1", "1+".repeat(MIB)), full_stack),
        Case::of("conditions", format!("{};", "if(a)".repeat(300_000)), full_stack),
        Case::new("rules", vec![("index.css".to_owned(), "a{".repeat(100_000) + &"}".repeat(100_000))], never),
        Case::of("a list on one line", format!("exports.a=[{}1]", "1,".repeat(LINE / 2)), never),
        Case::of("a text on one line", format!("exports.a='{}'", "a".repeat(LINE)), never),
        Case::new("lines of calls", many(8, "js", &all, |_| "x();".repeat(MIB / 4)), full_memory),
        Case::new("a circle of modules", many(200, "js", "export * from './f0.js'", modules), never),
        Case::new("a circle of CommonJS", many(200, "js", "module.exports = require('./f0.js')", commonjs), never),
        Case::new("a circle of style sheets", many(60, "css", "@import './f0.css';", sheets), never),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_packages_have_an_answer_or_a_typed_error() {
    let mut unexpected = Vec::new();
    for case in cases() {
        let outcomes = case.outcomes().await;
        for (worker, outcome) in ["bundle", "site"].into_iter().zip(outcomes) {
            if let Err(error) = outcome
                && !(case.allowed)(&error)
            {
                unexpected.push(format!("{worker} of {}: {error}", case.name));
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// Each sheet imports the next one twice: 2^20 sheets, if only their depth was bounded.
#[tokio::test(flavor = "multi_thread")]
async fn style_sheets_that_import_each_other_end_in_a_site() {
    let import = |at: usize| format!("@import './f{0}.css' screen; @import './f{0}.css' print; i {{ color: red }}", at + 1);
    let mut files = vec![("index.html".to_owned(), "<link rel=stylesheet href=/f0.css>".to_owned()), ("f60.css".to_owned(), String::new())];
    files.extend((0..60).map(|at| (format!("f{at}.css"), import(at))));
    let files = files.iter().map(|(path, text)| file(path, text.as_bytes())).collect();
    let site = SiteRequest { tree: Some(Request { files, ..Request::default() }), ..SiteRequest::default() };
    let answer = bounded().build_site(&site).await.expect("a site");
    assert!(!answer.files.is_empty(), "{:#?}", answer.findings);
}
