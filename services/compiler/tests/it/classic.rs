//! Scripts of a page that are no modules: what they define is known, or may be.

use crate::support::{answer, brief, compile, request};

/// The findings of a module that uses some names, in a page with scripts. A star marks a warning.
fn found(scripts: &str, module: &str) -> Vec<String> {
    let page = format!("<!doctype html><head>{scripts}</head><script type=module src=/src/main.tsx></script>");
    let answer = answer(&[
        ("index.html", &page),
        ("package.json", r#"{"dependencies":{"react":"19","charts":"1"}}"#),
        ("public/lib.js", "(function (root, factory) { root.Lib = factory() })(this, function () { return {} });\nvar helper = 1;\n"),
        ("src/other.tsx", "import { Chart } from 'charts';\nexport const other = Chart;\n"),
        ("src/main.tsx", module),
    ]);
    let starred = answer.findings.iter().map(|found| if found.is_warning { "*" } else { "" });
    starred.zip(brief(&answer.findings)).map(|(star, found)| format!("{star}{found}")).collect()
}

#[test]
fn names_of_scripts_whose_text_is_known_are_defined() {
    let own = "<script src=/lib.js></script><script>function track() {} let mode; window.api = {}; implicit = 1</script>";
    let known = "export default [Lib, helper, track, mode, api, implicit];\n";
    assert_eq!(found(own, known), Vec::<String>::new());
    assert_eq!(found("<script src=/lib.js></script>", "export default [Lib, track];\n"), ["UNDEFINED_NAME src/main.tsx:1:22"]);
    assert_eq!(found("<script>{ let track }</script>", "export default track;\n"), ["UNDEFINED_NAME src/main.tsx:1:16"]);
    // Data is no script.
    assert_eq!(found("<script type=application/ld+json>{}</script>", "track();\n"), ["UNDEFINED_NAME src/main.tsx:1:1"]);
}

#[test]
fn a_script_whose_text_is_not_known_makes_names_doubtful() {
    let uses = "export default [track, useState, Chart, <Missing />];\n";
    let expected = [
        "UNDEFINED_NAME src/main.tsx:1:24",
        "UNDEFINED_NAME src/main.tsx:1:34",
        "UNDEFINED_NAME src/main.tsx:1:42",
        "*UNDEFINED_NAME src/main.tsx:1:17",
    ];
    for script in [
        "<script src=https://cdn.example/lib.js></script>",
        "<script src=//cdn.example/lib.js></script>",
        "<script>const s = document.createElement('script'); s.src = 'https://cdn.example/lib.js'; document.head.append(s)</script>",
        "<script>const = 1</script>",
    ] {
        assert_eq!(found(script, uses), expected, "{script}");
    }
    assert_eq!(found("<script src=/lib.js></script>", uses).iter().filter(|found| found.starts_with('*')).count(), 0);
}

#[test]
fn the_text_of_a_script_is_asked_for() {
    let files = [
        ("index.html", "<script src=/env.js></script><script type=module src=/src/main.ts></script>"),
        ("public/env.js", "const env = {};\n"),
        ("src/main.ts", "env.a;\n"),
    ];
    let mut wanted = request(&files);
    wanted.check_all = false;
    wanted.files[1].content = None;
    assert_eq!(compile(wanted).wanted, ["public/env.js"]);
    assert_eq!(brief(&compile(request(&files)).findings), Vec::<String>::new());
}
