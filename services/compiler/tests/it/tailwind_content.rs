//! What a configuration of Tailwind names, and which version reads it.

use compiler_client::message::tools::{TAILWIND, TAILWIND_3};

use crate::{
    support::{brief, compile, request},
    tailwind::{DIRECTIVES, answer, assert_has, sheet, small},
};

#[test]
fn raw_texts_of_a_configuration_have_classes() {
    let config = "module.exports = { content: [{ raw: '<b class=\"mt-20\">', extension: 'html' }, { raw: 'mb-20' }, {}, 7] }";
    let answer = answer(&small(config, DIRECTIVES));
    assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{:#?}", answer.findings);
    assert_has(sheet(&answer, "src/index.css"), &[".mt-20", ".mb-20", ".mt-4"]);
}

#[test]
fn patterns_of_a_configuration_have_limits() {
    for (content, expected) in [
        ("Array(200).fill('a')", None),
        ("Array(201).fill('a')", Some("201 patterns, more than 200")),
        ("['a'.repeat(1000)]", None),
        ("['a', 'b'.repeat(1001)]", Some("1001 bytes, more than 1000")),
    ] {
        let answer = answer(&small(&format!("module.exports = {{ content: {content} }}"), DIRECTIVES));
        let found: Vec<_> = answer.findings.iter().map(|found| format!("{} {}: {}", found.code, found.file, found.message)).collect();
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{content}"),
            Some(part) => {
                assert!(found.len() == 1 && found[0].starts_with("TAILWIND tailwind.config.js") && found[0].contains(part), "{found:?}")
            }
        }
    }
}

#[test]
fn what_a_configuration_tries_to_load_can_be_absent() {
    for (config, expected) in [
        ("let a = []; try { a = [require('none')] } catch {} module.exports = { theme: { spacing: { 4: '6ch' } }, plugins: a }", "6ch"),
        ("let a; try { a = require('./none') } catch { a = { 4: '7ch' } } module.exports = { theme: { spacing: a } }", "7ch"),
        ("let a; try { a = await import('none') } catch { a = { 4: '8ch' } } export default { theme: { spacing: a } }", "8ch"),
        ("let a; try { a = require('./theme') } catch { a = {} } module.exports = { theme: { spacing: a } }", "9ch"),
    ] {
        let answer = answer(&[small(config, DIRECTIVES), vec![("theme.js", "module.exports = { 4: '9ch' }")]].concat());
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{config}: {:#?}", answer.findings);
        assert_has(sheet(&answer, "src/index.css"), &[expected]);
    }
    for config in [
        "try { require('none') } finally { module.exports = {} }",
        "try {} catch { require('none') } module.exports = {}",
        "try { require('none') } catch {} require('none'); module.exports = {}",
    ] {
        let answer = answer(&small(config, DIRECTIVES));
        assert_eq!(answer.findings.len(), 1, "{config}");
        assert_eq!(answer.findings[0].help, "Add none to the dependencies in package.json.", "{config}");
    }
}

#[test]
fn files_of_packages_have_paths() {
    for path in ["require.resolve('kit/package.json')", "require.resolve('kit')", "require.resolve('kit/index.js')"] {
        let config =
            format!("const path = require('path'); module.exports = {{ content: [path.join(path.dirname({path}), 'dist/**/*.mjs')] }}");
        let answer = answer(&small(&config, DIRECTIVES));
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{path}: {:#?}", answer.findings);
        assert_has(sheet(&answer, "src/index.css"), &[".mb-11"]);
    }
}

#[test]
fn the_installed_version_of_tailwind_is_used() {
    let page = ("index.html", "<script type=module src=/src/main.ts></script>");
    let lock = ("package-lock.json", r#"{"packages": {"node_modules/tailwindcss": {"version": "3.4.17"}}}"#);
    for (range, locks, expected) in
        [(">=3", vec![lock], TAILWIND_3), (">=3", vec![], TAILWIND), ("3", vec![], TAILWIND_3), ("^4", vec![lock], TAILWIND)]
    {
        let manifest = format!(r#"{{"devDependencies": {{"tailwindcss": "{range}"}}}}"#);
        let mut files = small("module.exports = {}", "@tailwind utilities;");
        files[0].1 = &manifest;
        let answer = compile(request(&[vec![page], files, locks].concat()));
        assert_eq!(answer.wanted_tools, [expected], "{range}");
    }
}
