//! Files of Svelte and Vue, compiled by the compilers of the published packages.

use std::sync::LazyLock;

use compiler::{
    packages::{bundle, bytecode},
    site::build,
};
use compiler_client::message::{
    Answer, Facts, PackageModule, PackagesRequest, Request, SiteRequest,
    facts::Kind,
    tools::{SVELTE, TAILWIND, Tool, VUE},
};

use crate::{
    packages::{THREADS, small_packages},
    support::{answer_with_tools, brief, code, compile, file, known, request, workers},
};

static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let files = small_packages();
    let bundle = |specifier: &str| {
        let request = PackagesRequest {
            files: files.clone(),
            specifiers: vec![specifier.to_owned()],
            mode: "production".to_owned(),
            ..PackagesRequest::default()
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let answer = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(workers().bundle(&request))).join().expect("a thread"));
        let answer = answer.expect("a bundle");
        let [module] = answer.modules.as_slice() else { panic!("{specifier}: {:#?}", answer.findings) };
        Tool { specifier: specifier.to_owned(), id: module.url.clone(), code: module.code.clone() }
    };
    let parts = format!("{TAILWIND}?tw-animate-css&@tailwindcss/typography#import");
    [SVELTE, VUE, TAILWIND, &parts].map(bundle).to_vec()
});

pub(crate) fn all() -> Vec<Tool> {
    TOOLS.clone()
}

pub(crate) const MANIFEST: (&str, &str) =
    ("package.json", r#"{"dependencies": {"vue": "3"}, "devDependencies": {"svelte": "5", "@sveltejs/vite-plugin-svelte": "7"}}"#);

fn facts<'a>(answer: &'a Answer, path: &str) -> &'a Facts {
    let all = answer.modules.iter().filter_map(|module| module.facts.as_ref());
    let mut found = all.filter(|facts| facts.path == path && facts.kind() == Kind::Module);
    found.next().unwrap_or_else(|| panic!("no module {path} in {:#?}", brief(&answer.findings)))
}

/// The code of a style sheet of Tailwind. Its source is a module, too, without code.
fn written<'a>(answer: &'a Answer, path: &str) -> &'a str {
    let is_it = |facts: &Facts| facts.path == path && !facts.is_tailwind;
    let module = answer.modules.iter().find(|module| module.facts.as_ref().is_some_and(is_it));
    &module.unwrap_or_else(|| panic!("no module {path} in {:#?}", answer.findings)).code
}

#[test]
fn tools_are_bytecode_that_is_always_the_same() {
    for tool in all() {
        let files = small_packages();
        let request = PackagesRequest {
            files,
            specifiers: vec![tool.specifier.clone()],
            mode: "production".to_owned(),
            ..PackagesRequest::default()
        };
        let answer = bundle(request, &THREADS);
        assert_eq!(answer.modules, [PackageModule { url: tool.id.clone(), code: tool.code.clone() }]);
        assert_eq!(answer.packages[0].url, tool.id);
        assert!(tool.id.ends_with(".qjs"), "{}", tool.id);
    }
}

#[test]
fn a_tool_that_the_engine_refuses_has_a_finding() {
    let files = [
        ("package.json", r#"{"name": "svelte", "version": "5.0.0", "exports": {"./compiler": "./compiler.js"}}"#),
        ("compiler.js", "export const VERSION = '5'; export const compile = () => /(/; export const compileModule = compile;"),
    ];
    let files = files.map(|(name, text)| file(&format!("node_modules/svelte/{name}"), text.as_bytes())).to_vec();
    let answer = bundle(PackagesRequest { files, specifiers: vec![SVELTE.to_owned()], ..PackagesRequest::default() }, &THREADS);
    assert_eq!((answer.packages, answer.modules), (Vec::new(), Vec::new()));
    assert_eq!(brief(&answer.findings), ["NOT_BUNDLED package.json:1:1"]);
    assert!(answer.findings[0].message.starts_with("backlot:tool/svelte cannot be compiled: "), "{:?}", answer.findings);
}

const COUNTER: &str = "<script lang=\"ts\">
  import Child from './Child.svelte';
  import { shared } from './shared.svelte.ts';
  let { start = 0 }: { start?: number } = $props();
  let count: number = $state(0);
</script>

<button onclick={() => (count += 1)}>{start} {count} {shared.value}</button>
<Child />

<style>
  button { color: red; background: url('./a.png') }
</style>
";

#[test]
fn svelte_files_are_scripts_and_scoped_style_sheets() {
    let files = [
        MANIFEST,
        (
            "src/main.ts",
            "import { mount } from 'svelte'; import Counter from './Counter.svelte'; mount(Counter, { target: document.body });",
        ),
        ("src/Counter.svelte", COUNTER),
        ("src/Child.svelte", "<p>child</p>"),
        ("src/shared.svelte.ts", "type Shared = { value: number };\nexport const shared: Shared = $state({ value: 1 });"),
        ("src/a.png", "png"),
    ];
    let answer = answer_with_tools(&files);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let counter = code(&answer, "src/Counter.svelte");
    assert!(counter.contains("from \"svelte/internal/client\"") && counter.contains("\"/src/Child.svelte\""), "{counter}");
    assert!(!counter.contains(": number"), "{counter}");
    let style = code(&answer, "src/Counter.svelte?0.css");
    assert!(style.contains("button.svelte-") && style.contains("/src/a.png?url"), "{style}");
    assert!(!code(&answer, "src/shared.svelte.ts").contains("$state("), "{}", code(&answer, "src/shared.svelte.ts"));
    assert!(answer.page.contains("\"/src/Counter.svelte?0.css\":\"/@m/"), "{}", answer.page);
    assert!(answer.bare.contains(&"svelte/internal/client".to_owned()), "{:?}", answer.bare);
    assert_eq!(answer_with_tools(&files), answer, "the same files have the same answer");
}

#[test]
fn errors_of_svelte_have_their_place() {
    for (text, expected) in [
        ("<p>\n  {#if x}\n</p>", "SVELTE_SYNTAX src/A.svelte:3:1"),
        ("<script>\n  let = 1;\n</script>", "SVELTE_SYNTAX src/A.svelte:2:3"),
        ("<script>\n  import x from './none';\n</script>\n{x}", "UNRESOLVED_IMPORT src/A.svelte:2:18"),
        ("<script>\n  import x from 'none';\n</script>\n{x}", "MISSING_PACKAGE src/A.svelte:2:18"),
        ("<p>a</p>\n<p>{missing}</p>", "UNDEFINED_NAME src/A.svelte:2:5"),
        ("<p>a</p>\n\n<style>\n  p { color }\n</style>", "SVELTE_SYNTAX src/A.svelte:4:7"),
        ("<p>a</p>\n<style>\n  p { background: url(./none.png) }\n</style>", "MISSING_FILE src/A.svelte:3:37"),
        ("<script>\n  import { x } from './b';\n</script>\n{x}", "MISSING_EXPORT src/A.svelte:2:12"),
    ] {
        let files = [MANIFEST, ("src/main.ts", "import './A.svelte';"), ("src/A.svelte", text), ("src/b.ts", "export const y = 1;")];
        let answer = answer_with_tools(&files);
        let found: Vec<_> = answer.findings.iter().filter(|finding| !finding.is_warning).cloned().collect();
        assert_eq!(brief(&found), [expected], "{text}: {:#?}", answer.findings);
        assert!(found[0].frame.contains('>'), "{text}: {:#?}", found);
    }
}

const CARD: &str = "<script setup lang=\"ts\">
import { computed, ref } from 'vue'
import Child from './Child.vue'
import logo from './a.png'
const props = defineProps<{ name: string }>()
const count = ref<number>(0)
const twice = computed(() => count.value * 2)
const width = ref('4px')
</script>

<template>
  <img src=\"./a.png\" :alt=\"logo\">
  <button :class=\"$style.big\" @click=\"count++\">{{ (props.name as string) }} {{ twice }}</button>
  <Child />
</template>

<style scoped>
button { color: red; border-width: v-bind(width) }
</style>
<style module>
.big { font-size: 2rem }
</style>
";

#[test]
fn vue_files_are_scripts_and_style_sheets() {
    let options = "<template><p :title=\"title\">{{ text }}</p></template>\n<script>\nexport default { data: () => ({ text: 'a', title: 'b' }) }\n</script>";
    let files = [
        MANIFEST,
        ("src/main.ts", "import { createApp } from 'vue'; import Card from './Card.vue'; createApp(Card).mount('#app');"),
        ("src/Card.vue", CARD),
        ("src/Child.vue", options),
        ("src/a.png", "png"),
    ];
    let answer = answer_with_tools(&files);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let card = code(&answer, "src/Card.vue");
    assert!(card.contains("from \"vue\"") && card.contains("__scopeId") && card.contains("__cssModules"), "{card}");
    assert!(!card.contains("as string") && card.contains("/src/a.png"), "{card}");
    assert!(code(&answer, "src/Card.vue?0.css").contains("[data-v-"), "{}", code(&answer, "src/Card.vue?0.css"));
    assert!(code(&answer, "src/Card.vue?1.module.css").contains("big"), "{}", code(&answer, "src/Card.vue?1.module.css"));
    assert!(facts(&answer, "src/Card.vue?1.module.css").exports.contains(&"big".to_owned()));
    assert!(code(&answer, "src/Child.vue").contains(".render = render"), "{}", code(&answer, "src/Child.vue"));
    assert_eq!(answer_with_tools(&files), answer, "the same files have the same answer");
}

#[test]
fn errors_of_vue_have_their_place() {
    for (text, expected) in [
        ("<template>\n  <p>\n</template>", "VUE_SYNTAX src/A.vue:2:3"),
        ("<script setup>\nconst = 1\n</script>\n<template><p/></template>", "VUE_SYNTAX src/A.vue:2:7"),
        ("<template>\n  <p>{{ a b }}</p>\n</template>\n<script setup>\nconst a = 1\n</script>", "VUE_SYNTAX src/A.vue:2:9"),
        ("<script setup>\ndefineProps({})\ndefineProps({})\n</script>\n<template><p/></template>", "VUE_SYNTAX src/A.vue:3:1"),
        ("<script setup>\nimport x from './none'\nx()\n</script>\n<template><p/></template>", "UNRESOLVED_IMPORT src/A.vue:2:16"),
        ("<script setup>\nmissing()\n</script>\n<template><p/></template>", "UNDEFINED_NAME src/A.vue:2:1"),
        ("<template lang=\"pug\">\np a\n</template>", "VUE_SYNTAX src/A.vue:1:1"),
        ("<template><p/></template>\n<style>\np { color: red\n</style>", "VUE_SYNTAX src/A.vue:3:1"),
    ] {
        let answer = answer_with_tools(&[MANIFEST, ("src/main.ts", "import './A.vue';"), ("src/A.vue", text)]);
        assert_eq!(brief(&answer.findings), [expected], "{text}: {:#?}", answer.findings);
        assert!(!answer.findings[0].message.contains("compiler-sfc"), "{:#?}", answer.findings);
    }
}

#[test]
fn a_tool_is_wanted_once_and_its_id_is_part_of_the_key() {
    let files = [
        ("index.html", "<script type=module src=/src/main.ts></script>"),
        MANIFEST,
        ("src/main.ts", "import './A.svelte'; import './B.vue';"),
        ("src/A.svelte", "<p>a</p><style>p { color: red }</style>"),
        ("src/B.vue", "<template><p/></template>"),
    ];
    let first = compile(request(&files));
    assert_eq!((first.wanted_tools.as_slice(), first.page.as_str()), ([SVELTE.to_owned(), VUE.to_owned()].as_slice(), ""));
    let whole = compile(Request { tools: all(), ..request(&files) });
    assert!(whole.wanted_tools.is_empty() && !whole.page.is_empty(), "{:#?}", whole.findings);
    let kept = known(&whole);
    let again = compile(Request { tools: all(), known: kept.clone(), ..request(&files) });
    assert_eq!((again.page, again.modules), (whole.page, Vec::new()));
    let mut tools = all();
    tools[0].id = "another".to_owned();
    let changed = compile(Request { tools, known: kept, ..request(&files) });
    let compiled: Vec<_> = changed.modules.iter().filter_map(|module| Some(module.facts.as_ref()?.path.as_str())).collect();
    assert_eq!(compiled, ["src/A.svelte"]);
}

#[test]
fn a_project_that_does_not_list_the_framework_is_told() {
    let files = [("package.json", "{}"), ("src/main.ts", "import A from './A.svelte'; A();"), ("src/A.svelte", "<p>a</p>")];
    let answer = answer_with_tools(&files);
    assert_eq!(brief(&answer.findings), ["MISSING_PACKAGE src/A.svelte:1:1"]);
    assert!(answer.error_page.contains("needs the package svelte"), "{}", answer.error_page);
}

const SHADCN_STYLE: &str = "@import 'tailwindcss';
@import 'tw-animate-css';
@import './theme.css';
@plugin '@tailwindcss/typography';
@custom-variant dark (&:is(.dark *));
:root { --background: oklch(1 0 0); --radius: 0.625rem }
@theme inline { --color-background: var(--background); --radius-lg: var(--radius) }
@layer base { body { @apply bg-background; background-image: url(./a.png) } }
";

const SHADCN: &[(&str, &str)] = &[
    (
        "package.json",
        r#"{"dependencies": {"react": "19", "@tailwindcss/typography": "0"}, "devDependencies": {"tailwindcss": "^4", "tw-animate-css": "1"}}"#,
    ),
    ("tsconfig.json", r#"{"compilerOptions": {"jsx": "react-jsx", "paths": {"@/*": ["./src/*"]}}}"#),
    ("src/main.ts", "import './index.css'; import { Button } from '@/components/button'; import '@/not-read-by-the-page.css'; Button({});"),
    ("src/not-read-by-the-page.css", "a { color: red }"),
    ("src/index.css", SHADCN_STYLE),
    ("src/theme.css", "@theme { --color-brand: #123456 }"),
    (
        "src/components/button.tsx",
        "export const Button = ({ on }: { on?: boolean }) => <b className={`rounded-lg bg-brand/50 hover:p-4 ${on ? 'prose' : \"animate-in\"}`} />;",
    ),
    ("src/unused.tsx", "export const Unused = () => <b className=\"mt-96\" />;"),
    ("src/a.png", "png"),
];

#[test]
fn tailwind_has_the_classes_of_the_modules_that_the_page_loads() {
    let answer = answer_with_tools(SHADCN);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let css = written(&answer, "src/index.css");
    for part in [".rounded-lg", ".bg-brand\\\\/50", "hover", ".prose", ".animate-in", "--background: oklch", "/src/a.png?url", "#123456"] {
        assert!(css.contains(part), "{part} is not in {css}");
    }
    assert!(!css.contains("mt-96") && !css.contains("@apply") && !css.contains("@theme"), "{css}");
    assert!(answer.page.contains("\"/src/index.css\":\"/@m/"), "{}", answer.page);
    assert_eq!(answer_with_tools(SHADCN), answer, "the same files have the same answer");
    // Its module is written for each page; the others are known.
    let kept = known(&answer);
    let mut edited = SHADCN.to_vec();
    edited[6].1 = "export const Button = ({ on }: { on?: boolean }) => <b className={`mt-7 ${on}`} />;";
    let mut all_files = vec![("index.html", "<p class='mb-9'><script type=module src=/src/main.ts></script>")];
    all_files.extend(edited);
    let again = compile(Request { tools: all(), known: kept, ..request(&all_files) });
    let compiled: Vec<_> = again.modules.iter().filter_map(|module| Some(module.facts.as_ref()?.path.as_str())).collect();
    assert_eq!(compiled, ["src/components/button.tsx", "src/index.css"]);
    let css = written(&again, "src/index.css");
    assert!(css.contains(".mt-7") && css.contains(".mb-9") && !css.contains(".rounded-lg"), "{css}");
}

#[test]
fn tailwind_is_compiled_for_links_and_components() {
    let files = [
        ("index.html", "<link rel=stylesheet href=/src/index.css><p class='p-3'><script type=module src=/src/main.ts></script>"),
        ("package.json", r#"{"dependencies": {"vue": "3", "svelte": "5", "tailwindcss": "4"}}"#),
        ("src/index.css", "@import \"tailwindcss\"; @theme { --color-brand: #123456 }"),
        ("src/main.ts", "import './A.vue'; import './B.svelte';"),
        (
            "src/A.vue",
            "<template><p :class=\"['mt-5', { 'mt-6': true }]\"/></template>\n<style scoped>\n@reference './index.css';\np { @apply text-brand }\n</style>",
        ),
        ("src/B.svelte", "<p class:mt-7={true}>b</p><style>@reference './index.css'; p { @apply mt-8; }</style>"),
    ];
    let answer = answer_with_tools(&files);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let sheet = answer.resources.iter().find(|resource| resource.url.ends_with(".css")).expect("a sheet");
    for class in [".p-3", ".mt-5", ".mt-6", ".mt-7"] {
        assert!(sheet.text.contains(class), "{class} is not in {}", sheet.text);
    }
    assert!(answer.page.contains(&sheet.url), "{}", answer.page);
    assert!(written(&answer, "src/A.vue?0.css").contains("color:") && written(&answer, "src/B.svelte?0.css").contains("margin-top"));
}

#[test]
fn errors_of_tailwind_have_their_place() {
    for (css, expected) in [
        ("@import 'tailwindcss';\np { @apply none-such }", "TAILWIND src/index.css:2:12"),
        ("@import 'tailwindcss';\n@import './none.css';", "UNRESOLVED_IMPORT src/index.css:2:10"),
        ("@import 'tailwindcss';\n@import 'none/x.css';", "MISSING_PACKAGE src/index.css:2:10"),
        ("@import 'tailwindcss';\n@plugin 'none';", "MISSING_PACKAGE src/index.css:2:10"),
        ("@import 'tailwindcss';\n@theme { color: red }", "TAILWIND src/index.css:1:1"),
        ("@import 'tailwindcss';\n@utility X {}", "TAILWIND src/index.css:2:1"),
        ("@import 'tailwindcss';\np { color: red", "INVALID_CSS src/index.css:2:3"),
    ] {
        let files = [
            ("package.json", r#"{"dependencies": {"tailwindcss": "4"}}"#),
            ("tailwind.config.js", "export default { theme: {} }"),
            ("src/main.ts", "import './index.css';"),
            ("src/index.css", css),
        ];
        let answer = answer_with_tools(&files);
        assert_eq!(brief(&answer.findings), [expected], "{css}: {:#?}", answer.findings);
    }
}

/// A published site has the same compilers.
#[test]
fn components_are_part_of_a_site() {
    let files = [
        ("index.html", "<script type=module src=/src/main.ts></script>"),
        MANIFEST,
        ("src/main.ts", "import A from './A.svelte'; import B from './B.vue'; console.log(A, B);"),
        ("src/A.svelte", "<script>let count = $state(0);</script><p>{count}</p><style>p { color: red }</style>"),
        ("src/B.vue", "<template><p :class=\"$style.big\"/></template><style module>.big { color: blue }</style>"),
    ];
    let tree = Request { tools: all(), ..request(&files) };
    let wanted = build(SiteRequest { tree: Some(request(&files)), packages: Vec::new() }, &THREADS, &mut |_| ());
    assert_eq!((wanted.wanted_tools, wanted.files.len()), (vec![SVELTE.to_owned(), VUE.to_owned()], 0));
    let packages = small_packages();
    let answer = build(SiteRequest { tree: Some(tree), packages }, &THREADS, &mut |_| ());
    let errors: Vec<_> = answer.findings.iter().filter(|finding| !finding.is_warning).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let text = |end: &str| -> String {
        let files = answer.files.iter().filter(|file| file.path.ends_with(end));
        files.map(|file| String::from_utf8_lossy(&file.content).into_owned()).collect()
    };
    assert!(text(".css").contains("p.svelte-") && text(".css").contains("#00f"), "{}", text(".css"));
    assert!(text(".js").contains("__cssModules") && !text(".js").contains(".svelte?0.css"), "{}", text(".js").len());
}

/// A bundle of a package that is no compiler, or a hostile one.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_tools_end_with_a_finding() {
    let files = [
        ("index.html", "<script type=module src=/src/main.ts></script>"),
        MANIFEST,
        ("src/main.ts", "import './A.svelte';"),
        ("src/A.svelte", "<p>a</p>"),
    ];
    for body in [
        "export function run() { for (;;) {} }",
        "for (;;) {}",
        "export function run() { const a = []; for (;;) a.push(new Array(1e5).fill(1)); }",
        "export function run() { return (function f() { return f() })() }",
        "export function run() { return { code: 'a;'.repeat(2e7) } }",
        "export function run() { return 5 }",
        "export const none = 1;",
        "",
    ] {
        let code = bytecode(body).expect("bytecode");
        let tools = vec![Tool { specifier: SVELTE.to_owned(), id: "x".to_owned(), code }];
        let answer = workers().compile(&Request { tools, ..request(&files) }).await.expect("an answer");
        assert_eq!(brief(&answer.findings), ["TOOL_FAILED src/A.svelte:1:1"], "{body}: {:#?}", answer.findings);
    }
}
