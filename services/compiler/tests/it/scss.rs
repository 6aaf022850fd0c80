//! SCSS and Sass.

use std::time::Duration;

use compiler_client::{
    message::{Request, facts::Kind},
    worker::Workers,
};

use crate::support::{answer, brief, code, code_of, compile, request, workers};

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
    let known: Vec<_> = whole.modules.iter().filter_map(|module| module.facts.clone()).collect();
    let mut edited = vec![("index.html", "<!doctype html><head></head><script type=module src=/src/main.tsx></script>")];
    edited.extend(FILES.iter().copied());
    let same = compile(Request { known: known.clone(), ..request(&edited) });
    assert_eq!((same.modules.len(), same.page), (0, whole.page));
    edited[4].1 = "$brand: #654321;";
    let again = compile(Request { known, ..request(&edited) });
    assert!(code(&again, "src/a.scss").contains("#654321"));
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
        // An endless loop has no other end than the deadline.
        let own = Workers { deadline: Duration::from_secs(3), ..workers() };
        match own.compile(&request(&files)).await {
            Ok(answer) => assert!(!answer.findings.is_empty() || text == wide, "{text}"),
            Err(error) => assert!(error.to_string().contains("a.scss"), "{text}: {error}"),
        }
    }
}
