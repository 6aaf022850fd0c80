//! `svelte.config.js`.

use compiler_client::message::Answer;

use crate::support::{answer_with_tools, brief, code};

const MANIFEST: (&str, &str) =
    ("package.json", r#"{"devDependencies": {"svelte": "5", "@sveltejs/vite-plugin-svelte": "7", "mdsvex": "1"}}"#);

fn answer(name: &str, configuration: &str, component: &str) -> Answer {
    answer_with_tools(&[
        MANIFEST,
        ("src/main.ts", "import './A.svelte';"),
        ("src/A.svelte", component),
        (name, configuration),
        ("config/own.js", "export const own = true;"),
    ])
}

const COUNTER: &str = "<script>\n  export let start = 0;\n</script>\n<p>{start}</p>\n<style>p { color: red }</style>";

#[test]
fn options_of_the_compiler_are_those_of_the_configuration() {
    let plain = answer("svelte.config.js", "export default {}", COUNTER);
    assert_eq!(brief(&plain.findings), Vec::<String>::new());
    for (name, configuration, expected) in [
        ("svelte.config.js", "export default { compilerOptions: { css: 'injected' } }", "color: red"),
        ("svelte.config.js", "module.exports = { compilerOptions: { customElement: true } }", "create_custom_element"),
        (
            "svelte.config.ts",
            "import { own } from './config/own'; const a: boolean = own; export default { compilerOptions: { customElement: a } }",
            "create_custom_element",
        ),
        ("svelte.config.js", "export default { compilerOptions: { css: 'injected', cssHash: () => 'own-hash' } }", "own-hash"),
    ] {
        let answer = answer(name, configuration, COUNTER);
        let errors: Vec<_> = answer.findings.iter().filter(|finding| !finding.is_warning).collect();
        assert!(errors.is_empty(), "{configuration}: {errors:#?}");
        assert!(code(&answer, "src/A.svelte").contains(expected), "{configuration}: {}", code(&answer, "src/A.svelte"));
        assert!(!code(&plain, "src/A.svelte").contains(expected), "{configuration}");
    }
    let runes = answer("svelte.config.js", "export default { compilerOptions: { runes: true } }", COUNTER);
    assert_eq!(brief(&runes.findings), ["SVELTE_SYNTAX src/A.svelte:2:3"], "{:#?}", runes.findings);
}

#[test]
fn known_preprocessors_say_nothing_and_others_are_named() {
    let known = "import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';\nimport { sveltePreprocess } from 'svelte-preprocess';\n\
                 export default { preprocess: [vitePreprocess(), sveltePreprocess()], kit: {} };";
    assert_eq!(brief(&answer("svelte.config.js", known, COUNTER).findings), Vec::<String>::new());
    for (configuration, expected) in [
        (
            "import { mdsvex } from 'mdsvex'; export default { preprocess: [mdsvex({ extensions: ['.md'] })] }",
            "the preprocessor mdsvex is not run",
        ),
        ("export default { preprocess: { markup: () => {} } }", "the preprocessor of the project is not run"),
        ("export default { compilerOptions: { none: 1 } }", "it is not used: "),
        ("throw new Error('no')", "it is not used: no"),
        ("export default none()", "it is not used: "),
        ("export default {", ""),
        ("for (;;) {}", ""),
    ] {
        let answer = answer("svelte.config.js", configuration, COUNTER);
        let found: Vec<_> = answer.findings.iter().filter(|finding| finding.file == "svelte.config.js").collect();
        assert!(!found.is_empty() || configuration.starts_with("for"), "{configuration}: {:#?}", answer.findings);
        assert!(found.iter().all(|finding| finding.message.contains(expected) || !finding.is_warning), "{configuration}: {found:#?}");
    }
}
