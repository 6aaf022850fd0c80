//! A build that differs from the last one only in the code of some modules. Their facts are the same, so that the page has other addresses and
//! nothing else, and the same bytes that a build of all files would give it.

use std::sync::Arc;

use compiler_client::message::{Change, EditRequest, Facts, Independent, Module};
use proto::compile::Page;

use super::{Build, etag};
use crate::{
    cache::{BuildOutput, Cache},
    dialogue::hold,
    error::Error,
    hash,
    last_build::{Before, LastBuild},
};

impl Build<'_> {
    /// The page, if the last build of the project differs from it in no more.
    pub(super) async fn edit(&mut self) -> Result<Option<Page>, Error> {
        let Some(last) = self.app.last_builds.get(&self.last_key) else { return Ok(None) };
        let Some(before) = last.changes(&self.tree) else { return Ok(None) };
        let Some(changes) = facts_before(&self.app.cache, &self.release, &before).await? else { return Ok(None) };
        let changed = before.iter().map(|before| &before.module.path);
        let paths: Vec<String> = changed.chain(last.configuration.iter()).cloned().collect();
        self.read(self.tree.absent(&paths)).await?;
        let files = paths.iter().filter_map(|path| self.tree.file(path)).collect();
        let request = EditRequest { files, mode: self.options.mode().to_owned(), changes, release: hash::hex(&self.release) };
        let answer = self.app.workers.edit(&self.holder, &request).await?;
        if !answer.is_same || answer.modules.len() != before.len() {
            return Ok(None);
        }
        let bytes = last.page.html.len() + answer.modules.iter().map(|module| module.code.len() + module.map.len()).sum::<usize>();
        hold(&mut self.memory, bytes)?;
        self.finish_edit(&last, &before, answer.modules).await
    }

    async fn finish_edit(&mut self, last: &LastBuild, before: &[Before<'_>], modules: Vec<Module>) -> Result<Option<Page>, Error> {
        let after: Vec<Independent> = modules.iter().filter_map(|module| module.facts.as_ref()).map(independent).collect();
        let renamed: Vec<_> = before.iter().zip(&after).map(|(before, after)| (before.module.url.as_str(), after.url.as_str())).collect();
        let page = renamed_page(&last.page, &renamed);
        let mut named = page.modules.clone();
        named.extend_from_slice(&last.generated);
        named.sort_unstable();
        named.dedup();
        let made = BuildOutput { compiled: modules, named, ..BuildOutput::of(&self.release) };
        let body = prost::Message::encode_to_vec(&page);
        if !self.app.cache.put(Some((self.key.as_slice(), body.as_slice())), made, &self.tree).await? {
            self.app.last_builds.forget(&self.last_key);
            return Ok(None);
        }
        self.app.last_builds.put(self.last_key.clone(), last.next(&self.tree, page.clone(), after.into_iter()));
        Ok(Some(page))
    }
}

/// The facts of the changed files, as they were. `None` if they are not kept.
async fn facts_before(cache: &Cache, release: &Arc<[u8]>, before: &[Before<'_>]) -> Result<Option<Vec<Change>>, Error> {
    let mut changes = Vec::new();
    for Before { module, id } in before {
        let known = cache.facts_of(release, &module.path, id).await?;
        let Some(facts) = known.into_iter().find(|facts| facts.key == module.key) else { return Ok(None) };
        changes.push(Change { facts: facts.body, id: (*id).to_owned() });
    }
    Ok(Some(changes))
}

fn independent(facts: &Facts) -> Independent {
    Independent { path: facts.path.clone(), key: facts.key.clone(), url: facts.url.clone() }
}

/// The page with other addresses.
fn renamed_page(page: &Page, renamed: &[(&str, &str)]) -> Page {
    let html = renamed.iter().fold(page.html.clone(), |html, (before, after)| html.replace(before, after));
    let new =
        |name: &String| renamed.iter().find(|(before, _)| before == name).map_or_else(|| name.clone(), |(_, after)| (*after).to_owned());
    let mut modules: Vec<_> = page.modules.iter().map(new).collect();
    modules.sort_unstable();
    modules.dedup();
    Page { etag: etag(&html, &page.error_html), html, modules, ..page.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gets_other_addresses_and_a_tag_of_its_own() {
        let html = "<a href=/p/@m/b.js>@m/a.js @m/b.js";
        let page = Page { html: html.to_owned(), modules: vec!["@m/a.js".to_owned(), "@m/b.js".to_owned()], ..Page::default() };
        let next = renamed_page(&page, &[("@m/a.js", "@m/c.js")]);
        assert_eq!(next.html, "<a href=/p/@m/b.js>@m/c.js @m/b.js");
        assert_eq!(next.modules, ["@m/b.js", "@m/c.js"]);
        assert_eq!(next.etag, etag(&next.html, ""));
    }
}
