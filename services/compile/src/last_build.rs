//! The last build of each project, in memory. A build that differs from it only in the code of some modules is not made anew.

use std::{collections::BTreeMap, sync::Arc};

use chassis::clock;
use compiler_client::message::Independent;
use proto::compile::Page;
use quick_cache::{Weighter, sync::Cache};
use time::OffsetDateTime;

use crate::{cache::TOUCH, tree::Tree};

/// Bytes of the builds in memory.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Builds that are expected.
const ENTRIES: usize = 500;
/// About the bytes of a text without its characters.
const TEXT_BYTES: usize = 32;
/// The most files of one edit.
const MAX_CHANGES: usize = 8;

/// A build, and what of it can change alone.
#[derive(Debug, Clone)]
pub(crate) struct LastBuild {
    /// The ids of the contents, in the order of the paths.
    ids: Arc<[String]>,
    /// Sorted by path.
    independent: Arc<[Independent]>,
    /// Those that have changed since, by path.
    changed: BTreeMap<String, Independent>,
    /// Paths of the files that decide about the options of the modules.
    pub(crate) configuration: Arc<[String]>,
    /// Names of the outputs that the page does not name.
    pub(crate) generated: Arc<[String]>,
    pub(crate) page: Page,
    /// When its packages and tools were looked up. They stay the same while they are used.
    made_at: OffsetDateTime,
}

/// A changed file, as it was.
#[derive(Debug)]
pub(crate) struct Before<'l> {
    pub(crate) module: &'l Independent,
    /// The id of the content.
    pub(crate) id: &'l str,
}

impl LastBuild {
    pub(crate) fn new(
        tree: &Tree,
        mut independent: Vec<Independent>,
        configuration: Vec<String>,
        generated: Vec<String>,
        page: Page,
    ) -> Self {
        independent.sort_by(|a, b| a.path.cmp(&b.path));
        let ids = tree.pairs().map(|(_, id)| id.to_owned()).collect();
        Self {
            ids,
            independent: independent.into(),
            changed: BTreeMap::new(),
            configuration: configuration.into(),
            generated: generated.into(),
            page,
            made_at: clock::now(),
        }
    }

    /// The files of a tree with the same paths whose contents differ. `None` if one of them cannot change alone, or if there are too many.
    pub(crate) fn changes(&self, tree: &Tree) -> Option<Vec<Before<'_>>> {
        let mut changes = Vec::new();
        for ((path, _), before) in tree.pairs().zip(self.ids.iter()).filter(|((_, id), before)| id != before) {
            changes.push(Before { module: self.module(path)?, id: before });
            if changes.len() > MAX_CHANGES {
                return None;
            }
        }
        Some(changes)
    }

    fn module(&self, path: &str) -> Option<&Independent> {
        let at = || self.independent.binary_search_by(|module| module.path.as_str().cmp(path)).ok();
        self.changed.get(path).or_else(|| self.independent.get(at()?))
    }

    /// The next build, with another page and these modules in place of those with the same paths.
    pub(crate) fn next(&self, tree: &Tree, page: Page, modules: impl Iterator<Item = Independent>) -> Self {
        let ids = tree.pairs().map(|(_, id)| id.to_owned()).collect();
        let mut changed = self.changed.clone();
        changed.extend(modules.map(|module| (module.path.clone(), module)));
        Self { ids, changed, page, ..self.clone() }
    }

    fn bytes(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + TEXT_BYTES).sum::<usize>();
        let module = |module: &Independent| module.path.len() + module.key.len() + module.url.len() + 3 * TEXT_BYTES;
        let modules: usize = self.independent.iter().chain(self.changed.values()).map(module).sum();
        let page = &self.page;
        let findings: usize = page.findings.iter().map(prost::Message::encoded_len).sum();
        let lists = texts(&self.ids) + texts(&self.configuration) + texts(&self.generated) + texts(&page.modules) + texts(&page.packages);
        modules + lists + findings + page.html.len() + page.error_html.len() + page.assets.len() * 4 * TEXT_BYTES
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Vec<u8>, Arc<LastBuild>> for ByBytes {
    fn weight(&self, key: &Vec<u8>, build: &Arc<LastBuild>) -> u64 {
        (key.len() + TEXT_BYTES + build.bytes()) as u64
    }
}

/// The last builds, by project and options.
pub(crate) struct LastBuilds(Cache<Vec<u8>, Arc<LastBuild>, ByBytes>);

impl LastBuilds {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(ENTRIES, MAX_BYTES, ByBytes))
    }

    /// The last build, unless its packages have to be looked up again.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<LastBuild>> {
        self.0.get(key).filter(|build| build.made_at > clock::now() - TOUCH)
    }

    /// Keeps a build in place of the last one. One in which no module can change alone is of no use.
    pub(crate) fn put(&self, key: Vec<u8>, build: LastBuild) {
        if build.independent.is_empty() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, Arc::new(build));
        }
    }

    pub(crate) fn forget(&self, key: &[u8]) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use proto::compile::TreeFile;
    use time::Duration;

    use super::*;
    use crate::tree::Limits;

    /// A tree of files whose contents have these numbers.
    fn tree(numbers: &[u8]) -> Tree {
        let file = |(at, number): (usize, &u8)| TreeFile { path: format!("{at:02}.ts"), blob_id: format!("{number:040x}"), size: 1 };
        let mut tree = Tree::default();
        tree.add(numbers.iter().enumerate().map(file).collect(), &Limits { files: 100, bytes: 100 }).expect("a tree");
        tree
    }

    /// The last build, in which all files but the first one can change alone.
    fn last(numbers: &[u8]) -> LastBuild {
        let module = |at| Independent { path: format!("{at:02}.ts"), key: "k".to_owned(), url: "u".to_owned() };
        let independent = (1..numbers.len()).rev().map(module).collect();
        LastBuild::new(&tree(numbers), independent, Vec::new(), Vec::new(), Page::default())
    }

    #[test]
    fn a_few_files_can_change_alone() {
        let before = [0; 20];
        let changed = |at: std::ops::Range<usize>| {
            let mut after = before;
            after[at].fill(1);
            after
        };
        let count = |after: &[u8]| last(&before).changes(&tree(after)).map(|changes| changes.len());
        assert_eq!(count(&before), Some(0));
        assert_eq!(count(&changed(3..5)), Some(2));
        assert_eq!(count(&changed(1..1 + MAX_CHANGES)), Some(MAX_CHANGES));
        assert_eq!(count(&changed(1..2 + MAX_CHANGES)), None, "too many");
        assert_eq!(count(&changed(0..1)), None, "the first file");
    }

    #[test]
    fn the_next_build_has_the_new_modules() {
        let (first, after) = (last(&[0, 0, 0]), tree(&[0, 1, 0]));
        let new = Independent { path: "01.ts".to_owned(), key: "l".to_owned(), url: "v".to_owned() };
        let next = first.next(&after, Page::default(), [new.clone()].into_iter());
        assert!(next.changes(&after).expect("changes").is_empty());
        let again = tree(&[0, 2, 0]);
        let changes = next.changes(&again).expect("changes");
        assert_eq!((changes.len(), changes[0].module, changes[0].id), (1, &new, format!("{:040x}", 1).as_str()));
        assert_eq!(next.made_at, first.made_at, "its packages were looked up then");
    }

    #[test]
    fn a_build_is_used_for_a_while() {
        let builds = LastBuilds::new();
        let recent = last(&[0, 0]);
        builds.put(vec![1], LastBuild { made_at: recent.made_at - TOUCH - Duration::seconds(1), ..recent.clone() });
        assert!(builds.get(&[1]).is_none(), "its packages may be others");
        builds.put(vec![1], recent);
        assert!(builds.get(&[1]).is_some() && builds.get(&[2]).is_none());
        builds.put(vec![1], last(&[0]));
        assert!(builds.get(&[1]).is_none(), "no file of the newest one can change alone");
    }
}
