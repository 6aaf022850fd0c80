//! Style sheets for `<link>`: the addresses of what they load depend on the tree.

use std::collections::{BTreeMap, HashMap};

use compiler_client::message::facts::Kind;

use super::{Graph, Name, Target, Walk};
use crate::module::marks;

/// Addresses of sheets. `None` while a sheet is generated.
pub(super) type Sheets = BTreeMap<Name, Option<String>>;

impl Walk {
    /// Generates a style sheet, and those that it imports, each once. Returns its address.
    pub(super) fn sheet(&mut self, graph: &mut Graph, name: &Name) -> String {
        if let Some(known) = self.sheets.get(name) {
            // A sheet that imports itself gets an empty one.
            return known.clone().unwrap_or_else(|| "data:text/css,".to_owned());
        }
        let Some(facts) = graph.load(name).cloned() else { return String::new() };
        self.sheets.insert(name.clone(), None);
        let mut addresses = HashMap::new();
        for import in facts.imports {
            if addresses.contains_key(&import.mark) {
                continue;
            }
            let target = match graph.target(name, &import) {
                Target::File(other) if other.1 == Kind::Sheet => {
                    self.reached.insert(other.clone());
                    let url = self.sheet(graph, &other);
                    url.strip_prefix("@m/").map(|file| format!("./{file}")).unwrap_or(url)
                }
                Target::File(other) => format!("../{}", self.file(graph, &other.0)),
                _ => import.written,
            };
            addresses.insert(import.mark, target);
        }
        let url = self.resource("css", marks::fill(&facts.marked, &addresses));
        self.sheets.insert(name.clone(), Some(url.clone()));
        url
    }
}
