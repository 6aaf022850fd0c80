//! Answers of Tailwind that a request has: the page is the same as without them, and the tool runs only if it has to.

use bytes::Bytes;
use compiler_client::message::{Answer, Request, Tool, ToolOutput};

use crate::{
    support::{brief, compile, file},
    tailwind::{complete, sheet},
};

const MANIFEST: (&str, &str) = ("package.json", r#"{"devDependencies": {"tailwindcss": "^4.0.0"}}"#);
/// A plugin that remembers how often it has run.
const PLUGIN: &str = "globalThis.runs = (globalThis.runs ?? 0) + 1;\n\
                      export default function ({ addUtilities }) { addUtilities({ '.counted': { order: String(globalThis.runs) } }); }\n";

fn project<'f>(main: &'f str, second: &'f str) -> Vec<(&'f str, &'f str)> {
    vec![
        MANIFEST,
        ("src/main.ts", main),
        ("src/one.css", "@import 'tailwindcss/utilities';\n@plugin './count.js';\n"),
        ("src/two.css", second),
        ("src/count.js", PLUGIN),
    ]
}

const MAIN: &str = "import './one.css'; import './two.css';\nexport const name = 'p-4 counted';\n";
const SECOND: &str = "@import 'tailwindcss/utilities';\n@plugin './count.js';\np { color: red }\n";

/// The request with other files, the outputs, and tools that fail whenever they run.
fn without_tools(request: &Request, outputs: &[ToolOutput]) -> Request {
    let broken = |tool: &Tool| Tool { code: Bytes::new(), ..tool.clone() };
    Request { tools: request.tools.iter().map(broken).collect(), tool_outputs: outputs.to_vec(), ..request.clone() }
}

fn with(request: &Request, path: &str, text: &str) -> Request {
    let mut request = request.clone();
    for other in request.files.iter_mut().filter(|other| other.path == path) {
        *other = file(path, text.as_bytes());
    }
    request
}

/// All but the outputs.
fn page(answer: &Answer) -> Answer {
    Answer { tool_outputs: Vec::new(), ..answer.clone() }
}

#[test]
fn a_page_whose_words_are_the_same_needs_no_run() {
    let (request, first) = complete(&project(MAIN, SECOND));
    assert_eq!(brief(&first.findings), Vec::<String>::new());
    assert_eq!(first.tool_outputs.len(), 2, "one for each sheet");
    let again = compile(without_tools(&request, &first.tool_outputs));
    assert_eq!(page(&again), page(&first));
    assert_eq!(again.tool_outputs, []);
    // An import more, and the same words.
    let other = with(&request, "src/main.ts", &format!("{MAIN}import './two.css';\n"));
    assert_eq!(page(&compile(without_tools(&other, &first.tool_outputs))), page(&compile(other)));
}

#[test]
fn whatever_changes_the_rules_changes_the_key() {
    let (request, first) = complete(&project(MAIN, SECOND));
    let other_tool =
        Request { tools: request.tools.iter().map(|tool| Tool { id: "other".to_owned(), ..tool.clone() }).collect(), ..request.clone() };
    for (what, other) in [
        ("a class", with(&request, "src/main.ts", &MAIN.replace("p-4", "p-5"))),
        ("the page", with(&request, "index.html", "<!doctype html><script type=module src=/src/main.ts></script><p class=m-1>")),
        ("the sheet", with(&request, "src/one.css", "@import 'tailwindcss/utilities';\n@plugin './count.js';\nb { color: red }\n")),
        ("a plugin", with(&request, "src/count.js", &PLUGIN.replace("order:", "'z-index':"))),
        ("the tool", other_tool),
    ] {
        let refused = compile(without_tools(&other, &first.tool_outputs));
        assert!(brief(&refused.findings).iter().any(|found| found.starts_with("TOOL_FAILED")), "{what}: {:?}", brief(&refused.findings));
        let given = compile(Request { tool_outputs: first.tool_outputs.clone(), ..other.clone() });
        assert_eq!(page(&given), page(&compile(other)), "{what}");
    }
}

#[test]
fn a_plugin_that_remembers_its_runs_sees_those_that_were_skipped() {
    let (request, first) = complete(&project(MAIN, SECOND));
    assert!(sheet(&first, "src/one.css").contains("order: 1") && sheet(&first, "src/two.css").contains("order: 2"));
    let other = with(&request, "src/two.css", &SECOND.replace("red", "blue"));
    let given = compile(Request { tool_outputs: first.tool_outputs.clone(), ..other.clone() });
    assert!(sheet(&given, "src/two.css").contains("order: 2"), "{}", sheet(&given, "src/two.css"));
    assert_eq!(page(&given), page(&compile(other)));
    assert_eq!(given.tool_outputs.len(), 1);
}

#[test]
fn an_output_that_is_damaged_is_not_used() {
    let (request, first) = complete(&project(MAIN, SECOND));
    let damaged = first.tool_outputs.iter().map(|output| ToolOutput { text: "{".to_owned(), ..output.clone() }).collect();
    assert_eq!(page(&compile(Request { tool_outputs: damaged, ..request })), page(&first));
}
