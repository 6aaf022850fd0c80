//! The files of a crate import each other one way: no file imports, directly or over other files, a file that imports it. A module and
//! the files in its own folder count as one, so a parent and its children may import each other. The root of a crate is no such parent.

use std::collections::{BTreeMap, BTreeSet};

use house::source::files;
use proc_macro2::TokenStream;
use syn::{
    Attribute, UseTree,
    buffer::{Cursor, TokenBuffer},
    visit::{self, Visit},
};

#[test]
fn files_import_each_other_one_way() {
    let files = files(|path| path.ends_with(".rs") && path.contains("/src/"));
    let texts: BTreeMap<_, _> = files.into_iter().map(|file| (file.path, file.text)).collect();
    let is_root = |path: &&String| ["/src/lib.rs", "/src/main.rs"].iter().any(|end| path.ends_with(end)) || path.contains("/src/bin/");
    let roots: Vec<_> = texts.keys().filter(is_root).collect();
    assert!(roots.len() > 8, "only the crates {roots:?} were found");
    let circles: Vec<_> = roots.into_iter().flat_map(|root| circles_of(root, &|path| texts.get(path).cloned())).collect();
    assert!(circles.is_empty(), "these files import each other in a circle: {circles:#?}");
}

/// A description, the files by name with their texts, and the expected circles.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a [&'a str]]);

#[test]
fn circles_are_found_and_a_parent_with_its_children_is_none() {
    let cases: [Case; 9] = [
        ("one way", &[("lib", "mod a; mod b;"), ("a", "use crate::b::X;"), ("b", "")], &[]),
        ("two files", &[("lib", "mod a; mod b;"), ("a", "use crate::b::X;"), ("b", "fn f() { crate::a::g() }")], &[&["a", "b"]]),
        (
            "over a third file, with groups in `use`",
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
            "over a child of the module",
            &[("lib", "mod a; mod d;"), ("a", "mod b; fn f() { b::g() }"), ("a/b", "use crate::d::X;"), ("d", "use crate::a::Y;")],
            &[&["a", "a/b", "d"]],
        ),
        (
            "tests, comments and string literals are ignored",
            &[
                ("lib", "mod a; mod b;"),
                ("a", "use crate::b::X;"),
                ("b", "// crate::a::X\nconst T: &str = \"crate::a\"; #[cfg(test)] mod tests { use crate::a::X; } #[cfg(test)] mod more;"),
                ("b/more", "use crate::a::X;"),
            ],
            &[],
        ),
        (
            "code after a test item counts",
            &[("lib", "mod a; mod b;"), ("a", "use crate::b::X;"), ("b", "#[cfg(test)] fn f() {} use crate::a::Y;")],
            &[&["a", "b"]],
        ),
    ];
    check(&cases);
}

#[test]
fn circles_are_found_over_paths_of_all_kinds() {
    let cases: [Case; 4] = [
        ("re-exports", &[("lib", "mod a; mod b;"), ("a", "pub use crate::b::X as Y;"), ("b", "pub(crate) use super::a;")], &[&["a", "b"]]),
        (
            "paths in types, patterns and attributes",
            &[
                ("lib", "mod a; mod b; mod c;"),
                ("a", "struct S { x: Vec<crate::b::X> }"),
                ("b", "fn f(x: u8) { match x { super::c::N => {} _ => {} } }"),
                ("c", "struct S { #[arg(default_value_t = crate::a::N)] x: u8 }"),
            ],
            &[&["a", "b", "c"]],
        ),
        (
            "paths in macro calls",
            &[("lib", "mod a; mod b;"), ("a", "fn f() { vec![1, crate::b::y()] }"), ("b", "fn f() { x!({ use super::{a::X, b}; }) }")],
            &[&["a", "b"]],
        ),
        (
            "modules with a body belong to their file",
            &[("lib", "mod a; mod b;"), ("a", "mod inner { use super::super::b::X; }"), ("b", "use crate::a::inner::Y;")],
            &[&["a", "b"]],
        ),
    ];
    check(&cases);
}

fn check(cases: &[Case]) {
    for (name, files, expected) in cases {
        let path = |name: &str| format!("x/src/{name}.rs");
        let text = |wanted: &str| files.iter().find(|(name, _)| path(name) == wanted).map(|(_, text)| (*text).to_owned());
        let expected: Vec<Vec<String>> = expected.iter().map(|circle| circle.iter().map(|file| path(file)).collect()).collect();
        assert_eq!(circles_of("x/src/lib.rs", &text), expected, "{name}");
    }
}

/// The circles of the crate with this root file, each as the sorted paths of its files.
fn circles_of(root: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Vec<String>> {
    let mut tree = Tree::default();
    tree.load(root, Vec::new(), read);
    let mut circles = Vec::new();
    tree.find_circles(&(0..tree.files.len()).collect(), &mut circles);
    circles.sort();
    circles
}

/// The names of a module and its parents, without `crate`.
type Module = Vec<String>;

struct File {
    path: String,
    module: Module,
    references: Vec<Reference>,
}

/// A path in the source, and the module that contains it.
struct Reference {
    module: Module,
    path: Vec<String>,
}

/// The files of a crate, as its `mod` items name them.
#[derive(Default)]
struct Tree {
    files: Vec<File>,
    /// The file of each module, as an index of `files`.
    modules: BTreeMap<Module, usize>,
}

impl Tree {
    fn load(&mut self, path: &str, module: Module, read: &dyn Fn(&str) -> Option<String>) {
        let Some(text) = read(path) else { return };
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut scanner = Scanner { module: module.clone(), ..Scanner::default() };
        scanner.visit_file(&syntax);
        let (folder, name) = path.rsplit_once('/').expect("a path with a folder");
        let is_folder = module.is_empty() || name == "mod.rs";
        let folder = if is_folder { folder } else { path.trim_end_matches(".rs") };
        let at = self.files.len();
        self.modules.insert(module.clone(), at);
        self.modules.extend(scanner.inline.into_iter().map(|inner| (inner, at)));
        self.files.push(File { path: path.to_owned(), module: module.clone(), references: scanner.references });
        for child in scanner.children {
            let below = child[module.len()..].join("/");
            let file = [format!("{folder}/{below}.rs"), format!("{folder}/{below}/mod.rs")].into_iter().find(|file| read(file).is_some());
            if let Some(file) = file {
                self.load(&file, child, read);
            }
        }
    }

    /// The file of the last module that a reference names; `None` for a path into another crate.
    fn target(&self, reference: &Reference) -> Option<usize> {
        let mut module = reference.module.clone();
        for (at, segment) in reference.path.iter().enumerate() {
            match segment.as_str() {
                "crate" => module.clear(),
                "super" => drop(module.pop()),
                "self" => {}
                name => {
                    module.push(name.to_owned());
                    if !self.modules.contains_key(&module) {
                        module.pop();
                        if at == 0 {
                            return None;
                        }
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

    /// A circle of a parent and modules below it is allowed if it disappears without the parent.
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
            if let Some(parent) = circle.iter().find(is_parent) {
                self.find_circles(&circle.iter().copied().filter(|file| file != parent).collect(), circles);
            } else {
                let paths: BTreeSet<_> = circle.iter().map(|file| self.files[*file].path.clone()).collect();
                circles.push(paths.into_iter().collect());
            }
        }
    }
}

/// What can be reached by at least one edge.
fn reachable(from: usize, edges: &BTreeMap<usize, BTreeSet<usize>>) -> BTreeSet<usize> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        open.extend(edges[&at].iter().copied().filter(|next| seen.insert(*next)));
    }
    seen
}

/// Collects the paths and the modules of a file, without the items below `#[cfg(test)]`.
#[derive(Default)]
struct Scanner {
    /// The module of the item that is visited.
    module: Module,
    references: Vec<Reference>,
    /// Modules with a body.
    inline: Vec<Module>,
    /// Modules in files of their own.
    children: Vec<Module>,
}

impl Scanner {
    fn add(&mut self, path: Vec<String>) {
        self.references.push(Reference { module: self.module.clone(), path });
    }

    /// Adds a path for each leaf of a `use`.
    fn add_use(&mut self, tree: &UseTree, mut path: Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.add_use(&part.tree, path);
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(item, path.clone())),
            UseTree::Name(name) => self.add(with(&path, &name.ident)),
            UseTree::Rename(rename) => self.add(with(&path, &rename.ident)),
            UseTree::Glob(_) => self.add(path),
        }
    }

    /// Adds the paths in the tokens of a macro call or an attribute, which syn does not parse. `prefix` is the path before a group.
    fn add_tokens(&mut self, mut at: Cursor, prefix: &[String]) {
        while !at.eof() {
            if let Some((group, _, _, after)) = at.any_group() {
                self.add_tokens(group, &[]);
                at = after;
            } else if let Some((name, after)) = at.ident() {
                let mut path = with(prefix, &name);
                at = after;
                // A `::` without a name after it: `*` or a group of a `use` follows.
                let mut is_open = false;
                while let Some(after) = separator(at) {
                    at = after;
                    is_open = at.ident().is_none();
                    let Some((name, after)) = at.ident() else { break };
                    path.push(name.to_string());
                    at = after;
                }
                if let Some((group, _, _, after)) = at.any_group().filter(|_| is_open) {
                    self.add_tokens(group, &path);
                    at = after;
                } else if is_open || path.len() > 1 {
                    self.add(path);
                }
            } else {
                at = at.token_tree().map_or(at, |(_, after)| after);
            }
        }
    }
}

fn with(path: &[String], name: &impl ToString) -> Vec<String> {
    path.iter().cloned().chain([name.to_string()]).collect()
}

/// The position after a `::`.
fn separator(at: Cursor) -> Option<Cursor> {
    let (first, after) = at.punct()?;
    let (second, after) = after.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(after)
}

/// Skips these items below `#[cfg(test)]`.
macro_rules! skip_tests {
    ($($visit:ident: $node:ident),* $(,)?) => {
        $(fn $visit(&mut self, node: &'ast syn::$node) {
            if !is_test(&node.attrs) {
                visit::$visit(self, node);
            }
        })*
    };
}

impl<'ast> Visit<'ast> for Scanner {
    skip_tests! {
        visit_item_const: ItemConst, visit_item_enum: ItemEnum, visit_item_fn: ItemFn, visit_item_impl: ItemImpl, visit_item_macro: ItemMacro,
        visit_item_static: ItemStatic, visit_item_struct: ItemStruct, visit_item_trait: ItemTrait, visit_item_type: ItemType,
        visit_impl_item_const: ImplItemConst, visit_impl_item_fn: ImplItemFn, visit_trait_item_fn: TraitItemFn,
        visit_variant: Variant, visit_field: Field, visit_field_value: FieldValue, visit_arm: Arm, visit_local: Local,
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let module = with(&self.module, &item.ident);
        if is_test(&item.attrs) {
        } else if item.content.is_none() {
            self.children.push(module);
        } else {
            self.inline.push(module.clone());
            let outer = std::mem::replace(&mut self.module, module);
            visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) && item.leading_colon.is_none() {
            self.add_use(&item.tree, Vec::new());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    /// A visibility is no import.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.add_tokens(TokenBuffer::new2(tokens.clone()).begin(), &[]);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_cfg_test = |attribute: &Attribute| {
        let condition = attribute.meta.require_list().ok().filter(|list| list.path.is_ident("cfg"));
        condition.is_some_and(|list| list.tokens.to_string() == "test")
    };
    attributes.iter().any(is_cfg_test)
}
