//! SCSS and Sass that import style sheets of packages.

use compiler::packages::bundle;
use compiler_client::message::{Answer, File, PackagesRequest, Request, Tool, facts::Kind};

use crate::{
    packages::{THREADS, installed},
    support::{brief, code, code_of, compile, file, known, request},
    tools,
};

/// The style sheets of a package as the compiler gets them.
fn sheets(files: &[File], package: &str) -> Tool {
    let specifiers = vec![format!("backlot:tool/{package}#sheets")];
    let answer = bundle(PackagesRequest { files: files.to_vec(), specifiers, ..PackagesRequest::default() }, &THREADS);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let ([package], [module]) = (answer.packages.as_slice(), answer.modules.as_slice()) else { panic!("{answer:#?}") };
    assert_eq!(package.url, module.url);
    Tool { specifier: package.specifier.clone(), id: module.url.clone(), code: module.code.clone() }
}

const MANIFEST: &str = r#"{"dependencies": {"kit": "1", "@scope/ui": "1", "bootstrap": "5", "vue": "3", "svelte": "5"}}"#;

const KIT: &[(&str, &str)] = &[
    ("kit/package.json", r#"{"sass": "scss/kit.scss", "style": "dist/kit.css"}"#),
    ("kit/scss/kit.scss", "@use 'parts/button';\n$size: 3px !default;\n.kit { width: $size }"),
    ("kit/scss/parts/_button.scss", "@use '../variables';\n@use 'base/reset';\n.kit-button { color: variables.$brand }"),
    ("kit/scss/_variables.scss", "$brand: #123456 !default;"),
    ("kit/scss/themes/_index.scss", ".kit-theme { a: b }"),
    ("kit/dist/kit.css", ".kit-css { a: b }"),
    ("kit/dist/kit.min.css", ".kit-css{a:b}"),
    ("base/package.json", r#"{"main": "index.js"}"#),
    ("base/reset.sass", ".base-reset\n  a: b\n"),
    (
        "@scope/ui/package.json",
        r#"{"exports": {".": {"sass": "./src/ui.scss", "default": "./ui.js"}, "./theme": {"style": "./src/_theme.scss"}, "./parts/*": {"sass": "./src/parts/*.scss"}}}"#,
    ),
    ("@scope/ui/src/ui.scss", ".ui { a: b }"),
    ("@scope/ui/src/_theme.scss", "$ui: #fedcba;"),
    ("@scope/ui/src/parts/card.scss", ".ui-card { a: b }"),
];

fn kit() -> Vec<File> {
    KIT.iter().map(|(path, text)| file(&format!("node_modules/{path}"), text.as_bytes())).collect()
}

fn answer(files: &[(&str, &str)], given: Vec<Tool>) -> Answer {
    let mut all = vec![("index.html", "<script type=module src=/src/main.ts></script>"), ("package.json", MANIFEST)];
    all.extend_from_slice(files);
    compile(Request { tools: tools::all().into_iter().chain(given).collect(), ..request(&all) })
}

fn kits() -> Vec<Tool> {
    vec![sheets(&kit(), "kit"), sheets(&kit(), "@scope/ui")]
}

/// The style sheet of a project with one.
fn css(scss: &str) -> String {
    let answer =
        answer(&[("src/main.ts", "import './deep/a.scss';"), ("src/deep/a.scss", scss), ("src/deep/_own.scss", "$x: 1px;")], kits());
    assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{scss}: {:#?}", answer.findings);
    code(&answer, "src/deep/a.scss").to_owned()
}

#[test]
fn every_form_of_a_name_is_found() {
    for (scss, expected) in [
        ("@use 'kit/scss/kit';", ".kit-button"),
        ("@use 'kit/scss/kit.scss';", "#123456"),
        ("@use 'kit';", ".base-reset"),
        ("@use 'pkg:kit';", ".kit-button"),
        ("@use 'pkg:kit' with ($size: 77px);\na { b: kit.$size }", "b: 77px"),
        ("@use 'pkg:kit/scss/kit' with ($size: 77px);", "77px"),
        ("@use 'kit' with ($size: 77px);", "77px"),
        ("@import '~kit/scss/kit';", ".kit-button"),
        ("$size: 77px;\n@import 'kit/scss/kit';", "77px"),
        ("@import 'kit/scss/themes';", ".kit-theme"),
        ("@import 'kit/dist/kit';", ".kit-css"),
        ("@import '../../node_modules/kit/scss/kit';", ".kit-button"),
        ("@use '@scope/ui';", ".ui"),
        ("@use 'pkg:@scope/ui/theme';\na { b: theme.$ui }", "#fedcba"),
        ("@use '@scope/ui/parts/card';", ".ui-card"),
        ("@use '@scope/ui/src/parts/card';", ".ui-card"),
        ("@use 'own'; @use 'kit/scss/variables' as v; a { b: own.$x; c: v.$brand }", "1px"),
    ] {
        assert!(css(scss).contains(expected), "{scss}: {}", css(scss));
    }
    let once = css("@use 'kit/scss/parts/button';\n@use 'kit/scss/kit';");
    assert_eq!(once.matches(".kit-button").count(), 1, "one file is one module: {once}");
}

#[test]
fn the_sheets_of_a_package_are_wanted_only_if_the_project_has_no_such_file() {
    let files = [("src/main.ts", "import './a.scss';"), ("src/a.scss", "@use 'kit/own';"), ("src/kit/_own.scss", "a { b: c }")];
    assert_eq!(answer(&files, Vec::new()).wanted_tools, Vec::<String>::new());
    let files = [("src/main.ts", "import './a.scss';"), ("src/a.scss", "@use 'kit/scss/kit'; @use 'pkg:@scope/ui';")];
    let first = answer(&files, Vec::new());
    assert_eq!((first.wanted_tools.as_slice(), first.page.as_str()), (["backlot:tool/kit#sheets".to_owned()].as_slice(), ""));
    let whole = answer(&files, kits());
    assert!(!whole.page.is_empty(), "{:#?}", whole.findings);
    // Another version of the package changes what imports it, and a known answer needs no sheets but their id.
    let mut all = vec![("index.html", "<script type=module src=/src/main.ts></script>"), ("package.json", MANIFEST)];
    all.extend(files);
    let kept = known(&whole);
    let again = |given: Vec<Tool>| compile(Request { known: kept.clone(), tools: given, ..request(&all) }).modules.len();
    assert_eq!(again(kits()), 0);
    let mut changed = kits();
    changed[0].id = "another".to_owned();
    assert_eq!(again(changed), 1);
}

#[test]
fn errors_name_the_package() {
    for (scss, expected, part) in [
        ("\n@use 'none/scss/x';", "MISSING_PACKAGE src/a.scss:2:1", "the package none is not in package.json"),
        ("@use 'pkg:none';", "MISSING_PACKAGE src/a.scss:1:1", "none"),
        ("a { b: 'pkg:none' }\n@import 'pkg:none';", "MISSING_PACKAGE src/a.scss:2:9", "none"),
        ("@import '~@no/ne/x';", "MISSING_PACKAGE src/a.scss:1:9", "@no/ne"),
        ("@use 'kit/scss/none';", "UNRESOLVED_IMPORT src/a.scss:1:1", "the package kit has no style sheet"),
        ("@use 'base/reset';", "MISSING_PACKAGE src/a.scss:1:1", "base"),
        ("@use 'parts/none';", "SCSS_SYNTAX src/a.scss:1:1", "parts/none"),
        ("@use './none';", "SCSS_SYNTAX src/a.scss:1:1", "./none"),
        ("@use 'kit' with ($none: 1px);", "SCSS_SYNTAX src/a.scss:1:18", ""),
    ] {
        let files = [("src/main.ts", "import './a.scss';"), ("src/a.scss", scss), ("src/parts/_own.scss", "")];
        let answer = answer(&files, kits());
        assert_eq!(brief(&answer.findings), [expected], "{scss}: {:#?}", answer.findings);
        let found = &answer.findings[0];
        assert!(found.message.contains(part), "{scss}: {found:#?}");
        assert_eq!(found.code == "MISSING_PACKAGE", found.help.starts_with("Add "), "{found:#?}");
        assert_eq!(answer.page, "", "{scss}");
    }
}

#[test]
fn bootstrap_is_compiled_in_files_css_modules_and_components() {
    let mut files = installed();
    files.retain(|file| file.path.starts_with("node_modules/bootstrap/"));
    let given = vec![sheets(&files, "bootstrap")];
    let project = [
        (
            "src/main.ts",
            "import './a.scss'; import styles from './b.module.scss'; import './A.vue'; import './B.svelte'; console.log(styles.big);",
        ),
        ("src/a.scss", "$primary: #123456;\n@import \"bootstrap/scss/bootstrap\";"),
        (
            "src/b.module.scss",
            "@use \"pkg:bootstrap\" with ($primary: #abcdef);\n.big { color: bootstrap.$primary; @include bootstrap.button-size(1px, 2px, 3px, 4px) }",
        ),
        (
            "src/A.vue",
            "<template><p/></template><style lang=\"scss\">\n@import \"~bootstrap/scss/functions\"; @import \"~bootstrap/scss/variables\"; @import \"~bootstrap/scss/mixins\";\n\
             p { @include media-breakpoint-up(md) { color: $danger } }\n</style>",
        ),
        (
            "src/B.svelte",
            "<p>b</p><style lang=\"scss\">\n@import 'bootstrap/scss/functions', 'pkg:bootstrap/scss/variables';\np { color: $danger }\n</style>",
        ),
    ];
    let answer = answer(&project, given);
    let errors: Vec<_> = answer.findings.iter().filter(|finding| !finding.is_warning).cloned().collect();
    assert_eq!(brief(&errors), Vec::<String>::new(), "{errors:#?}");
    let whole = code(&answer, "src/a.scss");
    for part in [".btn-primary", "--bs-primary: #123456", ".navbar-expand-lg", ".d-flex"] {
        assert!(whole.contains(part), "{part}");
    }
    assert!(code_of(&answer, "src/b.module.scss", Kind::Module).contains("as big"));
    assert!(code(&answer, "src/b.module.scss").contains("color: #abcdef"));
    assert!(code(&answer, "src/A.vue?0.css").contains("768px"), "{}", code(&answer, "src/A.vue?0.css"));
    assert!(code(&answer, "src/B.svelte?0.css").contains("#dc3545"), "{}", code(&answer, "src/B.svelte?0.css"));
}
