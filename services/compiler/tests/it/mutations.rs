//! Files that are changed at random, in each kind of worker that reads source files. Each has an answer: within three seconds of
//! processor time in the release profile, in which `make fuzz` runs these tests.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use compiler_client::{
    message::{Answer, Change, EditRequest, File, PackagesRequest, Request, SiteRequest, Tool, facts::Kind},
    worker::Error,
};
use prost::Message as _;

use crate::{
    support::{bounded, compile, file, workers},
    tailwind::complete,
};

const MUTATED: [(&str, &str); 6] = [
    ("src/main.tsx", include_str!("mutations/page.tsx")),
    ("src/a.css", include_str!("mutations/style.css")),
    ("src/a.module.css", include_str!("mutations/style.css")),
    ("index.html", include_str!("mutations/index.html")),
    ("tsconfig.json", include_str!("mutations/tsconfig.json")),
    ("package.json", "{\"name\":\"a\",\"dependencies\":{\"react\":\"19\"},\"imports\":{\"#a\":\"./src/main.tsx\"}}"),
];

/// Files that are compiled by tools or by Sass. The others of their tree stay as they are.
const MUTATED_WITH_TOOLS: [(&str, &str); 6] = [
    ("src/a.scss", include_str!("mutations/style.scss")),
    ("src/_b.scss", "$color: red !default;\n@function twice($x) { @return $x * 2; }\n"),
    ("src/A.vue", include_str!("mutations/card.vue")),
    ("src/B.svelte", include_str!("mutations/card.svelte")),
    ("src/index.css", include_str!("mutations/tailwind.css")),
    ("tailwind.config.js", include_str!("mutations/tailwind.config.js")),
];
const UNCHANGED: [(&str, &str); 3] = [
    ("index.html", "<p class=p-4><script type=module src=/src/main.ts></script>"),
    ("package.json", r#"{"dependencies": {"vue": "3", "svelte": "5", "tailwindcss": "4"}}"#),
    (
        "src/main.ts",
        "import './a.scss';\nimport './index.css';\nimport A from './A.vue';\nimport B from './B.svelte';\nconsole.log(A, B);\n",
    ),
];
static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let tools = || complete(&[UNCHANGED.as_slice(), &MUTATED_WITH_TOOLS].concat()).0.tools;
    // The bundler has a runtime of its own.
    std::thread::scope(|scope| scope.spawn(tools).join().expect("a thread"))
});

/// As [`mutated`], with the tools of the tree.
fn mutated_with_tools(random: &mut Random) -> Request {
    let changed = MUTATED_WITH_TOOLS.iter().map(|(path, text)| file(path, &mutate(text.as_bytes(), random)));
    let unchanged = UNCHANGED.iter().map(|(path, text)| file(path, text.as_bytes()));
    Request { files: changed.chain(unchanged).collect(), check_all: true, tools: TOOLS.clone(), ..Request::default() }
}

/// Many small projects in one request would hide which one failed; several files in one tree are as good and ten times as fast.
fn mutated(random: &mut Random) -> Request {
    let files = named().map(|(path, text)| file(&path, &mutate(text.as_bytes(), random))).collect();
    Request { files, check_all: true, ..Request::default() }
}

/// The files of [`MUTATED`], and scripts and sheets with other extensions.
fn named() -> impl Iterator<Item = (String, &'static str)> {
    let own = MUTATED.iter().map(|(path, text)| ((*path).to_owned(), *text));
    let extensions = ["tsx", "ts", "js", "css", "json", "mjs"].into_iter().enumerate();
    own.chain(extensions.map(|(at, extension)| (format!("src/x{at}.{extension}"), MUTATED[at % 2].1)))
}

#[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
pub(crate) fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn a_seed_decides_over_the_mutations() {
    let first = |seed| mutated(&mut Random::new(seed));
    assert_eq!(first(7), first(7));
    assert_ne!(first(7), first(8));
    assert_ne!(first(0), first(1));
}

/// A site and its packages, which have no errors: what the bundler reads is changed one file at a time, because an error ends a build before it.
const SITE: [(&str, &str); 8] = [
    (
        "index.html",
        "<!doctype html><link rel=stylesheet href=/src/a.css><img src=/src/a.svg><script type=module src=/src/main.ts></script>",
    ),
    ("package.json", r#"{"dependencies": {"shape": "1"}}"#),
    (
        "src/main.ts",
        "import area, { Shape } from 'shape';\nimport styles from './b.module.css';\nimport Job from './job.ts?worker';\n\
        enum Kind { One = 1, Two = One << 1 }\nnamespace Space { export const inner = 1; }\n\
        class Box extends Shape<number> { static #count = 0; get size(): number { return Box.#count++ + Space.inner; } }\n\
        const pages = import.meta.glob('./pages/*.ts', { eager: true });\nnew Job();\n\
        console.log(area(new Box()), Kind.Two, styles.main, pages, import.meta.env.MODE, await import('./late'));\n",
    ),
    ("src/job.ts", "import one from './pages/one';\nself.onmessage = () => self.postMessage(one());\n"),
    ("src/late.ts", "import './a.css';\nexport const late = new URL('./a.svg', import.meta.url).href;\n"),
    ("src/pages/one.ts", "export default function one() { return `one ${1 + 1}`; }\n"),
    ("src/b.module.css", ".main { composes: big; color: teal; &:hover { color: red } }\n.big { font-size: 2em }\n"),
    ("src/a.css", "@layer a { i { color: color-mix(in oklab, red 20%, blue) } }\nb { background: url(./a.svg) }\n"),
];
const PACKAGE: [(&str, &str); 5] = [
    (
        "node_modules/shape/package.json",
        r#"{"name": "shape", "exports": {".": {"import": "./index.mjs", "require": "./index.cjs"}, "./*": "./*"}}"#,
    ),
    (
        "node_modules/shape/index.mjs",
        "export { Shape } from './shape.mjs';\nimport area from './area.cjs';\nexport default area;\nimport './a.css';\n",
    ),
    ("node_modules/shape/shape.mjs", "import area from './area.cjs';\nexport class Shape { size = area({ size: 2 }); }\n"),
    (
        "node_modules/shape/area.cjs",
        "'use strict';\nvar m = require('./index.mjs');\nmodule.exports = function (s) { return s.size * s.size; };\nmodule.exports.m = m;\n",
    ),
    ("node_modules/shape/a.css", "@import './b.css';\np { background: url(data:image/png;base64,AAAA) }\n"),
];

/// The site with another content of one file, which `random` chooses, or as it is.
fn site(random: Option<&mut Random>) -> SiteRequest {
    let mut files: Vec<_> = SITE.iter().chain(&PACKAGE).map(|(path, text)| file(path, text.as_bytes())).collect();
    if let Some(random) = random {
        let at = random.below(files.len());
        files[at] = file(&files[at].path, &mutate(files[at].content(), random));
    }
    files.push(file("src/a.svg", b"<svg/>"));
    files.push(file("node_modules/shape/b.css", b"q { color: red }"));
    let (packages, files) = files.into_iter().partition(|file| file.path.starts_with("node_modules/"));
    SiteRequest { tree: Some(Request { files, ..Request::default() }), packages }
}

/// The tree whose files [`mutated`] changes, and its answer.
static BEFORE: LazyLock<(Request, Answer)> = LazyLock::new(|| {
    let files: Vec<_> = named().map(|(path, text)| file(&path, text.as_bytes())).collect();
    let request = Request { files, check_all: true, ..Request::default() };
    (request.clone(), compile(request))
});

/// An edit from [`BEFORE`] to the tree: all modules at once. The configurations stay, because an edit with others is not one. A tree with tools has
/// no such modules.
fn edit(tree: &Request) -> Option<EditRequest> {
    let (before, answer) = &*BEFORE;
    let find = |files: &[File], path: &str| files.iter().find(|file| file.path == path).cloned();
    let mut files: Vec<_> = answer.configuration.iter().filter_map(|path| find(&before.files, path)).collect();
    let mut changes = Vec::new();
    for facts in answer.modules.iter().filter_map(|module| module.facts.as_ref()) {
        let is_changed = facts.kind() == Kind::Module && !facts.key.is_empty() && !answer.configuration.contains(&facts.path);
        let (Some(was), Some(is), true) = (find(&before.files, &facts.path), find(&tree.files, &facts.path), is_changed) else { continue };
        changes.push(Change { facts: facts.encode_to_vec().into(), id: was.id });
        files.push(is);
    }
    (!changes.is_empty()).then_some(EditRequest { files, changes, ..EditRequest::default() })
}

/// Gives a tree and a site to each kind of worker. Returns how many modules an edit compiled.
async fn ask(tree: &Request, site: &SiteRequest) -> Result<usize, (&'static str, Error)> {
    let workers = bounded();
    workers.compile(tree).await.map_err(|error| ("page", error))?;
    let plain = Request { is_plain: true, tools: Vec::new(), ..tree.clone() };
    workers.compile(&plain).await.map_err(|error| ("plain files", error))?;
    workers.build_site(site).await.map_err(|error| ("site", error))?;
    let packages = PackagesRequest { files: site.packages.clone(), specifiers: vec!["shape".to_owned()], ..PackagesRequest::default() };
    workers.bundle(&packages).await.map_err(|error| ("packages", error))?;
    let Some(edit) = edit(tree) else { return Ok(0) };
    Ok(workers.edit(&edit).await.map_err(|error| ("edit", error))?.modules.len())
}

/// Changes of files that a real project has: bytes, cuts, doubled and swapped parts.
#[tokio::test(flavor = "multi_thread")]
async fn mutated_files_have_an_answer() {
    let least: usize = setting("BACKLOT_MUTATIONS").unwrap_or(1_200);
    let seed = setting("BACKLOT_FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let mut random = Random::new(seed);
    assert!(TOOLS.len() >= 3, "of Vue, Svelte and Tailwind");
    let whole = workers().build_site(&site(None)).await.expect("a site");
    assert!(!whole.files.is_empty(), "{:#?}", whole.findings);
    let (mut round, mut mutated_files, mut edited) = (0, 0, 0);
    while mutated_files < least {
        // Tools take ten times as long.
        let (tree, count) = if round % 8 == 0 {
            (mutated_with_tools(&mut random), MUTATED_WITH_TOOLS.len())
        } else {
            (mutated(&mut random), named().count())
        };
        let site = site(Some(&mut random));
        match ask(&tree, &site).await {
            Ok(modules) => edited += modules,
            Err((what, error)) => panic!("BACKLOT_FUZZ_SEED={seed} round {round}, {what}: {error}: {:#?}", texts(&tree, &site)),
        }
        mutated_files += count + 1;
        round += 1;
    }
    // The first round has tools.
    assert!(round == 1 || edited > 0, "no edit had a module");
    eprintln!("{mutated_files} mutated files in {round} trees have an answer, and {edited} edited modules");
}

/// The files of a failure.
fn texts(tree: &Request, site: &SiteRequest) -> Vec<String> {
    let files = tree.files.iter().chain(site.tree.iter().flat_map(|tree| &tree.files)).chain(&site.packages);
    files.map(|file| format!("{}: {}", file.path, String::from_utf8_lossy(file.content()))).collect()
}

/// xorshift64*.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of two seeds differ. Zero would give zeros alone.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed).max(Self(1))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

pub(crate) fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    const TOKENS: &[&[u8]] = &[
        b"{",
        b"}",
        b"(",
        b")",
        b"<",
        b"/>",
        b"`",
        b"${",
        b"'",
        b"/*",
        b"\\u{",
        b"=>",
        b"@",
        b"#",
        b"\0",
        b"\xff",
        b"\xe2\x80",
        b"import.meta",
        b"?",
        b"...",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let (at, end) = (random.below(bytes.len()), random.below(bytes.len()));
        let (start, end) = (at.min(end), at.max(end));
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(start..end.min(start + 40))),
            2 => {
                let part = bytes[start..end.min(start + 200)].to_vec();
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), part);
            }
            3 if !bytes.is_empty() => bytes[at] = u8::try_from(random.below(256)).unwrap_or_default(),
            4 if !bytes.is_empty() => bytes.swap(start, end),
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
    bytes
}
