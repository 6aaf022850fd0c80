//! SCSS and Sass.

use std::time::Duration;

use bytes::Bytes;
use compiler_client::{
    message::{Answer, Request, facts::Kind},
    worker::Workers,
};

use crate::{
    support::{answer, answer_with_tools, brief, code, code_of, compile, known, request, workers},
    tools,
};

const FILES: &[(&str, &str)] = &[
    ("tsconfig.json", r#"{"compilerOptions": {"paths": {"@/*": ["./src/*"]}}}"#),
    (
        "src/main.tsx",
        "import './a.scss'; import styles from './b.module.scss'; import text from './c.sass?inline'; console.log(styles.big, text);",
    ),
    (
        "src/a.scss",
        "@use 'sass:math';\n@use 'theme/colors' as c;\n@use '@/theme/sizes';\n$x: 10px !default;\n.a { &:hover { color: c.$brand; width: math.div($x, 2) } \
         background: url(./a.png); margin: sizes.$gap }",
    ),
    ("src/theme/_colors.scss", "$brand: #123456;"),
    ("src/theme/_sizes.scss", "$gap: 7px;"),
    ("src/b.module.scss", "@mixin m($n) { font-size: $n * 1rem } .big { @include m(2); .inner { color: red } }"),
    ("src/c.sass", "$y: 3px\n.c\n  width: $y\n"),
    ("src/a.png", "png"),
];

#[test]
fn scss_and_sass_are_style_sheets() {
    let whole = answer(FILES);
    assert_eq!(brief(&whole.findings), Vec::<String>::new());
    let css = code(&whole, "src/a.scss");
    for part in [".a:hover", "#123456", "5px", "7px", "/src/a.png?url"] {
        assert!(css.contains(part), "{part} is not in {css}");
    }
    assert!(code(&whole, "src/b.module.scss").contains("2rem") && code(&whole, "src/b.module.scss").contains("as big"));
    assert!(code_of(&whole, "src/c.sass", Kind::Inline).contains("3px"));
    // A file that another one imports changes it, and the same files have the same answer.
    let kept = known(&whole);
    let mut edited = vec![("index.html", "<!doctype html><head></head><script type=module src=/src/main.tsx></script>")];
    edited.extend(FILES.iter().copied());
    let same = compile(Request { known: kept.clone(), ..request(&edited) });
    assert_eq!((same.modules.len(), same.page), (0, whole.page));
    edited[4].1 = "$brand: #654321;";
    let again = compile(Request { known: kept, ..request(&edited) });
    assert!(code(&again, "src/a.scss").contains("#654321"));
}

fn compiled(answer: &Answer) -> Vec<&str> {
    answer.modules.iter().filter_map(|module| Some(module.facts.as_ref()?.path.as_str())).collect()
}

#[test]
fn only_what_reads_a_file_is_compiled_again() {
    let page = ("index.html", "<script type=module src=/src/main.ts></script>");
    let files = [
        page,
        ("package.json", r#"{"dependencies": {"vue": "3", "svelte": "5"}}"#),
        ("src/main.ts", "import './a.scss'; import './b.scss'; import './A.vue'; import './B.svelte'; import './C.svelte';"),
        ("src/a.scss", "@use 'theme/colors';\na { color: colors.$brand }"),
        ("src/b.scss", "b { color: red }"),
        ("src/A.vue", "<template><p/></template><style lang=\"scss\">@use './theme/colors'; p { i { color: colors.$brand } }</style>"),
        ("src/B.svelte", "<p>b</p><style lang=\"scss\">p { &:hover { color: red } }</style>"),
        ("src/C.svelte", "<p>c</p><style>p { color: red }</style>"),
        ("src/theme/_colors.scss", "@forward 'base';"),
        ("src/theme/_base.scss", "$brand: #123456;"),
        ("src/theme/_unused.scss", "$other: red;"),
    ];
    let answer =
        |known: &[Bytes], files: &[(&str, &str)]| compile(Request { tools: tools::all(), known: known.to_vec(), ..request(files) });
    let whole = answer(&[], &files);
    assert_eq!(brief(&whole.findings), Vec::<String>::new());
    let kept = known(&whole);
    assert_eq!(compiled(&answer(&kept, &files)), Vec::<&str>::new());
    let edit = |path: &str, text| files.map(|(own, before)| (own, if own == path { text } else { before }));
    let after = answer(&kept, &edit("src/theme/_base.scss", "$brand: #654321;"));
    assert_eq!(compiled(&after), ["src/a.scss", "src/A.vue", "src/A.vue?0.css"]);
    assert!(code(&after, "src/A.vue?0.css").contains("#654321"), "{}", code(&after, "src/A.vue?0.css"));
    assert_eq!(compiled(&answer(&kept, &edit("src/theme/_unused.scss", "$other: blue;"))), Vec::<&str>::new());
    assert_eq!(compiled(&answer(&kept, &edit("src/b.scss", "b { color: blue }"))), ["src/b.scss"]);
    // A new name can be the one that an import means.
    let mut more = files.to_vec();
    more.push(("src/theme/_base.sass", "$brand: #abcdef"));
    let found = answer(&kept, &more);
    assert!(compiled(&found).contains(&"src/a.scss") && !compiled(&found).contains(&"src/C.svelte"), "{:?}", compiled(&found));
}

#[test]
fn an_error_in_a_file_that_is_imported_stops_the_page() {
    let files = [("src/main.tsx", "import './a.scss';"), ("src/a.scss", "@use 'b';"), ("src/_b.scss", "a { b: $none }")];
    let answer = answer(&files);
    assert_eq!(brief(&answer.findings), ["SCSS_SYNTAX src/_b.scss:1:8"]);
    assert_eq!(answer.page, "");
    assert!(answer.error_page.contains("src/_b.scss"), "{}", answer.error_page);
}

#[test]
fn a_raw_component_is_the_file_as_it_is() {
    let text = "<template><p/></template><style lang=\"scss\">p { i { color: red } }</style>";
    let files = [
        ("package.json", r#"{"dependencies": {"vue": "3"}}"#),
        ("src/main.ts", "import text from './A.vue?raw'; console.log(text);"),
        ("src/A.vue", text),
    ];
    let answer = answer_with_tools(&files);
    let raw = code_of(&answer, "src/A.vue", Kind::Raw);
    assert!(raw.contains("lang=\\\"scss\\\"") && raw.contains("p { i { color: red } }"), "{raw}");
}

const COMPONENTS: &[(&str, &str)] = &[
    ("package.json", r#"{"dependencies": {"vue": "3", "svelte": "5"}}"#),
    ("src/main.ts", "import './A.vue'; import './B.svelte';"),
    (
        "src/A.vue",
        "<style lang=\"scss\" scoped>\n@use './theme/colors' as c;\n$x: 3px;\n.a { &:hover { color: c.$brand; width: $x * 2 } }\n</style>\n\
         <script setup lang=\"ts\">\nconst a: number = missing\n</script>\n<template><p class=\"a\">{{ a }}</p></template>\n\
         <style lang='sass' module>\n.big\n  margin: 7px\n</style>",
    ),
    ("src/B.svelte", "<p class=\"b\">b</p>\n<style lang=\"scss\">\n@use 'theme/colors';\np { &.b { color: colors.$brand } }\n</style>"),
    ("src/theme/_colors.scss", "$brand: #123456;"),
];

#[test]
fn style_sheets_in_components_can_be_scss_and_sass() {
    let answer = answer_with_tools(COMPONENTS);
    // What follows a style sheet keeps its line.
    assert_eq!(brief(&answer.findings), ["UNDEFINED_NAME src/A.vue:7:19"], "{:#?}", answer.findings);
    let (first, second) = (code(&answer, "src/A.vue?0.css"), code(&answer, "src/A.vue?1.module.css"));
    assert!(first.contains("#123456") && first.contains("6px") && first.contains("[data-v-"), "{first}");
    assert!(second.contains("7px") && second.contains("as big"), "{second}");
    assert!(code(&answer, "src/B.svelte?0.css").contains("#123456"), "{}", code(&answer, "src/B.svelte?0.css"));
    for (path, from, to, expected) in [
        ("src/A.vue", "$x * 2", "$y * 2", "SCSS_SYNTAX src/A.vue:4:40"),
        ("src/A.vue", "./theme/colors", "./theme/none", "SCSS_SYNTAX src/A.vue:2:1"),
        ("src/B.svelte", "colors.$brand", "colors.$none", "SCSS_SYNTAX src/B.svelte:4:25"),
        ("src/theme/_colors.scss", "#123456", "$none", "SCSS_SYNTAX src/theme/_colors.scss:1:9"),
    ] {
        let changed: Vec<_> =
            COMPONENTS.iter().map(|(own, text)| (*own, if *own == path { text.replace(from, to) } else { (*text).to_owned() })).collect();
        let changed: Vec<_> = changed.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let found = brief(&answer_with_tools(&changed).findings);
        assert!(found.iter().any(|found| found == expected), "{path} {to}: {found:?}");
    }
}

#[test]
fn a_content_that_is_absent_is_wanted() {
    let mut files = vec![("index.html", "<script type=module src=/src/main.tsx></script>")];
    files.extend(FILES.iter().copied());
    let mut own = request(&files);
    for file in own.files.iter_mut().filter(|file| file.path.ends_with("_colors.scss")) {
        file.content = None;
    }
    assert_eq!(compile(own).wanted, ["src/theme/_colors.scss"]);
}

#[test]
fn errors_have_their_place() {
    for (scss, other, expected) in [
        ("a {\n  color: $none;\n}", "", "SCSS_SYNTAX src/a.scss:2:10"),
        ("a { color: red", "", "SCSS_SYNTAX src/a.scss:1:14"),
        ("@use 'none';", "", "SCSS_SYNTAX src/a.scss:1:1"),
        ("@use 'b';", "a {\n  x: $none }", "SCSS_SYNTAX src/_b.scss:2:6"),
        ("a { b: url(./none.png) }", "", "MISSING_FILE src/a.scss:1:12"),
        ("@use '../../../../etc/passwd';", "", "SCSS_SYNTAX src/a.scss:1:1"),
        ("@use 'a';", "", "SCSS_SYNTAX src/a.scss:1:1"),
    ] {
        let found = answer(&[("src/main.tsx", "import './a.scss';"), ("src/a.scss", scss), ("src/_b.scss", other)]);
        assert_eq!(brief(&found.findings), [expected], "{scss}: {:#?}", found.findings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_end_the_worker_and_nothing_else() {
    let nested = "a{".repeat(5_000) + &"}".repeat(5_000);
    let wide = format!("a {{ {} }}", "@for $i from 1 through 300 { @for $j from 1 through 300 { a#{$i}-#{$j}: b } } ".repeat(3));
    for text in [
        "@while true {}",
        "@function f($x) { @return f($x) } a { b: f(1) }",
        "@mixin m { @include m } @include m;",
        "$a: 'a'; @while true { $a: $a + $a }",
        "$l: (); @while true { $l: append($l, $l) }",
        nested.as_str(),
        wide.as_str(),
    ] {
        let files = [("index.html", "<script type=module src=/main.js></script>"), ("main.js", "import './a.scss';"), ("a.scss", text)];
        // An endless loop has no other end than the time of the file.
        let own = Workers { file_time: Duration::from_millis(250), ..workers() };
        match own.compile(&request(&files)).await {
            Ok(answer) => assert!(!answer.findings.is_empty() || text == wide, "{text}"),
            Err(error) => assert!(error.to_string().contains("a.scss"), "{text}: {error}"),
        }
    }
}
