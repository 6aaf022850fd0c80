//! The files of a crate import each other one way: no file imports, over whatever files, one that imports it. A module and the files
//! in its own folder are one thing, so a parent and its children may import each other; the root of a crate has no such right.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use house::root;

/// Circles that exist: their files, or a folder with all below it, and why. An entry that is not needed any more fails the test.
const EXCEPTIONS: &[(&[&str], &str)] = &[];

#[test]
fn files_import_each_other_one_way() {
    let mut used = BTreeSet::new();
    let mut circles = Vec::new();
    for lib in crate_roots() {
        for circle in circles_of(&lib, &|path| fs::read_to_string(root().join(path)).ok()) {
            let covers = |place: &&str, file: &str| if place.ends_with('/') { file.starts_with(place) } else { file == *place };
            let is_excused = |places: &[&str]| circle.iter().all(|file| places.iter().any(|place| covers(place, file)));
            match EXCEPTIONS.iter().position(|(places, _)| is_excused(places)) {
                Some(exception) => drop(used.insert(exception)),
                None => circles.push(circle),
            }
        }
    }
    assert!(circles.is_empty(), "these files import each other in a circle: {circles:#?}");
    for (at, (files, reason)) in EXCEPTIONS.iter().enumerate() {
        assert!(used.contains(&at), "{files:?} need no exception ({reason})");
    }
}

/// A name, files as names and texts, and the circles among them.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a [&'a str]]);

#[test]
fn circles_are_found_and_families_excused() {
    let cases: [Case; 9] = [
        ("one way", &[("lib", "mod a; mod b;"), ("a", "use crate::b::X;"), ("b", "")], &[]),
        ("two files", &[("lib", "mod a; mod b;"), ("a", "use crate::b::X;"), ("b", "fn f() { crate::a::g() }")], &[&["a", "b"]]),
        (
            "over a third, in groups",
            &[("lib", "mod a; mod b; mod c;"), ("a", "use crate::{b::{X, Y}, Z};"), ("b", "use super::c::*;"), ("c", "use crate::a;")],
            &[&["a", "b", "c"]],
        ),
        ("the root", &[("lib", "mod a; use crate::a::X; pub struct Y;"), ("a", "use crate::Y;")], &[&["a", "lib"]]),
        ("parent and child", &[("lib", "mod a;"), ("a", "mod b; use self::b::X;"), ("a/b", "use super::Y;")], &[]),
        (
            "siblings in a folder",
            &[("lib", "mod a;"), ("a", "mod b; mod c; use b::X;"), ("a/b", "use super::c::Y;"), ("a/c", "use crate::a::b::X;")],
            &[&["a/b", "a/c"]],
        ),
        (
            "a child and a stranger",
            &[("lib", "mod a; mod d;"), ("a", "mod b; fn f() { b::g() }"), ("a/b", "use crate::d::X;"), ("d", "use crate::a::Y;")],
            &[&["a", "a/b", "d"]],
        ),
        (
            "tests, comments and texts are no imports",
            &[
                ("lib", "mod a; mod b;"),
                ("a", "use crate::b::X;"),
                ("b", "// crate::a::X\nconst T: &str = \"crate::a\"; #[cfg(test)] mod tests { use crate::a::X; } #[cfg(test)] mod more;"),
                ("b/more", "use crate::a::X;"),
            ],
            &[],
        ),
        (
            "code behind tests counts",
            &[("lib", "mod a; mod b;"), ("a", "use crate::b::X;"), ("b", "#[cfg(test)] fn f() {} use crate::a::Y;")],
            &[&["a", "b"]],
        ),
    ];
    for (name, files, expected) in cases {
        let path = |name: &str| format!("x/src/{name}.rs");
        let text = |wanted: &str| files.iter().find(|(name, _)| path(name) == wanted).map(|(_, text)| (*text).to_owned());
        let expected: Vec<Vec<String>> = expected.iter().map(|circle| circle.iter().map(|file| path(file)).collect()).collect();
        assert_eq!(circles_of("x/src/lib.rs", &text), expected, "{name}");
    }
}

/// The circles below the root of a crate, each as the sorted paths of its files.
fn circles_of(root: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Vec<String>> {
    let mut tree = Tree::default();
    tree.load(root, Vec::new(), read);
    let mut circles = Vec::new();
    tree.find_circles(&(0..tree.files.len()).collect(), &mut circles);
    circles.sort();
    circles
}

struct File {
    path: String,
    /// From the root of the crate.
    module: Vec<String>,
    references: Vec<Reference>,
}

/// A path in the text, and the module that it stands in.
struct Reference {
    module: Vec<String>,
    path: Vec<String>,
}

/// The files of a crate, as its `mod` declarations name them.
#[derive(Default)]
struct Tree {
    files: Vec<File>,
    /// The file of each module; a module with a body is in its parent's.
    modules: BTreeMap<Vec<String>, usize>,
}

impl Tree {
    fn load(&mut self, path: &str, module: Vec<String>, read: &dyn Fn(&str) -> Option<String>) {
        let Some(text) = read(path) else { return };
        let tokens = without_tests(tokens(&text));
        let at = self.files.len();
        self.modules.insert(module.clone(), at);
        let (references, declared) = scan(&tokens, &module);
        self.files.push(File { path: path.to_owned(), module: module.clone(), references });
        let folder = match path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
            _ if module.is_empty() => path.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned()),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        for (child, has_body) in declared {
            if has_body {
                self.modules.insert(child, at);
                continue;
            }
            let below = child[module.len()..].join("/");
            let file = [format!("{folder}/{below}.rs"), format!("{folder}/{below}/mod.rs")].into_iter().find(|file| read(file).is_some());
            if let Some(file) = file {
                self.load(&file, child, read);
            }
        }
    }

    /// The file that a reference leads to: that of the last module that its path names.
    fn target(&self, reference: &Reference) -> Option<usize> {
        let mut module = reference.module.clone();
        let mut rest = reference.path.as_slice();
        match rest.first().map(String::as_str) {
            Some("crate") => module.clear(),
            Some("super") => drop(module.pop()),
            Some("self") => {}
            _ => module.push(rest.first()?.clone()),
        }
        rest = &rest[1..];
        for segment in rest {
            match segment.as_str() {
                "super" => drop(module.pop()),
                "self" => {}
                name => {
                    module.push(name.to_owned());
                    if !self.modules.contains_key(&module) {
                        module.pop();
                        break;
                    }
                }
            }
        }
        self.modules.get(&module).copied()
    }

    fn edges(&self, among: &BTreeSet<usize>) -> BTreeMap<usize, BTreeSet<usize>> {
        let of = |at: &usize| {
            let targets = self.files[*at].references.iter().filter_map(|reference| self.target(reference));
            (*at, targets.filter(|target| target != at && among.contains(target)).collect())
        };
        among.iter().map(of).collect()
    }

    /// A circle within one family is excused if its children are in none among themselves.
    fn find_circles(&self, among: &BTreeSet<usize>, circles: &mut Vec<Vec<String>>) {
        let edges = self.edges(among);
        let reach: BTreeMap<usize, BTreeSet<usize>> = among.iter().map(|at| (*at, reachable(*at, &edges))).collect();
        let mut done = BTreeSet::new();
        for at in among {
            let circle: BTreeSet<usize> = reach[at].iter().copied().filter(|other| reach[other].contains(at)).collect();
            if circle.is_empty() || !done.insert(circle.clone()) {
                continue;
            }
            let is_parent = |parent: &&usize| {
                let module = &self.files[**parent].module;
                !module.is_empty() && circle.iter().all(|file| self.files[*file].module.starts_with(module))
            };
            match circle.iter().find(is_parent) {
                Some(parent) => self.find_circles(&circle.iter().copied().filter(|file| file != parent).collect(), circles),
                None => {
                    let mut files: Vec<_> = circle.iter().map(|file| self.files[*file].path.clone()).collect();
                    files.sort();
                    circles.push(files);
                }
            }
        }
    }
}

/// All that can be reached by at least one edge.
fn reachable(from: usize, edges: &BTreeMap<usize, BTreeSet<usize>>) -> BTreeSet<usize> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        open.extend(edges[&at].iter().copied().filter(|next| seen.insert(*next)));
    }
    seen
}

/// The words and marks of a Rust text; `::` is one. Comments, literals and lifetimes are left out.
fn tokens(text: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest) {
            length
        } else if is_word(first) {
            tokens.push(rest[..word].to_owned());
            word
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the literal or the lifetime at the beginning.
fn literal(text: &str) -> Option<usize> {
    let bare = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - bare.len();
    if let Some(raw) = bare.strip_prefix('r') {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw[marks..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(marks));
            let from = prefix + 1 + marks + 1;
            return Some(text[from..].find(&end).map_or(text.len(), |at| from + at + end.len()));
        }
    }
    if bare.starts_with('"') {
        return Some(prefix + quoted(bare, '"'));
    }
    let inner = bare.strip_prefix('\'')?;
    let mut chars = inner.chars();
    let (first, second) = (chars.next()?, chars.next());
    if first == '\\' || second == Some('\'') {
        return Some(prefix + quoted(bare, '\''));
    }
    Some(prefix + 1 + inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len()))
}

/// The length of a text in quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Leaves out the items below `#[cfg(test)]`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if tokens[at..].iter().take(MARK.len()).map(String::as_str).eq(MARK) {
            at = end_of_item(&tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the item that begins here: its `;` outside of brackets, or the bracket that closes its body.
fn end_of_item(tokens: &[String], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The paths of a file that begin with `crate`, `super`, `self` or a module that it declares, and those modules: their paths, and whether
/// their body is here.
fn scan(tokens: &[String], module: &[String]) -> (Vec<Reference>, Vec<(Vec<String>, bool)>) {
    let (mut references, mut declared) = (Vec::new(), Vec::new());
    // Modules with a body that are open, and the depth of their brackets.
    let (mut open, mut depth): (Vec<(String, usize)>, usize) = (Vec::new(), 0);
    let children: BTreeSet<&str> =
        tokens.windows(3).filter(|w| w[0] == "mod" && matches!(w[2].as_str(), ";" | "{")).map(|w| w[1].as_str()).collect();
    for (at, token) in tokens.iter().enumerate() {
        let next = |ahead: usize| tokens.get(at + ahead).map_or("", String::as_str);
        let here = || module.iter().cloned().chain(open.iter().map(|(name, _)| name.clone())).collect::<Vec<_>>();
        match token.as_str() {
            "mod" if matches!(next(2), ";" | "{") => {
                let mut child = here();
                child.push(next(1).to_owned());
                declared.push((child, next(2) == "{"));
                if next(2) == "{" {
                    open.push((next(1).to_owned(), depth));
                }
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if open.last().is_some_and(|(_, outside)| *outside == depth) {
                    open.pop();
                }
            }
            name if next(1) == "::" && (matches!(name, "crate" | "super" | "self") || children.contains(name)) => {
                let continues = at > 0 && matches!(tokens[at - 1].as_str(), "::" | "." | "in");
                if !continues {
                    let module = here();
                    let found = paths(tokens, at).0;
                    references.extend(found.into_iter().map(|path| Reference { module: module.clone(), path }));
                }
            }
            _ => {}
        }
    }
    (references, declared)
}

/// The paths that begin at a token, with the groups of a `use` written out, and the token behind them.
fn paths(tokens: &[String], from: usize) -> (Vec<Vec<String>>, usize) {
    let is_name = |token: &String| token.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let (mut head, mut at) = (Vec::new(), from);
    while let Some(token) = tokens.get(at).filter(|token| is_name(token)) {
        head.push(token.clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    let is_group = tokens.get(at).is_some_and(|token| token == "{") && tokens[at - 1] == "::";
    if !is_group {
        return (vec![head], at);
    }
    let mut all = Vec::new();
    at += 1;
    while let Some(token) = tokens.get(at).filter(|token| *token != "}") {
        if is_name(token) {
            let (tails, behind) = paths(tokens, at);
            all.extend(tails.into_iter().map(|tail| head.iter().cloned().chain(tail).collect()));
            at = behind;
            // A new name is none of the path.
            if tokens.get(at).is_some_and(|token| token == "as") {
                at += 2;
            }
        } else {
            if token == "*" {
                all.push(head.clone());
            }
            at += 1;
        }
    }
    (all, at + 1)
}

/// The roots of all crates of the workspace.
fn crate_roots() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let (_, list) = manifest.split_once("members = [").expect("the members of the workspace");
    let members = list.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2);
    let mut roots = Vec::new();
    for member in members {
        let source = format!("{member}/src");
        roots.extend(["lib.rs", "main.rs"].map(|name| format!("{source}/{name}")));
        let programs = fs::read_dir(root().join(&source).join("bin")).into_iter().flatten().filter_map(Result::ok);
        for name in programs.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
            roots.push(if name.ends_with(".rs") { format!("{source}/bin/{name}") } else { format!("{source}/bin/{name}/main.rs") });
        }
    }
    roots.retain(|path| root().join(path).is_file());
    assert!(roots.len() > 8, "only {roots:?} were found");
    roots
}
