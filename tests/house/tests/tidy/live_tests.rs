//! Which functions run as tests with `make test`. It reads lines, as rustfmt writes them.

use std::{collections::BTreeMap, fs};

use house::{
    root,
    source::{File, rust_files},
};

/// The conditions that hold in `make test`, which builds the whole workspace, on Linux. A test below another condition may not run.
const HOLD: [&str; 6] =
    ["test", "unix", "target_os = \"linux\"", "feature = \"testing\"", "feature = \"failpoints\"", "feature = \"seeded-bugs\""];

/// Files by path, with their texts.
pub(crate) struct Files(BTreeMap<String, String>);

impl Files {
    pub(crate) fn of_repository() -> Self {
        Self(rust_files().into_iter().map(|File { path, text }| (path, text)).collect())
    }

    /// The paths and the texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether the function of the file runs as a test, or is the `main` of a test program without the harness.
    pub(crate) fn has_live_test(&self, path: &str, name: &str) -> bool {
        let is_program = name == "main" && is_test_program(path);
        self.is_compiled(path) && (is_program || self.0.get(path).is_some_and(|text| is_live_test(text, name)))
    }

    /// Whether the file is the root of a crate, or a compiled file declares it. It must be where its module is without `#[path]`.
    fn is_compiled(&self, path: &str) -> bool {
        let inner = |text: &String| text.lines().filter(|line| line.starts_with("#![")).all(is_on);
        let is_declared = || {
            let (name, parents) = parents(path)?;
            let is_parent = |parent: &String| self.0.get(parent).is_some_and(|text| declares(text, name)) && self.is_compiled(parent);
            Some(parents.iter().any(is_parent))
        };
        self.0.get(path).is_some_and(inner) && (is_root(path) || is_declared() == Some(true))
    }
}

/// The name of the module of a file, and the files that may declare it.
fn parents(path: &str) -> Option<(&str, [String; 4])> {
    let (folder, file) = path.rsplit_once('/')?;
    let (folder, name) = if file == "mod.rs" { folder.rsplit_once('/')? } else { (folder, file.strip_suffix(".rs")?) };
    Some((name, [".rs", "/mod.rs", "/lib.rs", "/main.rs"].map(|end| format!("{folder}{end}"))))
}

fn is_root(path: &str) -> bool {
    let of_sources = path.split_once("/src/").is_some_and(|(_, file)| ["lib.rs", "main.rs"].contains(&file) || file.starts_with("bin/"));
    let of_tests = path.rsplit_once("/tests/").filter(|(folder, _)| !format!("{folder}/").contains("/src/"));
    of_sources || of_tests.is_some_and(|(_, file)| !file.contains('/') || file.ends_with("/main.rs"))
}

/// Whether the text declares a module in a file of its own, without a condition that may not hold.
fn declares(text: &str, name: &str) -> bool {
    let (lines, declaration): (Vec<_>, _) = (text.lines().collect(), format!("mod {name};"));
    let is_declared =
        |line: &str| line.trim().strip_suffix(&declaration).is_some_and(|public| public.is_empty() || public.starts_with("pub"));
    (0..lines.len()).any(|at| is_declared(lines[at]) && attributes(&lines, at).all(is_on))
}

/// Whether a function of a file is a test that runs: it has the attribute, is not ignored, and neither it nor a module around it is off.
fn is_live_test(text: &str, name: &str) -> bool {
    let (lines, declaration): (Vec<_>, _) = (text.lines().collect(), format!("fn {name}("));
    let is_declared = |line: &str| line.trim().trim_start_matches("async ").starts_with(&declaration);
    let is_test = |line: &str| ["#[test]", "#[tokio::test"].iter().any(|start| line.starts_with(start));
    (0..lines.len()).filter(|at| is_declared(lines[*at])).any(|at| {
        let around = modules_around(&lines, at).into_iter().flat_map(|module| attributes(&lines, module));
        attributes(&lines, at).any(is_test) && attributes(&lines, at).chain(around).all(is_on)
    })
}

/// The lines that open the modules around a line of the same file.
fn modules_around(lines: &[&str], at: usize) -> Vec<usize> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let (mut inner, mut modules) = (indentation(lines[at]), Vec::new());
    for (above, line) in lines[..at].iter().enumerate().rev() {
        if line.ends_with('{') && indentation(line) < inner {
            inner = indentation(line);
            modules.extend(line.split(' ').any(|word| word == "mod").then_some(above));
        }
    }
    modules
}

/// The lines of attributes above a line. The end of an attribute of several lines is one of them.
fn attributes<'a>(lines: &'a [&'a str], at: usize) -> impl Iterator<Item = &'a str> {
    let above = lines[..at].iter().rev().map(|line| line.trim());
    above.take_while(|line| ["#[", "//", ")]"].iter().any(|start| line.starts_with(start))).filter(|line| !line.starts_with("//"))
}

/// Whether the item of an attribute is compiled and, if it is a test, not ignored. What is not understood is not.
fn is_on(attribute: &str) -> bool {
    let attribute = attribute.replacen("#!", "#", 1);
    let is_ignored = attribute.starts_with("#[ignore") || attribute.starts_with("#[cfg_attr(");
    match attribute.strip_prefix("#[cfg(") {
        Some(condition) => condition.strip_suffix(")]").is_some_and(holds),
        None => attribute.starts_with("#[") && !is_ignored,
    }
}

/// Whether a condition, or all of them, hold.
fn holds(condition: &str) -> bool {
    let all = condition.strip_prefix("all(").and_then(|rest| rest.strip_suffix(')'));
    HOLD.contains(&condition) || all.is_some_and(|conditions| conditions.split(", ").all(|one| HOLD.contains(&one)))
}

/// Whether the file is a test program of its own, whose `main` cargo runs.
fn is_test_program(path: &str) -> bool {
    let Some((folder, file)) = path.split_once("/tests/") else { return false };
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap_or_default();
    let name = format!("name = \"{}\"", file.trim_end_matches(".rs"));
    manifest.split("[[test]]").skip(1).any(|section| {
        let own = section.split("\n[").next().unwrap_or_default();
        own.contains(&name) && own.contains("harness = false")
    })
}

#[test]
fn only_functions_that_run_as_tests_count() {
    let text = "
        #[test]
        fn plain() {}
        /// Why.
        #[tokio::test(flavor = \"multi_thread\")]
        // A remark.
        async fn with_a_runtime() {}
        #[test]
        #[ignore = \"slow\"]
        fn ignored() {}
        #[test]
        #[cfg_attr(unix, ignore)]
        fn ignored_here() {}
        #[test]
        #[cfg(target_os = \"linux\")]
        fn on_linux() {}
        #[cfg(target_os = \"windows\")]
        #[test]
        fn elsewhere() {}
        #[test]
        fn longer_name() {}

        fn helper() {}
        // fn in_a_comment() {}
    ";
    for (name, is_live) in [
        ("plain", true),
        ("with_a_runtime", true),
        ("longer_name", true),
        ("on_linux", true),
        ("ignored", false),
        ("ignored_here", false),
        ("elsewhere", false),
        ("helper", false),
        ("in_a_comment", false),
        ("longer", false),
        ("absent", false),
    ] {
        assert_eq!(is_live_test(text, name), is_live, "{name}");
    }
    assert!(is_test_program("services/compiler/tests/sandbox.rs"));
    for path in ["services/compiler/tests/none.rs", "services/compiler/src/main.rs", "services/auth/tests/sandbox.rs"] {
        assert!(!is_test_program(path), "{path}");
    }
}

#[test]
fn a_test_in_a_module_counts_only_if_the_module_is_on() {
    for (attributes, is_live) in [
        ("#[cfg(test)]", true),
        ("/// Why.\n#[cfg(all(test, feature = \"failpoints\"))]", true),
        ("#[allow(dead_code, reason = \"a case\")]\n#[cfg(unix)]", true),
        ("", true),
        ("#[cfg(any())]", false),
        ("#[cfg(not(test))]", false),
        ("#[cfg(feature = \"other\")]", false),
        ("#[cfg(all(test, windows))]", false),
        ("#[cfg(test)]\n#[cfg(windows)]", false),
        ("#[cfg(\n    windows\n)]", false),
    ] {
        let body = "use super::*;\n\n    fn helper() {\n        run();\n    }\n\n    #[test]\n    fn works() {}";
        for text in [
            format!("{attributes}\nmod tests {{\n    {body}\n}}\n"),
            format!(
                "{attributes}\npub(crate) mod tests {{\n    proptest! {{\n        #[test]\n        fn works(x in 0..1) {{}}\n    }}\n}}\n"
            ),
        ] {
            assert_eq!(is_live_test(&text, "works"), is_live, "{text}");
        }
        let before = format!("{attributes}\nmod other {{\n    fn helper() {{}}\n}}\n\n#[test]\nfn works() {{}}\n");
        assert!(is_live_test(&before, "works"), "it is after the module: {before}");
    }
}

/// A description, files by path with their texts, the file of the test, and whether it counts.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, bool);

const TEST: &str = "//! A page.\n\n#[test]\nfn works() {}\n";
const OFF: &str = "//! A page.\n#![cfg(feature = \"other\")]\n\n#[test]\nfn works() {}\n";

#[test]
fn a_test_in_a_file_counts_only_if_the_file_is_compiled() {
    let cases: [Case; 16] = [
        ("a test program", &[("x/tests/a.rs", TEST)], "x/tests/a.rs", true),
        ("a test program of the crate below tests", &[("tests/x/tests/it/main.rs", TEST)], "tests/x/tests/it/main.rs", true),
        ("a file that is on", &[("x/tests/a.rs", "#![cfg(feature = \"testing\")]\n#[test]\nfn works() {}")], "x/tests/a.rs", true),
        ("a file that is off", &[("x/tests/a.rs", OFF)], "x/tests/a.rs", false),
        ("a module", &[("x/src/lib.rs", "mod a;"), ("x/src/a.rs", TEST)], "x/src/a.rs", true),
        ("a public module", &[("x/src/lib.rs", "pub(crate) mod a;"), ("x/src/a.rs", TEST)], "x/src/a.rs", true),
        ("a module of tests", &[("x/src/lib.rs", "#[cfg(test)]\nmod a;"), ("x/src/a.rs", TEST)], "x/src/a.rs", true),
        ("a module that is off inside", &[("x/src/lib.rs", "mod a;"), ("x/src/a.rs", OFF)], "x/src/a.rs", false),
        ("a module that is off", &[("x/src/lib.rs", "#[cfg(windows)]\nmod a;"), ("x/src/a.rs", TEST)], "x/src/a.rs", false),
        ("a module that nothing declares", &[("x/src/lib.rs", "mod ab;"), ("x/src/a.rs", TEST)], "x/src/a.rs", false),
        ("a module in a comment", &[("x/src/lib.rs", "// mod a;"), ("x/src/a.rs", TEST)], "x/src/a.rs", false),
        ("a module of a folder", &[("x/tests/it/main.rs", "mod a;"), ("x/tests/it/a/mod.rs", TEST)], "x/tests/it/a/mod.rs", true),
        ("a module of a module", &[("x/src/lib.rs", "mod a;"), ("x/src/a.rs", "mod b;"), ("x/src/a/b.rs", TEST)], "x/src/a/b.rs", true),
        (
            "a module of one that is off",
            &[("x/src/lib.rs", "#[cfg(any())]\nmod a;"), ("x/src/a.rs", "mod b;"), ("x/src/a/b.rs", TEST)],
            "x/src/a/b.rs",
            false,
        ),
        ("a folder of tests in the sources", &[("x/src/lib.rs", ""), ("x/src/tests/a.rs", TEST)], "x/src/tests/a.rs", false),
        ("no file", &[], "x/tests/a.rs", false),
    ];
    for (what, files, path, is_live) in cases {
        let files = Files(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect());
        assert_eq!(files.has_live_test(path, "works"), is_live, "{what}");
    }
}
