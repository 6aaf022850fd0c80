//! Which module imports which. An open page decides by it which modules it exchanges after a change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use compiler_client::message::facts::Kind;
use serde::{Serialize, Serializer};

use super::Name;

/// The modules of a page.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Ids of modules that elements of the page load.
    entries: BTreeSet<String>,
    modules: BTreeMap<String, Node>,
}

#[derive(Debug, Default)]
struct Node {
    url: String,
    /// Ids by specifiers. That of a package is empty.
    imports: BTreeMap<String, String>,
    /// Those of `import()`.
    dynamic: BTreeMap<String, String>,
}

/// The name of a module, whatever its content is.
pub(super) fn id(name: &Name) -> String {
    let end = match name.1 {
        Kind::Module => "",
        Kind::Raw => "?raw",
        Kind::Address => "?url",
        Kind::Inline => "?inline",
        Kind::Sheet => "?sheet",
        Kind::Worker => "?worker",
    };
    format!("{}{end}", name.0)
}

impl Links {
    pub(super) fn enter(&mut self, id: String) {
        self.entries.insert(id);
    }

    /// Notes the address of a module.
    pub(super) fn module(&mut self, id: &str, url: &str) {
        let node = self.modules.entry(id.to_owned()).or_default();
        url.clone_into(&mut node.url);
    }

    pub(super) fn import(&mut self, importer: &str, specifier: &str, target: String, is_dynamic: bool) {
        let node = self.modules.entry(importer.to_owned()).or_default();
        let imports = if is_dynamic { &mut node.dynamic } else { &mut node.imports };
        imports.insert(specifier.to_owned(), target);
    }

    /// The modules with addresses as `{"entries": [INDEX], "modules": [[ID, ADDRESS, IMPORTS, DYNAMIC IMPORTS]]}`, where imports are
    /// indices by specifiers, -1 for a package.
    pub(crate) fn list<'l>(&'l self, base: &str) -> List<'l> {
        let known = self.modules.iter().filter(|(_, node)| !node.url.is_empty());
        let indices: Indices = known.clone().zip(0..).map(|((id, _), at)| (id.as_str(), at)).collect();
        let indices = Rc::new(indices);
        let imports = |imports: &'l BTreeMap<String, String>| Imports { imports, indices: Rc::clone(&indices) };
        let modules =
            known.map(|(id, node)| (id.as_str(), format!("{base}{}", node.url), imports(&node.imports), imports(&node.dynamic))).collect();
        List { entries: self.entries.iter().map(|id| index(&indices, id)).collect(), modules }
    }
}

/// Numbers by ids.
type Indices<'l> = HashMap<&'l str, i64>;

fn index(indices: &Indices<'_>, id: &str) -> i64 {
    indices.get(id).copied().unwrap_or(-1)
}

/// The modules as a page has them. They are written as they are read, because a large page has thousands.
#[derive(Serialize)]
pub(crate) struct List<'l> {
    entries: Vec<i64>,
    modules: Vec<(&'l str, String, Imports<'l>, Imports<'l>)>,
}

struct Imports<'l> {
    imports: &'l BTreeMap<String, String>,
    indices: Rc<Indices<'l>>,
}

impl Serialize for Imports<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.imports.iter().map(|(specifier, id)| (specifier, index(&self.indices, id))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn modules_are_numbered_and_packages_are_not() {
        let mut links = Links::default();
        links.enter("b".to_owned());
        links.module("b", "@m/1.js");
        links.import("b", "/a", "a".to_owned(), false);
        links.import("b", "react", String::new(), false);
        links.import("b", "/broken", "broken".to_owned(), true);
        links.module("a", "@m/2.js");
        links.import("broken", "/a", "a".to_owned(), false);
        let expected = json!({
            "entries": [1],
            "modules": [["a", "/p/@m/2.js", {}, {}], ["b", "/p/@m/1.js", {"/a": 0, "react": -1}, {"/broken": -1}]],
        });
        assert_eq!(serde_json::to_value(links.list("/p/")).expect("JSON"), expected);
        assert_eq!(id(&("a.png".to_owned(), Kind::Address)), "a.png?url");
    }
}
