//! Nested rules whose names are joined, as `postcss-nested` writes them.

use crate::support::{answer, brief, code};

const SHEET: &str =
    ".card {\n  color: red;\n  &__title { background: url(./a.png); &--big { color: blue } }\n  @media print { &-c { color: teal } }\n}\n";
const FILES: &[(&str, &str)] = &[("src/main.tsx", "import './card.css';"), ("src/card.css", SHEET), ("src/a.png", "png")];

#[test]
fn names_are_joined_if_a_configuration_has_the_plugin() {
    for configuration in [
        ("postcss.config.js", "export default { plugins: { 'postcss-nested': {} } }"),
        ("postcss.config.cjs", "module.exports = { plugins: [require('postcss-nested')] }"),
        ("postcss.config.mjs", "import nested from 'postcss-nested'; export default { plugins: [nested()] }"),
        (".postcssrc.json", r#"{"plugins": {"tailwindcss/nesting": {}}}"#),
        (".postcssrc", "plugins:\n  postcss-nested: {}\n"),
    ] {
        let answer = answer(&[FILES, &[configuration]].concat());
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{configuration:?}");
        let sheet = code(&answer, "src/card.css");
        for part in [".card__title {", ".card__title--big {", "@media print", ".card-c {", "part0"] {
            assert!(sheet.contains(part), "{part} is not in {sheet}");
        }
        assert!(!sheet.contains('&'), "{sheet}");
        assert!(answer.configuration.contains(&configuration.0.to_owned()), "an edit of it compiles all files anew");
    }
}

#[test]
fn names_that_nothing_joins_have_a_warning() {
    let standard = ("postcss.config.js", "export default { plugins: { 'postcss-nesting': {}, 'tailwindcss/nesting': 'postcss-nesting' } }");
    for more in [vec![], vec![standard]] {
        let answer = answer(&[FILES, more.as_slice()].concat());
        assert_eq!(brief(&answer.findings), ["UNSUPPORTED src/card.css:3:3"]);
        assert!(answer.findings[0].is_warning && answer.findings[0].help.contains("postcss-nested"), "{:?}", answer.findings);
        assert!(!answer.page.is_empty());
    }
    // An element can follow.
    let plain = answer(&[("src/main.tsx", "import './a.css';"), ("src/a.css", ".a { &p { color: red } &:hover { color: blue } }")]);
    assert_eq!(brief(&plain.findings), Vec::<String>::new());
}

#[test]
fn classes_of_a_module_have_the_joined_names() {
    let answer = answer(&[
        ("postcss.config.js", "export default { plugins: { 'postcss-nested': {} } }"),
        ("src/main.tsx", "import styles from './a.module.css'; console.log(styles.card__title, styles.none);"),
        ("src/a.module.css", ".card { &__title { color: red } }"),
    ]);
    assert_eq!(brief(&answer.findings), ["MISSING_CLASS src/main.tsx:1:77"]);
}

#[test]
fn aliases_of_a_configuration_in_commonjs_are_read() {
    for name in ["vite.config.cjs", "vite.config.cts"] {
        let text = "const path = require('path');\nmodule.exports = { resolve: { alias: { '@': path.resolve(__dirname, './src/app') } } };";
        let answer = answer(&[(name, text), ("src/main.tsx", "import '@/a';"), ("src/app/a.ts", "export {}")]);
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{name}");
        assert!(answer.page.contains("\"@/a\":\"/@m/"), "{}", answer.page);
    }
}
