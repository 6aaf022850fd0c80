//! Configurations and plugins of Tailwind 3 and 4, with the published packages. Tools are bundled when a page asks for them.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use compiler::{packages::bundle, site::build};
use compiler_client::message::{
    Answer, File, PackagesRequest, Request, SiteRequest,
    tools::{TAILWIND_3, Tool},
};

use crate::{
    packages::{THREADS, small_packages},
    support::{brief, compile, file, request},
};

static PACKAGES: LazyLock<Vec<File>> = LazyLock::new(|| small_packages().into_iter().chain(kit()).collect());
/// The packages with version 3 in place of version 4.
static PACKAGES_3: LazyLock<Vec<File>> = LazyLock::new(|| {
    let (own, alias) = ("node_modules/tailwindcss/", "node_modules/tailwindcss-3/");
    let others = PACKAGES.iter().filter(|file| !file.path.starts_with(own));
    others.map(|file| File { path: file.path.replacen(alias, own, 1), ..file.clone() }).collect()
});
static TOOLS: LazyLock<Mutex<BTreeMap<String, Tool>>> = LazyLock::new(Mutex::default);

/// A package whose files name classes.
fn kit() -> Vec<File> {
    let files = [
        ("package.json", r#"{"name": "kit", "version": "1.0.0", "main": "index.js"}"#),
        ("index.js", "exports.badge = 'mt-11';"),
        ("dist/card.mjs", "export const card = 'mb-11';"),
        ("plugin.js", "module.exports = function ({ addUtilities }) { addUtilities({ '.from-kit': { color: 'gray' } }); };"),
    ];
    files.map(|(name, text)| file(&format!("node_modules/kit/{name}"), text.as_bytes())).to_vec()
}

fn tool(specifier: &str) -> Tool {
    let mut tools = TOOLS.lock().expect("tools");
    let made = || {
        let files = if specifier.starts_with(TAILWIND_3) { &PACKAGES_3 } else { &PACKAGES };
        let request = PackagesRequest {
            files: files.to_vec(),
            specifiers: vec![specifier.to_owned()],
            mode: "production".to_owned(),
            ..PackagesRequest::default()
        };
        let answer = bundle(request, &THREADS);
        let [module] = answer.modules.as_slice() else { panic!("{specifier}: {:#?}", answer.findings) };
        Tool { specifier: specifier.to_owned(), id: module.url.clone(), code: module.code.clone() }
    };
    tools.entry(specifier.to_owned()).or_insert_with(made).clone()
}

/// The answer with all tools that the page asks for, one round after the other.
pub(crate) fn answer(files: &[(&str, &str)]) -> Answer {
    complete(files).1
}

/// As [`answer`], with the last request.
pub(crate) fn complete(files: &[(&str, &str)]) -> (Request, Answer) {
    let page = ("index.html", "<!doctype html><head></head><body class=\"p-1\"><script type=module src=/src/main.ts></script>");
    let all: Vec<_> = if files.iter().any(|(path, _)| *path == "index.html") { Vec::new() } else { vec![page] };
    let all: Vec<_> = all.into_iter().chain(files.iter().copied()).collect();
    let mut request = request(&all);
    for _ in 0..4 {
        let answer = compile(request.clone());
        if answer.wanted_tools.is_empty() {
            return (request, answer);
        }
        request.tools.extend(answer.wanted_tools.iter().map(|specifier| tool(specifier)));
    }
    panic!("the page asks for tools again and again");
}

/// The code of the style sheet that Tailwind has written.
pub(crate) fn sheet<'a>(answer: &'a Answer, path: &str) -> &'a str {
    let all = answer.modules.iter();
    let mut found = all.filter(|module| module.facts.as_ref().is_some_and(|facts| facts.path == path && !facts.is_tailwind));
    &found.next().unwrap_or_else(|| panic!("no sheet {path} in {:#?}", answer.findings)).code
}

pub(crate) fn assert_has(css: &str, parts: &[&str]) {
    for part in parts {
        assert!(css.contains(part), "{part} is not in {css}");
    }
}

fn assert_lacks(css: &str, parts: &[&str]) {
    for part in parts {
        assert!(!css.contains(part), "{part} is in {css}");
    }
}

const SHADCN_CONFIG: &str = "import type { Config } from \"tailwindcss\";
import defaultTheme from \"tailwindcss/defaultTheme\";
import { brand } from \"./theme/colors\";

export default {
  darkMode: [\"class\"],
  content: [\"./index.html\", \"./src/**/*.{ts,tsx,md}\", \"!./src/**/*.draft.md\", \"./node_modules/kit/**/*.{js,mjs}\"],
  safelist: [\"mt-safe\", \"pt-10\"],
  theme: {
    container: { center: true, padding: \"2rem\" },
    extend: {
      colors: { background: \"hsl(var(--background))\", primary: { DEFAULT: \"hsl(var(--primary))\" }, brand },
      fontFamily: { sans: [\"Inter\", ...defaultTheme.fontFamily.sans] },
      borderRadius: { lg: \"var(--radius)\" },
      keyframes: { \"accordion-down\": { from: { height: \"0\" } } },
      animation: { \"accordion-down\": \"accordion-down 0.2s ease-out\" },
    },
  },
  plugins: [require(\"tailwindcss-animate\"), require(\"@tailwindcss/typography\"), require(\"@tailwindcss/forms\"), require(\"./theme/plugin.cjs\")],
} satisfies Config;
";

const SHADCN_SHEET: &str = "@tailwind base;
@tailwind components;
@tailwind utilities;
@layer base {
  :root { --background: 0 0% 100%; --primary: 222 47% 11%; --radius: 0.5rem; }
  .dark { --background: 222 84% 5%; }
  * { @apply border-brand; }
  body { @apply bg-background; background-image: url(./a.png); border-color: theme('colors.brand / 50%') }
}
@layer components { .card { @apply rounded-lg p-7 hover:p-8; } .unused-card { color: red } }
";

const SHADCN: &[(&str, &str)] = &[
    (
        "package.json",
        r#"{"dependencies": {"react": "19", "tailwindcss-animate": "1", "kit": "1"},
            "devDependencies": {"tailwindcss": "^3.4.17", "autoprefixer": "10", "postcss": "8", "@tailwindcss/typography": "0", "@tailwindcss/forms": "0"}}"#,
    ),
    ("postcss.config.js", "export default { plugins: { tailwindcss: {}, autoprefixer: {} } }"),
    ("tailwind.config.ts", SHADCN_CONFIG),
    ("theme/colors.ts", "export const brand: string = '#123456';"),
    (
        "theme/plugin.cjs",
        "const plugin = require('tailwindcss/plugin');\nmodule.exports = plugin(({ addUtilities, matchUtilities, theme }) => {\n  addUtilities({ '.own-utility': { color: theme('colors.brand') } });\n  matchUtilities({ tab: (value) => ({ tabSize: value }) }, { values: { 4: '4' } });\n});",
    ),
    ("src/main.ts", "import './index.css'; import { Button } from './button'; Button({});"),
    ("src/index.css", SHADCN_SHEET),
    (
        "src/button.tsx",
        "export const Button = ({ on }: { on?: boolean }) => <b className={`bg-primary dark:bg-brand/50 md:mt-4 card own-utility tab-4 font-sans animate-accordion-down w-[13px] data-[state=open]:animate-in ${on ? 'prose container' : 'form-input'}`} />;",
    ),
    ("src/unused.tsx", "export const Unused = () => <b className=\"mt-96\" />;"),
    ("src/notes.md", "<b class=\"ml-96\">"),
    ("src/notes.draft.md", "<b class=\"mr-96\">"),
    ("src/a.png", "png"),
];

#[test]
fn tailwind_3_with_a_configuration_in_typescript_and_plugins() {
    let answer = self::answer(SHADCN);
    assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{:#?}", answer.findings);
    let css = sheet(&answer, "src/index.css");
    assert_has(css, &["--background: 0 0% 100%", "hsl(var(--background))", "hsl(var(--primary))", ".md\\\\:mt-4", ".dark", "rgb(18 52 86"]);
    assert_has(
        css,
        &[".card", ".own-utility", ".tab-4", "Inter", "@keyframes accordion-down", ".w-\\\\[13px\\\\]", ".prose", ".container"],
    );
    assert_has(
        css,
        &["data-\\\\[state\\\\=open\\\\]\\\\:animate-in", ".form-input", "box-sizing: border-box", "/src/a.png?url", ".p-1", ".pt-10"],
    );
    assert_has(css, &[".ml-96", ".mt-11", ".mb-11"]);
    assert_lacks(css, &["mt-96", "mr-96", "@apply", "@tailwind", "theme(", "unused-card"]);
    assert!(answer.page.contains("\"/src/index.css\":\"/@m/"), "{}", answer.page);
    assert_eq!(self::answer(SHADCN), answer, "the same files have the same answer");
}

/// The files of a small project with Tailwind 3.
pub(crate) fn small<'t>(config: &'t str, sheet: &'t str) -> Vec<(&'static str, &'t str)> {
    vec![
        ("package.json", r#"{"devDependencies": {"tailwindcss": "3", "kit": "1"}}"#),
        ("tailwind.config.js", config),
        ("src/main.ts", "import './index.css'; document.body.className = 'mt-4 tw-mt-4';"),
        ("src/index.css", sheet),
    ]
}

pub(crate) const DIRECTIVES: &str = "@tailwind base; @tailwind components; @tailwind utilities;";

#[test]
fn configurations_of_tailwind_3_have_many_forms() {
    for (config, expected) in [
        ("module.exports = { prefix: 'tw-' }", ".tw-mt-4"),
        ("export default { important: '#root' }", "#root .mt-4"),
        ("module.exports = { theme: { spacing: { 4: '4ch' } } }", "4ch"),
        ("const path = require('node:path'); module.exports = { content: [path.join(__dirname, 'src/**/*.md')] }", ".mt-4"),
        (
            "import path from 'path'; export default { presets: [{ theme: { extend: { spacing: { 4: path.basename('/x/5ch') } } } }] }",
            "5ch",
        ),
        ("module.exports = { plugins: [function ({ addBase }) { addBase({ h1: { color: 'teal' } }) }] }", "teal"),
        (
            "import { createRequire } from 'module'; const require = createRequire(import.meta.url); export default { plugins: [require('kit/plugin.js')], safelist: ['from-kit'] }",
            ".from-kit",
        ),
        ("import kit from 'kit/plugin.js'; export default { plugins: [kit], safelist: ['from-kit'] }", ".from-kit"),
        ("module.exports = { safelist: [{ pattern: /^mb-(1|2)$/ }] }", ".mb-2"),
        ("export default { corePlugins: { preflight: false } }", ".mt-4"),
    ] {
        let answer = answer(&small(config, DIRECTIVES));
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{config}: {:#?}", answer.findings);
        let css = sheet(&answer, "src/index.css");
        assert!(css.contains(expected), "{config}: {css}");
        assert_eq!(css.contains("box-sizing: border-box"), !config.contains("preflight"), "{config}: {css}");
    }
}

#[test]
fn sheets_of_tailwind_3_import_others_and_name_a_configuration() {
    let mut files = small(
        "module.exports = {}",
        "@config '../config/own.cjs';\n@import 'tailwindcss/base';\n@import './styles/parts.css' layer(utilities) screen;\n@import 'tailwindcss/utilities';\n@import url('https://fonts.test/x.css');\n.b { .c & { @apply text-own; } }",
    );
    files.extend([
        ("config/own.cjs", "module.exports = { theme: { extend: { colors: require('./colors.json') } } }"),
        ("config/colors.json", r##"{"own": "#abcdef"}"##),
        ("src/styles/parts.css", "@import './inner/deep.css';\n.part { background: url(./a.png) }"),
        ("src/styles/inner/deep.css", ".deep { background: url('../b.png'); @apply mt-9 }"),
        ("src/styles/a.png", "a"),
        ("src/styles/b.png", "b"),
        ("postcss.config.cjs", "module.exports = { plugins: { 'tailwindcss/nesting': {}, tailwindcss: {} } }"),
        ("src/other.css", "@import './styles/plain.css';"),
        ("src/styles/plain.css", "i { color: red }"),
    ]);
    files[2].1 = "import './index.css'; import './other.css'; document.body.className = 'part deep';";
    let answer = answer(&files);
    assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{:#?}", answer.findings);
    let css = sheet(&answer, "src/index.css");
    assert_has(
        css,
        &["https://fonts.test/x.css", "box-sizing: border-box", ".part", ".deep", "/src/styles/a.png?url", "/src/styles/b.png?url"],
    );
    assert_has(css, &["@media screen", "2.25rem", ".c .b", "rgb(171 205 239"]);
    assert_lacks(css, &["@apply", "@config", "@layer"]);
    assert!(sheet(&answer, "src/other.css").contains("red"), "{}", sheet(&answer, "src/other.css"));
}

#[test]
fn errors_of_tailwind_3_have_their_place() {
    for (config, css, expected) in [
        ("module.exports = {}", "@tailwind utilities;\np { @apply none-such }", "TAILWIND src/index.css:2:5"),
        ("module.exports = {}", "@tailwind utilities;\n@layer components { a { b: c } }", "TAILWIND src/index.css:2:1"),
        ("module.exports = {}", "@tailwind utilities;\np { color: theme('colors.none') }", "TAILWIND src/index.css:2:5"),
        ("module.exports = {}", "@tailwind utilities;\n@import './none.css';", "UNRESOLVED_IMPORT src/index.css:2:10"),
        ("module.exports = {", DIRECTIVES, "SYNTAX_ERROR tailwind.config.js:1:19"),
        ("module.exports = none()", DIRECTIVES, "TAILWIND tailwind.config.js:1:1"),
        ("module.exports = { plugins: [require('none')] }", DIRECTIVES, "MISSING_PACKAGE tailwind.config.js:1:38"),
        ("module.exports = { plugins: [\nrequire('./none')] }", DIRECTIVES, "UNRESOLVED_IMPORT tailwind.config.js:2:9"),
        ("module.exports = { plugins: [() => { throw new Error('no') }] }", DIRECTIVES, "TOOL_FAILED src/index.css:1:1"),
        (
            "const fs = require('fs'); module.exports = { content: [fs.readFileSync('/etc/passwd')] }",
            DIRECTIVES,
            "TAILWIND tailwind.config.js:1:1",
        ),
        ("require('child_process'); module.exports = {}", DIRECTIVES, "TAILWIND tailwind.config.js:1:1"),
        ("for (;;) {}", DIRECTIVES, "TOOL_FAILED src/index.css:1:1"),
        ("module.exports = new Promise(() => {}); await new Promise(() => {})", DIRECTIVES, "TOOL_FAILED src/index.css:1:1"),
    ] {
        let answer = answer(&small(config, css));
        let found: Vec<_> = answer.findings.iter().filter(|found| found.code != "UNDEFINED_NAME").cloned().collect();
        assert_eq!(brief(&found), [expected], "{config} {css}: {:#?}", answer.findings);
        assert!(answer.page.is_empty(), "{config} {css}: the page has no style sheet");
    }
}

#[test]
fn tailwind_3_is_compiled_for_links_and_without_a_configuration() {
    let files = [
        ("index.html", "<link rel=stylesheet href=/src/index.css><p class='p-3'><script type=module src=/src/main.ts></script>"),
        ("package.json", r#"{"dependencies": {"tailwindcss": "~3.3.0", "vue": "3"}}"#),
        ("src/index.css", DIRECTIVES),
        ("src/main.ts", "import './A.vue'; document.body.className = 'm-3';"),
        ("src/A.vue", "<template><p class=\"mt-5\"/></template>\n<style scoped>\np { @apply mb-6; width: theme('spacing.7') }\n</style>"),
    ];
    let answer = answer(&files);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let sheet = answer.resources.iter().find(|resource| resource.url.ends_with(".css")).expect("a sheet");
    assert_has(&sheet.text, &[".p-3", ".m-3", ".mt-5", "box-sizing: border-box"]);
    assert_has(self::sheet(&answer, "src/A.vue?0.css"), &["data-v-", "1.5rem", "1.75rem"]);
}

#[test]
fn a_site_has_the_rules_of_tailwind_3() {
    let page = ("index.html", "<script type=module src=/src/main.ts></script>");
    let all = [vec![page], small("module.exports = { plugins: [require('kit/plugin.js')], safelist: ['from-kit'] }", DIRECTIVES)].concat();
    let mut tree = request(&all);
    for _ in 0..2 {
        let answer = build(SiteRequest { tree: Some(tree.clone()), packages: Vec::new() }, &THREADS, &mut |_| ());
        if answer.wanted_tools.is_empty() {
            let sheet = answer.files.iter().find(|file| file.path.ends_with(".css")).expect("a sheet");
            return assert_has(
                &String::from_utf8_lossy(&sheet.content),
                &[".mt-4{margin-top:1rem}", ".from-kit{color:gray}", "box-sizing:border-box"],
            );
        }
        tree.tools.extend(answer.wanted_tools.iter().map(|specifier| tool(specifier)));
    }
    panic!("the site asks for tools again and again");
}

/// What a configuration changes ends with the request.
#[test]
fn a_configuration_changes_no_other_page() {
    let hostile = "Array.prototype.map = () => []; Object.prototype.x = 1; globalThis.process = undefined; module.exports = {}";
    let _ = answer(&small(hostile, DIRECTIVES));
    let answer = answer(&small("module.exports = {}", DIRECTIVES));
    assert_has(sheet(&answer, "src/index.css"), &[".mt-4"]);
}

const FOUR: (&str, &str) = ("package.json", r#"{"dependencies": {"tailwindcss": "4", "kit": "1", "tailwindcss-animate": "1"}}"#);

#[test]
fn tailwind_4_reads_configurations_plugins_and_sources() {
    let css = "@import 'tailwindcss';\n@import './theme/part.css';\n@config '../tailwind.config.ts';\n@plugin './plugins/own.ts' { size: 3rem; }\n\
               @plugin 'kit/plugin.js';\n@plugin 'tailwindcss-animate';\n@source '../content';\n@source not '../content/draft.md';\n@source '../node_modules/kit';";
    let files = [
        FOUR,
        (
            "tailwind.config.ts",
            "import colors from 'tailwindcss/colors';\nimport { brand } from './brand';\nexport default { content: ['./more/*.txt'], theme: { extend: { colors: { brand, second: colors.teal[500] } } } }",
        ),
        ("brand.ts", "export const brand: string = '#123456';"),
        ("src/main.ts", "import './index.css'; document.body.className = 'bg-brand text-second own-size from-kit animate-in';"),
        ("src/index.css", css),
        ("src/theme/part.css", "@plugin './local.js';\n.part { background: url(./a.png) }"),
        ("src/theme/local.js", "export default function ({ addBase }) { addBase({ h2: { color: 'olive' } }) }"),
        ("src/theme/a.png", "a"),
        (
            "src/plugins/own.ts",
            "import plugin from 'tailwindcss/plugin';\nexport default plugin.withOptions<{ size: string }>((options) => ({ addUtilities }) => addUtilities({ '.own-size': { width: options?.size ?? '0' } }));",
        ),
        ("content/post.md", "<p class='mt-21'>"),
        ("content/draft.md", "<p class='mt-22'>"),
        ("more/a.txt", "mt-23"),
    ];
    let answer = self::answer(&files);
    assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{:#?}", answer.findings);
    let css = sheet(&answer, "src/index.css");
    assert_has(
        css,
        &["#123456", ".bg-brand", ".text-second", ".own-size", "3rem", ".from-kit", ".animate-in", "olive", "/src/theme/a.png?url"],
    );
    assert_has(css, &[".mt-21", ".mt-23", ".mt-11", ".mb-11"]);
    assert_lacks(css, &[".mt-22", "@plugin", "@config"]);
    assert_eq!(self::answer(&files), answer, "the same files have the same answer");
}

#[test]
fn tailwind_4_without_automatic_sources_reads_only_those_that_are_named() {
    let files = [
        FOUR,
        ("src/main.ts", "import './index.css'; import './a/x'; import './b/y';"),
        ("src/a/x.ts", "document.body.className = 'mt-21';"),
        ("src/b/y.ts", "document.body.className = 'mt-22';"),
        ("src/index.css", "@import 'tailwindcss' source(none);\n@source './a';"),
    ];
    let answer = answer(&files);
    assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{:#?}", answer.findings);
    assert_has(sheet(&answer, "src/index.css"), &[".mt-21"]);
    assert_lacks(sheet(&answer, "src/index.css"), &[".mt-22", ".p-1"]);
}

#[test]
fn errors_in_configurations_of_tailwind_4_have_their_place() {
    for (rule, config, expected) in [
        ("@config './c.js';", "export default none()", "TAILWIND src/c.js:1:1"),
        ("@config './c.js';", "export default {", "SYNTAX_ERROR src/c.js:1:17"),
        ("@plugin './c.js';", "import x from 'none'; export default x;", "MISSING_PACKAGE src/c.js:1:15"),
        ("@plugin './c.js';", "import x from './none'; export default x;", "UNRESOLVED_IMPORT src/c.js:1:15"),
        ("@plugin './none.js';", "", "UNRESOLVED_IMPORT src/index.css:2:10"),
        ("@plugin 'none';", "", "MISSING_PACKAGE src/index.css:2:10"),
    ] {
        let css = format!("@import 'tailwindcss';\n{rule}");
        let files = [FOUR, ("src/main.ts", "import './index.css';"), ("src/index.css", css.as_str()), ("src/c.js", config)];
        let answer = answer(&files);
        let found: Vec<_> = answer.findings.iter().filter(|found| !found.is_warning && found.code != "UNDEFINED_NAME").cloned().collect();
        assert_eq!(brief(&found), [expected], "{rule} {config}: {:#?}", answer.findings);
        assert!(answer.page.is_empty(), "{rule} {config}: the page has no style sheet");
    }
}

#[test]
fn older_versions_of_tailwind_have_a_warning() {
    let mut files = small("module.exports = {}", DIRECTIVES);
    files[0].1 = r#"{"devDependencies": {"tailwindcss": "^2.2.0"}}"#;
    let answer = compile(Request {
        check_all: true,
        ..request(&[&[("index.html", "<script type=module src=/src/main.ts></script>")], files.as_slice()].concat())
    });
    assert_eq!((brief(&answer.findings), answer.page.is_empty()), (vec!["UNSUPPORTED package.json:1:22".to_owned()], false));
}
