//! Hostile files whose outlines are made in workers. Each has an answer, or a typed error that names its file.

use compiler_client::{
    message::{File, OutlineRequest, outline::MAX_BYTES},
    worker::Error,
};

use crate::{
    mutations::{Random, mutate, setting},
    support::{file, workers},
};

/// Shapes that nest, with the text that opens and that closes, and the extensions in which they mean something.
const NESTED: &[(&str, &str, &str)] = &[
    ("<a>", "</a>", "tsx jsx html vue svelte md"),
    ("a=>", "", "js ts"),
    ("!", "", "js ts go"),
    ("if(a)", ";", "js"),
    ("a?b:", "c", "ts"),
    ("type A=B<", ">", "ts"),
    ("{{", "", "svelte vue css scss"),
    ("a{", "}", "css scss rs go"),
    ("@media a{.b", "}", "css scss"),
    ("#{", "}", "scss"),
    ("'", "", "css scss js py"),
    ("/*", "", "css scss js rs"),
    (".a\\", "", "css"),
    ("> ", "", "md"),
    ("* ", "", "md"),
    ("[", "](", "md json"),
    ("`", "", "md js"),
    ("*_", "", "md"),
    ("<script>", "", "html svelte"),
    ("<h1>", "", "html"),
    ("{\"a\":", "}", "json"),
    ("-", "", "json py"),
    ("not ", "", "py"),
    ("if a:\n", "", "py"),
    (" ", "", "py"),
    ("lambda:", "", "py"),
    ("mod a{", "}", "rs"),
    ("&", "", "rs go"),
    ("impl A<", ">", "rs"),
    ("func(", ")", "go"),
    ("\n", "", "js py md css go rs"),
];

async fn outline(files: Vec<File>) -> Result<usize, Error> {
    workers().outline(&OutlineRequest { files }).await.map(|answer| answer.outlines.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_shapes_end_with_an_outline_or_name_their_file() {
    for (open, close, extensions) in NESTED {
        for extension in extensions.split(' ') {
            // As large as a file with an outline can be, and below the limit of brackets.
            for count in [1_000, MAX_BYTES as usize / (open.len() + close.len())] {
                let (path, text) = (format!("a.{extension}"), open.repeat(count) + &close.repeat(count));
                match outline(vec![file(&path, text.as_bytes())]).await {
                    Ok(1) => {}
                    Err(Error::StackOverflow { file: Some(file) }) if file == path && count > 1_000 => {}
                    other => panic!("{count} of {open:?} in {path}: {other:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_have_no_outline() {
    let contents: [&[u8]; 4] = [&[0xff, 0xfe, 0x00], b"\xe2\x80", b"let a\0 = 1", &[0; 1 << 16]];
    let extensions = ["ts", "vue", "css", "md", "json", "py", "rs", "go", "html"];
    let files = contents.iter().flat_map(|content| extensions.map(|extension| file(&format!("a.{extension}"), content)));
    let answer = workers().outline(&OutlineRequest { files: files.collect() }).await.expect("an answer");
    assert_eq!(answer.outlines.len(), 36);
    assert!(answer.outlines.iter().all(|outline| outline.language.is_empty()), "{answer:?}");
}

const SEEDS: [(&str, &str); 12] = [
    (
        "tsx",
        "import a, { b } from './x';\nexport class A<T> extends B { @d() c = () => <p>{`${1}`}</p>; }\nexport default memo(() => <A />);\n",
    ),
    ("js", "const { a } = require('x');\nmodule.exports = { a, async *b() { for await (const c of d) yield /e/u; } };\n"),
    ("vue", "<script setup lang=\"ts\">\nconst a: number = 1;\n</script>\n<template><p id=\"x\" v-if=\"a < 2\">{{ a }}</p></template>\n"),
    ("svelte", "<script>let a = $state(1);</script>\n{#each b as c}<h2 id=\"d\">{c}</h2>{/each}\n<style>p { q: r }</style>\n"),
    ("html", "<!doctype html><h1>A <b>b</b></h1><script type=module>import './a'</script><link rel=stylesheet href=x.css>\n"),
    ("css", ".a > .b:hover { c: d; .e { f: url(g.png) } }\n@media (min-width: .5em) { .h\\:i { j: 'k' } }\n"),
    ("scss", "// a\n@use 'b';\n.c-#{$d} { &:hover { e: f } }\n@include g { .h { i: j } }\n"),
    ("md", "---\na: b\n---\n# C `d`\n\n> - e [f](g)\n\nH\n===\n```\n# i\n```\n| j | k |\n|---|---|\n"),
    ("json", "{\"a\": {\"b\": [1, -2e3, true, null, \"\\u00e9\"]}, \"c\": {}}\n"),
    (
        "py",
        "from .a import b\n@c\nasync def d(e: int = 1, *f) -> 'g':\n    return [h for h in i if h]\nclass J(K):\n    def l(self): pass\n",
    ),
    (
        "rs",
        "use a::{b, c};\n#[d]\npub struct E<'f, T: G>(T);\nimpl<T> E<'_, T> { pub fn h(&self) -> u8 { b'i' } }\nmacro_rules! j { ($k:tt) => {} }\n",
    ),
    ("go", "package a\nimport (\n\t\"b\"\n)\ntype C[T any] struct{ d T }\nfunc (e *C[T]) F() error { return nil }\nvar g = `h`\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn mutated_files_have_an_outline() {
    let least = setting("BACKLOT_MUTATIONS").unwrap_or(1_200);
    let seed = setting("BACKLOT_FUZZ_SEED").unwrap_or_else(rand_seed);
    let mut random = Random::new(seed);
    for _ in 0..usize::div_ceil(least, SEEDS.len()) {
        let files: Vec<_> = SEEDS
            .iter()
            .map(|(extension, text)| file(&format!("a.{extension}"), &mutate(&text.repeat(3).into_bytes(), &mut random)))
            .collect();
        let texts: Vec<_> = files.iter().map(|file| String::from_utf8_lossy(file.content()).into_owned()).collect();
        assert!(matches!(outline(files).await, Ok(12)), "BACKLOT_FUZZ_SEED={seed}: {texts:#?}");
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}
