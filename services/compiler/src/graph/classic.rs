//! Names that scripts of pages define for all others, since they are no modules.

use std::collections::BTreeSet;

use super::{Graph, walk};
use crate::{
    module::{
        self,
        classic::{self, Definitions},
    },
    page::{self, Item, Outline, Role},
};

/// What the classic scripts of pages define.
#[derive(Debug, Default)]
pub(crate) struct Classic {
    pub(super) names: BTreeSet<String>,
    /// There may be further names: a script is of another origin, cannot be read, or loads others.
    pub(super) is_open: bool,
}

impl Classic {
    /// Reads the scripts of pages with their paths. The content of a script that is absent is wanted.
    pub(crate) fn of<'o>(graph: &Graph, pages: impl Iterator<Item = (&'o str, &'o Outline)>) -> Self {
        let mut found = Self::default();
        let mut files = BTreeSet::new();
        for (page, outline) in pages {
            for script in &outline.scripts {
                found.read(Some(&script.value));
            }
            for item in outline.items.iter().filter(|item| item.role == Role::Script) {
                match file(graph, page, item) {
                    Some(file) => drop(files.insert(file)),
                    None => found.is_open = true,
                }
            }
            // Elements with ids are properties of the window. A script of a component does not mean them.
            if graph.project.is_plain {
                found.names.extend(outline.ids.iter().cloned());
            }
        }
        for file in &files {
            found.read(graph.tree.text(file));
        }
        found
    }

    fn read(&mut self, text: Option<&str>) {
        let Definitions { names, is_open } =
            text.filter(|text| !module::is_too_deep(text)).map_or_else(Definitions::unknown, classic::read);
        self.names.extend(names);
        self.is_open |= is_open;
    }
}

/// The file of a script with an address, if the tree has it.
fn file(graph: &Graph, page: &str, item: &Item) -> Option<String> {
    let file = page::is_own(&item.value).then(|| walk::resolve_in_page(graph, page, &item.value)).flatten()?;
    let is_small = graph.tree.get(&file).is_some_and(|entry| entry.size <= module::MAX_SOURCE);
    Some(file).filter(|file| is_small && module::is_script(file))
}
