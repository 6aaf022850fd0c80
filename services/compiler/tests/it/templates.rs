//! Nothing is wrong with the templates of published packages, and each has a page.

use std::collections::{BTreeMap, BTreeSet};

use compiler_client::message::{Answer, Request};

use crate::{
    published::{Template, may_have, packages, templates},
    support::{brief, compile, file},
    tools,
};

/// What is wrong with the answer for a template.
fn wrong(name: &str, files: &Template<'_>, answer: &Answer) -> Option<String> {
    let found = brief(&answer.findings);
    if !may_have(name, files, &found) {
        let messages: Vec<_> = answer.findings.iter().map(|found| found.message.as_str()).collect();
        return Some(format!("{found:#?} {messages:#?}"));
    }
    let is_whole = answer.page.contains("importmap") && !answer.page.contains("src=\"/src/") && answer.wanted.is_empty();
    (found.is_empty() && !is_whole).then(|| format!("no page: {}", answer.page))
}

#[test]
fn templates_have_no_finding_and_a_page() {
    let (mut compiled, mut all_wrong) = (BTreeSet::new(), BTreeMap::new());
    for (package, files) in packages() {
        for (folder, files) in templates(&files) {
            let name = format!("{package}/{folder}");
            let contents = files.iter().map(|(path, content)| file(path, content)).collect();
            let answer = compile(Request { files: contents, check_all: true, tools: tools::all(), ..Request::default() });
            match wrong(&name, &files, &answer) {
                Some(wrong) => drop(all_wrong.insert(name, wrong)),
                None if answer.page.is_empty() => {}
                None => drop(compiled.insert((package.clone(), folder))),
            }
        }
    }
    let packages: BTreeSet<_> = compiled.iter().map(|(package, _)| package).collect();
    assert!(all_wrong.is_empty(), "{all_wrong:#?}");
    assert!(packages.len() >= 8 && compiled.len() >= 40, "{} templates of {packages:?}", compiled.len());
}
