//! A check finds nothing in the templates of published packages, with the registry that npm is set up for, but what that registry lacks.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    harness::{Project, database, replica},
    packages::registry,
    published::{Template, is_refused, may_have, packages, templates},
};

/// The package that two templates name and that is not published.
const UNPUBLISHED: &str = "@harperfast/schema-codegen: ";

/// The files as a project. A check reads no pictures, so texts stand in for them.
fn project(files: &Template<'_>) -> Project {
    let file = |(path, content): &(String, &[u8])| {
        let path: &'static str = path.clone().leak();
        (path, String::from_utf8_lossy(content).into_owned())
    };
    files.iter().map(file).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_templates_of_eight_packages_have_no_finding() {
    let (database, registry) = (database().await, registry());
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", registry.as_str())]).await;
    let (mut clean, mut wrong) = (BTreeSet::new(), BTreeMap::new());
    for (package, files) in packages() {
        // The compiler has tests of all of them. Here one of each package is enough, the last: it is in TypeScript if there is one.
        let templates = templates(&files);
        let Some((folder, files)) = templates.iter().rfind(|(_, files)| !is_refused(files)) else { continue };
        let name = format!("{package}/{folder}");
        let mut findings = replica.check(&project(files)).await.unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        // A busy machine may not resolve the largest ones in time.
        findings.retain(|one| one.code != "REGISTRY_UNAVAILABLE" && !one.message.starts_with(UNPUBLISHED));
        let found: Vec<_> = findings.iter().map(|one| format!("{} {}:{}:{}", one.code, one.file, one.line, one.column)).collect();
        if !may_have(&name, files, &found) {
            let messages: Vec<_> = findings.iter().map(|one| one.message.as_str()).collect();
            wrong.insert(name, format!("{found:#?} {messages:#?}"));
        } else if found.is_empty() {
            clean.insert(package.clone());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(clean.len() >= 8, "{clean:?}");
}
