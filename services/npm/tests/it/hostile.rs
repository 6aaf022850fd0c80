//! What a stranger may write: project files, lock files and packages that want more than their share. Each has an error that names the limit,
//! or a tree, within bounded work and memory.

use std::fmt::Write as _;

use bytes::Bytes;
use npm::{Limits, Lock, Options, PackageJson, Registry, RegistryError, packument::Packument, resolve, semver::Version};

/// A registry that makes packuments: `versions` for each name.
struct Generator<F>(F);

impl<F: Fn(&str) -> Option<String> + Sync> Registry for Generator<F> {
    async fn packument(&self, name: &str) -> Result<Bytes, RegistryError> {
        (self.0)(name).map(|versions| Bytes::from(format!("{{\"versions\": {versions}}}"))).ok_or(RegistryError::NotFound)
    }

    async fn tarball(&self, _: &str, _: &str) -> Result<Bytes, RegistryError> {
        Err(RegistryError::NotFound)
    }
}

/// A JSON object with these members.
fn object(members: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = "{".to_owned();
    for (name, value) in members {
        let separator = if text.len() > 1 { "," } else { "" };
        write!(text, "{separator}\"{name}\": {value}").expect("memory");
    }
    text + "}"
}

/// `p0` … with the specifier of each.
fn packages(numbers: impl IntoIterator<Item = usize>, specifier: impl Fn(usize) -> String) -> String {
    object(numbers.into_iter().map(|at| (format!("p{at}"), format!("\"{}\"", specifier(at)))))
}

fn number(name: &str) -> usize {
    name.trim_start_matches('p').parse().unwrap_or_default()
}

/// What comes out, as a text.
fn outcome(project: &str, lock: Option<(&str, &str)>, registry: &impl Registry, limits: Limits) -> String {
    let read = || {
        let package = PackageJson::parse(project.as_bytes(), &limits)?;
        let lock = lock.map(|(file, text)| Lock::parse(file, text.as_bytes(), &limits)).transpose()?;
        let options = Options { limits, ..Options::default() };
        futures::executor::block_on(resolve(&package, lock.as_ref(), registry, &options))
    };
    read().map_or_else(|error: npm::Error| error.to_string(), |resolution| format!("{} packages", resolution.tree.packages.len()))
}

const SIMPLE: &str = "{\"1.0.0\": {}}";

#[test]
fn project_files_want_too_much() {
    let list = |entries: &str| format!("{{\"dependencies\": {entries}}}");
    let nested = format!("{{\"overrides\": {}1{}}}", "{\"a\":".repeat(17), "}".repeat(17));
    let rules = format!("{{\"overrides\": {}}}", packages(0..201, |_| "1".to_owned()));
    for (project, expected) in [
        ("[".repeat(1 << 20), "recursion limit exceeded"),
        (format!("{{\"x\": \"{}\"}}", "x".repeat(1 << 20)), "package.json has more than 1048576 bytes"),
        (list(&packages(0..2_001, |_| "1".to_owned())), "package.json: dependencies has more than 2000 entries"),
        (list(&format!("{{\"a\": \"{}\"}}", "1||".repeat(700))), "dependencies.a: 1||1||"),
        (list("{\"__proto__\": \"1\"}"), "dependencies.__proto__: 1 has no valid name"),
        (list("{\"constructor\": \"1\", \"toString\": \"^1\", \"hasOwnProperty\": \"*\"}"), "3 packages"),
        (list("{\"a\": \"__proto__\", \"b\": \"npm:__proto__@1\"}"), "a: no version matches \"__proto__\""),
        ("{\"__proto__\": {\"dependencies\": {\"a\": \"1\"}}, \"overrides\": {\"constructor\": \"$toString\"}}".to_owned(), "0 packages"),
        (nested, "package.json: overrides has more than 16 levels"),
        (rules, "package.json: overrides has more than 200 rules"),
        (format!("{{\"overrides\": {{\"a@{}\": \"1\"}}}}", "1||".repeat(100)), "has a range of more than 256 bytes"),
        (list(&packages(0..480, |_| vec!["1"; 680].join("||"))), "480 packages"),
    ] {
        let found = outcome(&project, None, &Generator(|_: &str| Some(SIMPLE.to_owned())), Limits::default());
        assert!(found.contains(expected), "{}: {found}", project.chars().take(60).collect::<String>());
    }
}

#[test]
fn lock_files_want_too_much() {
    let json = |entries: String| format!("{{\"packages\": {entries}}}");
    let place = |at: usize| (format!("node_modules/p{at}"), "{\"version\": \"1.0.0\"}".to_owned());
    let yaml = |text: &str| format!("lockfileVersion: '9.0'\n{text}");
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned();
    (1..12).for_each(|at| writeln!(bomb, "a{at}: &a{at} [{}]", vec![format!("*a{}", at - 1); 8].join(",")).expect("memory"));
    for (file, text, expected) in [
        ("package-lock.json", "x".repeat((8 << 20) + 1), "package-lock.json has more than 8388608 bytes"),
        ("package-lock.json", "[".repeat(1 << 20), "package-lock.json: .: ["),
        ("package-lock.json", format!("{{\"packages\": {}", "[".repeat(1 << 20)), "package-lock.json: EOF while parsing"),
        ("package-lock.json", format!("{{\"x\": [{}1]}}", "[{}],".repeat(1 << 20)), "1 packages"),
        ("package-lock.json", json(object((0..20_001).map(place))), "package-lock.json has more than 20000 entries"),
        ("package-lock.json", json(object((0..3_001).map(place))), "the lock file has more than 3000 packages"),
        ("package-lock.json", json(packages(0..100, |_| "1".to_owned()).replace("\"p", "\"__proto__/node_modules/p")), "1 packages"),
        (
            "package-lock.json",
            format!("{}1{}", "{\"dependencies\": {\"a\":".repeat(50), "}}".repeat(50)),
            "more than 32 levels of node_modules",
        ),
        (
            "package-lock.json",
            json(object((1..40).map(|levels| (vec!["node_modules/a"; levels].join("/"), "{\"version\": \"1.0.0\"}".to_owned())))),
            "the lock file has more than 32 levels of node_modules",
        ),
        ("pnpm-lock.yaml", yaml(&format!("x: [{}1]", "1,".repeat(1 << 20))), "pnpm-lock.yaml has more than 400000 nodes"),
        ("pnpm-lock.yaml", yaml(&"- ".repeat(1 << 20)), "pnpm-lock.yaml has more than 400000 nodes"),
        ("pnpm-lock.yaml", yaml(&"a\r".repeat(1 << 20)), "pnpm-lock.yaml has more than 400000 nodes"),
        ("pnpm-lock.yaml", yaml(&"- x\u{2028}".repeat(1 << 19)), "pnpm-lock.yaml has more than 400000 nodes"),
        ("pnpm-lock.yaml", "[".repeat(20_000), "recursion limit exceeded"),
        ("pnpm-lock.yaml", "? ".repeat(20_000), "pnpm-lock.yaml: invalid type"),
        ("pnpm-lock.yaml", (0..200).fold(String::new(), |text, at| format!("{text}{}a:\n", " ".repeat(at))), "recursion limit exceeded"),
        ("pnpm-lock.yaml", yaml(&bomb), "pnpm-lock.yaml: "),
        (
            "pnpm-lock.yaml",
            yaml(&format!("a: &a {}\nb: [{}*a]\n", "x".repeat(1 << 20), "*a,".repeat(1_000))),
            "pnpm-lock.yaml has more than 67108864 bytes in memory",
        ),
        ("yarn.lock", format!("{}a@1:\n", "a@1,".repeat(1 << 20)), "yarn.lock has more than 20000 entries"),
        ("yarn.lock", (0..20_001).fold(String::new(), |text, at| text + &format!("a@{at}:\n")), "yarn.lock has more than 20000 entries"),
        (
            "yarn.lock",
            format!("__metadata:\n  version: 8\n? \"{}a@npm:1\"\n: {{}}\n", "a@npm:1,".repeat(30_000)),
            "yarn.lock has more than 20000 entries",
        ),
    ] {
        let project = "{\"dependencies\": {\"a\": \"1\"}}";
        let found = outcome(project, Some((file, &text)), &Generator(|_: &str| Some(SIMPLE.to_owned())), Limits::default());
        assert!(found.contains(expected), "{file} {}: {found}", text.chars().take(60).collect::<String>());
    }
}

#[test]
fn packuments_want_too_much() {
    let versions = |versions: String| format!("{{\"versions\": {versions}}}");
    let many = |count: usize| object((0..count).map(|at| (format!("1.0.{at}"), "{}".to_owned())));
    let nested = format!(
        "{{\"1.0.0\": {{\"x\": {}{}}}, \"1.0.1\": {{\"os\": {}{}}}}}",
        "[".repeat(9_999),
        "]".repeat(9_999),
        "[".repeat(9_999),
        "]".repeat(9_999)
    );
    for (text, expected) in [
        ("x".repeat((64 << 20) + 1), "the packument of a has more than 67108864 bytes"),
        (versions(many(100_000)), "the packument of a has more than 50000 versions"),
        (versions(format!("{{{}\"1.0.0\": {{}}}}", "\"1.0.0\": {},".repeat(200_000))), "the packument of a has more than 50000 versions"),
        (versions(nested), "1.0.1"),
        (versions("[".repeat(1 << 20)), "the packument of a: expected value"),
        ("[".repeat(1 << 20), "the packument of a: is not an object"),
        (format!("{{\"dist-tags\": {{{}\"latest\": \"1.0.0\"}}, \"versions\": {SIMPLE}}}", "\"a\": \"1.0.0\",".repeat(200_000)), "1.0.0"),
        (
            versions(format!(
                "{{\"1.0.0\": {{\"os\": [{}1], \"engines\": {{\"node\": \"{}\"}}}}}}",
                "[],".repeat(200_000),
                ">1 ".repeat(9_999)
            )),
            "1.0.0",
        ),
    ] {
        let node = Version::parse("22.0.0").expect("a version");
        let any = npm::spec::Spec::parse("*").expect("a range").wanted;
        let found = Packument::parse("a", text.as_bytes(), &node, &Limits::default()).map_or_else(
            |error| error.to_string(),
            |packument| packument.pick(&any).map_or_else(String::new, |manifest| manifest.version.clone()),
        );
        assert!(found.contains(expected), "{}: {found}", text.chars().take(60).collect::<String>());
    }
}

#[test]
fn versions_with_long_lists_are_counted_in_memory() {
    let dependencies = packages(0..5_000, |_| "1".to_owned());
    let versions = object((0..20).map(|at| (format!("1.0.{at}"), format!("{{\"dependencies\": {dependencies}}}"))));
    let node = Version::parse("22.0.0").expect("a version");
    let limits = Limits { packuments_memory: 4 << 20, ..Limits::default() };
    let error = Packument::parse("a", format!("{{\"versions\": {versions}}}").as_bytes(), &node, &limits).expect_err("too large");
    assert_eq!(error.to_string(), "the packument of a has more than 4194304 bytes in memory");
    // Each is small enough, and all together are not.
    let registry = Generator(|name: &str| {
        let next = packages((1..5_000).map(|at| number(name) * 2 + at % 2 + 1), |_| "1".to_owned());
        Some(format!("{{\"1.0.0\": {{\"dependencies\": {next}, \"os\": [{}\"x\"]}}}}", "\"linux\",".repeat(4_000)))
    });
    let found = outcome("{\"dependencies\": {\"p0\": \"1\"}}", None, &registry, limits);
    assert_eq!(found, "the resolution has more than 4194304 bytes of memory for packuments");
}

/// A registry by what its packages do, the versions of a package by its number, and what comes out.
type Case = (&'static str, Box<dyn Fn(usize) -> String + Sync>, &'static str);

/// A package with one version and one list.
fn one(list: &str, entries: &str) -> String {
    format!("{{\"1.0.0\": {{\"{list}\": {entries}}}}}")
}

/// Two versions, with the list of each.
fn two(list: &str, first: &str, second: &str) -> String {
    format!("{{\"1.0.0\": {{\"{list}\": {first}}}, \"2.0.0\": {{\"{list}\": {second}}}}}")
}

/// Every package wants every other one: in both versions, or in the version that it is not.
fn dense(list: &'static str, first: &'static str, second: &'static str) -> Box<dyn Fn(usize) -> String + Sync> {
    let others = |at: usize, range: &str| packages((0..30).filter(|other| *other != at), |_| range.to_owned());
    Box::new(move |at| two(list, &others(at, first), &others(at, second)))
}

/// Many packages, or many dependencies.
fn wide_cases() -> Vec<Case> {
    let next = |at: usize| packages(at + 1..at + 5_001, |_| "1".to_owned());
    let specifiers =
        |at: usize| object((0..5_000).map(|next| (format!("p{}", (at + next) % 900), format!("\"npm:p{}@>={at} || 1.0.{next}\"", at + 1))));
    let odd = "{\"__proto__\": \"1\", \"constructor\": \"1\", \"../x\": \"1\", \"a/b/c\": \"1\"}";
    vec![
        ("dependencies on all others", dense("dependencies", "*", ">=1"), "30 packages"),
        ("dependencies on all others' other version", dense("dependencies", "2", "1"), "steps"),
        ("optional dependencies on all others", dense("optionalDependencies", "2", "1"), "steps"),
        ("peers of all others", dense("peerDependencies", "*", ">=1"), "steps"),
        ("peers of all others' other version", dense("peerDependencies", "2", "1"), "peers of peers"),
        ("5,000 dependencies of every package", Box::new(move |at| one("dependencies", &next(at))), "packuments"),
        ("5,000 specifiers of every package", Box::new(move |at| one("dependencies", &specifiers(at))), "different dependencies"),
        ("prototype names", Box::new(move |_| one("dependencies", odd)), "4 packages"),
    ]
}

/// Packages that want the next one.
fn long_cases() -> Vec<Case> {
    let to = |at: usize, specifier: &str| packages([at], |_| specifier.to_owned());
    let again = |at: usize| {
        let versions =
            (1..500).map(|version| (format!("{version}.0.0"), format!("{{\"dependencies\": {{\"p{at}\": \"{}\"}}}}", version + 1)));
        object(versions)
    };
    vec![
        ("a chain without an end", Box::new(move |at| one("dependencies", &to(at + 1, "1"))), "packuments"),
        ("a chain of peers without an end", Box::new(move |at| one("peerDependencies", &to(at + 1, "1"))), "packuments"),
        ("a chain of peers", Box::new(move |at| one("peerDependencies", &to((at + 1) % 200, "1"))), "peers of peers"),
        (
            "a chain in two versions, without sharing",
            Box::new(move |at| two("dependencies", &to((at + 1) % 40, "2"), &to((at + 1) % 40, "1"))),
            "80 packages",
        ),
        ("a package that wants its next version", Box::new(again), "levels of node_modules"),
        ("cycles of one", Box::new(move |at| one("dependencies", &to(at, "1"))), "3 packages"),
    ]
}

#[test]
fn packages_want_too_much() {
    for (name, versions, expected) in wide_cases().into_iter().chain(long_cases()) {
        let limits = Limits { steps: 2_000_000, packuments: 1_000, requests: 20_000, ..Limits::default() };
        let registry =
            Generator(|package: &str| Some(if package.starts_with('p') { versions(number(package)) } else { SIMPLE.to_owned() }));
        let found = outcome("{\"dependencies\": {\"p0\": \"1\", \"p1\": \"*\", \"p2\": \">=1\"}}", None, &registry, limits);
        assert!(found.contains(expected), "{name}: {found}");
    }
}

/// A tree of many levels, in which every package is found from many others. `p0` has a version for each level, and with it another version
/// of each part.
fn deep_tree(name: &str, limits: Limits) -> String {
    const LEVELS: usize = 25;
    let versions = |level: usize, list: String| (format!("{level}.0.0"), format!("{{\"dependencies\": {list}}}"));
    let parts = |level: usize| (0..12).map(move |at| (format!("{name}{at}"), format!("\"{level}\"")));
    let next = |level: usize| (level < LEVELS).then(|| ("p0".to_owned(), format!("\"{}\"", level + 1)));
    let registry = Generator(|package: &str| {
        let is_chain = package == "p0";
        Some(object((1..=LEVELS).map(|level| versions(level, object(parts(level).chain(next(level).filter(|_| is_chain)))))))
    });
    outcome("{\"dependencies\": {\"p0\": \"1\"}}", None, &registry, limits)
}

#[test]
fn long_paths_cost_more() {
    let limits = Limits { steps: 1_900_000, ..Limits::default() };
    assert_eq!(deep_tree("x", limits), "325 packages");
    assert_eq!(deep_tree(&"x".repeat(210), limits), "the resolution has more than 1900000 steps");
}

#[test]
fn overrides_want_too_much() {
    // Every rule is about one package, and every package wants it in another way.
    let ranges = |at: usize, count: usize| (0..count).map(|next| format!(">{at}.{next}")).collect::<Vec<_>>().join(" ");
    let rules = object((0..60).map(|at| (format!("x@{}", ranges(at, 30)), format!("{{\".\": \"{}\", \"y{at}\": \"1\"}}", ranges(at, 30)))));
    let project = format!("{{\"dependencies\": {}, \"overrides\": {rules}}}", packages(0..300, |_| "1".to_owned()));
    let registry = Generator(|name: &str| {
        Some(if name.starts_with('p') {
            format!("{{\"1.0.0\": {{\"dependencies\": {{\"x\": \"{}\"}}}}}}", ranges(number(name), 200))
        } else {
            "{\"99.0.0\": {}, \"1.0.0\": {}}".to_owned()
        })
    });
    let found = outcome(&project, None, &registry, Limits { steps: 5_000_000, ..Limits::default() });
    assert!(found.contains("steps"), "{found}");
}
