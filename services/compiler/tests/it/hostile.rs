//! Hostile sources in workers. Each has an answer or a typed error before its deadline, and the caller goes on.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use compiler_client::{
    message::Request,
    worker::{Error, PROCESSOR_TIME, Workers},
};

use crate::support::{FILE_TIME, bounded, brief, request, workers};

/// The processor time of a file without an end. Without optimization the limits of the process are several times as long: the kernel may count
/// ticks, which differ on a busy machine from the processor time that the worker reads.
const ENDLESS_TIME: Duration = if cfg!(debug_assertions) { Duration::from_millis(500) } else { FILE_TIME };

/// Runs one worker. In the release profile, in which `make fuzz` runs these tests, the kernel kills it after three seconds of processor time.
async fn run(files: &[(&str, &str)]) -> Result<Vec<String>, Error> {
    bounded().compile(&request(files)).await.map(|answer| brief(&answer.findings))
}

fn page_with<'f>(path: &'f str, text: &'f str) -> [(&'f str, &'f str); 2] {
    [("index.html", "<script type=module src=/src/main.tsx></script>"), (path, text)]
}

/// Shapes that nest, with the text that opens, in the middle and that closes.
const NESTED: &[(&str, &str, &str, &str)] = &[
    ("src/main.tsx", "(", "1", ")"),
    ("src/main.tsx", "[", "", "]"),
    ("src/main.tsx", "{", "", "}"),
    ("src/main.tsx", "({a:", "1", "})"),
    ("src/main.tsx", "<a>", "b", "</a>"),
    ("src/main.tsx", "`${", "1", "}`"),
    ("src/main.tsx", "function f(){", "", "}"),
    ("src/main.tsx", "class A{a=", "1", "}"),
    ("src/main.tsx", "!", "1", ""),
    ("src/main.tsx", "- ", "1", ""),
    ("src/main.tsx", "new ", "a", ""),
    ("src/main.tsx", "a=>", "1", ""),
    ("src/main.tsx", "a?b:", "c", ""),
    ("src/main.tsx", "if(a)", ";", ""),
    ("src/main.tsx", "a:", ";", ""),
    ("src/main.tsx", "1+", "1", ""),
    ("src/main.tsx", "a=", "1", ""),
    ("src/main.tsx", "a.b(", "1", ")"),
    ("src/main.tsx", "", "a", ".b"),
    ("src/main.tsx", "", "a", "()"),
    ("src/main.tsx", "", "a", "`b`"),
    ("src/main.tsx", "a**", "1", ""),
    ("src/main.tsx", "await ", "1", ""),
    ("src/main.tsx", "let a:", "b", ""),
    ("src/main.tsx", "type A=B<", "c", ">"),
    ("src/main.tsx", "type A=()=>", "c", ""),
    ("src/main.tsx", "namespace A.", "b{}", ""),
    ("src/main.tsx", "/(?:", "a", ")/"),
    ("src/a.css", "a{", "", "}"),
    ("src/a.css", "@media print{", "", "}"),
    ("src/a.css", ":not(", "a", "){}"),
    ("src/a.css", "a{b:calc(", "1", ")}"),
    ("src/a.json", "[", "", "]"),
    ("index.html", "<div>", "", "</div>"),
    ("index.html", "<svg><math>", "", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_has_an_answer_or_a_full_stack() {
    let mut unexpected = Vec::new();
    for (path, open, middle, close) in NESTED {
        for depth in [1_000, 20_000] {
            let text = open.repeat(depth) + middle + &close.repeat(depth);
            match run(&page_with(path, &text)).await {
                Ok(_) => {}
                // Brackets are counted before a parser reads them.
                Err(Error::StackOverflow { .. }) if depth == 20_000 && !open.contains(['(', '[', '{']) => {}
                Err(error) => unexpected.push(format!("{path} {open}{middle}{close} {depth}: {error}")),
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert!(run(&[("index.html", "<p>")]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_have_an_answer_or_a_full_memory() {
    let bombs = [
        ("src/main.tsx", "{".repeat(200 << 10)),
        ("src/main.tsx", format!("{}{}", "{".repeat(100 << 10), "}".repeat(100 << 10))),
        ("src/main.tsx", format!("/{}/.test(x)", "(a*)*".repeat(20 << 10))),
        ("src/main.tsx", format!("/[{}]/v", "a-z&&[".repeat(5_000))),
        ("src/main.tsx", "a".repeat(3 << 20)),
        ("src/main.tsx", "x;".repeat(1 << 20)),
        ("src/main.tsx", format!("let {};", (0..100_000).map(|at| format!("a{at}")).collect::<Vec<_>>().join(","))),
        ("src/main.tsx", "import './a';".repeat(100_000)),
        ("src/main.tsx", "\u{0}\u{feff}\u{2028}".repeat(100_000)),
        ("src/main.tsx", "enum A { a = 1 << 30, b = a ** a, }".repeat(10_000)),
        ("src/main.tsx", "import.meta.glob('./**/*{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}');".repeat(100)),
        ("src/a.css", "a{b:c}".repeat(500_000)),
        ("src/a.css", format!("{}{{a:b}}", "a,".repeat(500_000))),
        ("src/a.css", format!("a{{{}}}", "&,&{".repeat(700))),
        ("src/a.css", "@import 'a.css';".repeat(100_000)),
        ("src/a.css", (0..20_000).map(|at| format!("a{at}{{b:url(c{at})}}")).collect()),
        (".env", (0..1000).map(|at| format!("VITE_{}=${{VITE_{at}}}${{VITE_{at}}}\n", at + 1)).collect()),
        ("package.json", format!("{{\"dependencies\":{{{}}}}}", "\"a\":1,".repeat(100_000))),
        ("tsconfig.json", "{\"extends\":\"./tsconfig.json\",\"references\":[{\"path\":\".\"}]}".to_owned()),
        ("index.html", "<script type=module>a</script>".repeat(20_000)),
        ("index.html", format!("<a {}>", "b=c ".repeat(500_000))),
    ];
    let mut unexpected = Vec::new();
    for (at, (path, text)) in bombs.iter().enumerate() {
        // Half a million rules are larger than a worker, in a build without optimization.
        let may_be_full = text.starts_with("a{b:c}");
        match run(&page_with(path, text)).await {
            Ok(_) => {}
            Err(Error::OutOfMemory { .. }) if may_be_full => {}
            Err(error) => unexpected.push(format!("bomb {at} in {path}: {error}")),
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// Each sheet imports the next one twice: 2^60 sheets, if none was remembered.
#[tokio::test(flavor = "multi_thread")]
async fn style_sheets_that_import_each_other_are_generated_once() {
    let page = "<link rel=stylesheet href=/a0.css>".to_owned();
    let mut files = vec![("index.html".to_owned(), page), ("a60.css".to_owned(), "@import './a0.css'; b { c: d }".to_owned())];
    files.extend((0..60).map(|at| (format!("a{at}.css"), format!("@import './a{}.css'; @import './a{}.css' print;", at + 1, at + 1))));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let answer = bounded().compile(&request(&files)).await.expect("an answer");
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let sheets: Vec<_> = answer.resources.iter().filter(|resource| resource.url.ends_with(".css")).collect();
    assert_eq!(sheets.len(), 61);
    let last = sheets.iter().find(|sheet| sheet.text.contains("c: d")).expect("the last sheet");
    assert!(last.text.contains("data:text/css,"), "a sheet that imports itself gets an empty one: {}", last.text);
}

/// A module of a page that starts many workers, which import each other.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_import_each_other_are_generated_once() {
    let main: String = (0..60).map(|at| format!("import A{at} from './w{at}?worker'; new A{at}();")).collect();
    let mut files = vec![("index.html".to_owned(), "<script type=module src=/main.js></script>".to_owned()), ("main.js".to_owned(), main)];
    let imports: String = (0..60).map(|at| format!("import './w{at}'; import W{at} from './w{at}?worker'; W{at};")).collect();
    files.extend((0..60).map(|at| (format!("w{at}.js"), imports.clone())));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let answer = bounded().compile(&request(&files)).await.expect("an answer");
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    // The scripts, and what starts them.
    assert_eq!(answer.resources.len(), 120);
}

/// The printer counts the columns of nested rules in one byte.
#[tokio::test(flavor = "multi_thread")]
async fn nested_rules_that_are_too_deep_are_a_finding() {
    for (depth, expected) in
        [(100, Vec::new()), (101, vec!["NESTED_TOO_DEEPLY src/a.css:1:1"]), (1_000, vec!["NESTED_TOO_DEEPLY src/a.css:1:1"])]
    {
        let text = "a{".repeat(depth) + "b:c" + &"}".repeat(depth);
        assert_eq!(run(&[("index.html", "<p>"), ("src/a.css", &text)]).await.expect("an answer"), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brackets_that_are_too_deep_are_a_finding_and_an_overflow_names_its_file() {
    let found = run(&page_with("src/main.tsx", &"(".repeat(5_000))).await.expect("an answer");
    assert_eq!(found, ["NESTED_TOO_DEEPLY src/main.tsx:1:1"]);
    let error = run(&page_with("src/main.tsx", &("!".repeat(1_000_000) + "1"))).await.expect_err("a full stack");
    assert!(matches!(&error, Error::StackOverflow { file: Some(file) } if file == "src/main.tsx"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_killed_at_its_deadline_and_a_missing_executable_is_an_error() {
    // A program that waits for input that it never gets.
    let folder = tempfile::tempdir().expect("a folder");
    let silent = folder.path().join("silent");
    std::fs::write(&silent, "#!/bin/sh\nexec sleep 1000\n").expect("a script");
    std::fs::set_permissions(&silent, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let silent = Workers { deadline: Duration::from_millis(100), executable: silent, ..workers() };
    assert!(matches!(silent.compile(&Request::default()).await, Err(Error::Timeout { .. })));
    let missing = Workers { executable: "/nonexistent/compiler".into(), ..workers() };
    assert!(matches!(missing.compile(&Request::default()).await, Err(Error::Start(_))));
    // A program that ends at once without an answer.
    let program = ["/bin/true", "/usr/bin/true"].into_iter().find(|path| std::path::Path::new(path).exists()).expect("a program");
    let other = Workers { executable: program.into(), ..workers() };
    assert!(matches!(other.compile(&request(&[("a", &"a".repeat(1 << 20))])).await, Err(Error::Crash { .. })));
}

/// The worker ends itself before the kernel does, which would leave another error.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_an_end_is_named_before_the_kernel_ends_its_worker() {
    let main = ("src/main.tsx", "import './a.scss';");
    let files = [page_with(main.0, main.1).as_slice(), &[("src/a.scss", "@use 'b';"), ("src/_b.scss", "@while true {}")]].concat();
    let workers = Workers { file_time: ENDLESS_TIME, ..bounded() };
    let error = workers.compile(&request(&files)).await.expect_err("no answer");
    assert!(matches!(&error, Error::Timeout { deadline: ENDLESS_TIME, file: Some(file) } if file == "src/a.scss"), "{error}");
}

/// The limit of a process is reported by the signal that ends it. The shell has a limit of one second.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_processor_time_has_not_crashed() {
    let folder = tempfile::tempdir().expect("a folder");
    let busy = folder.path().join("busy");
    std::fs::write(&busy, "#!/bin/sh\nulimit -St 1\nwhile :; do :; done\n").expect("a script");
    std::fs::set_permissions(&busy, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let busy = Workers { executable: busy, ..workers() };
    let error = busy.compile(&Request::default()).await.expect_err("no answer");
    assert!(matches!(error, Error::Timeout { deadline: PROCESSOR_TIME, .. }), "{error}");
}
