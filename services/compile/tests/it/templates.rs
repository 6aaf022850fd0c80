//! A check finds nothing in the templates of published packages, with the registry that npm is set up for, but what that registry lacks.

use std::collections::{BTreeMap, BTreeSet};

use chassis::testing::TestDatabase;
use proto::{compile::Finding, error::Fault};

use crate::{
    harness::{Project, database, replica},
    packages::registry,
    published::{Template, is_refused, may_have, packages, templates},
};

/// The package that two templates name and that is not published.
const UNPUBLISHED: &str = "@harperfast/schema-codegen: ";
/// How often a template is checked if the registry is slow.
const ATTEMPTS: usize = 3;

/// The files as a project. A check reads no pictures, so texts stand in for them.
fn project(files: &Template<'_>) -> Project {
    let file = |(path, content): &(String, &[u8])| {
        let path: &'static str = path.clone().leak();
        (path, String::from_utf8_lossy(content).into_owned())
    };
    files.iter().map(file).collect()
}

/// What a check finds. If the registry was too slow, a page fetches the packages, which waits longer, and another check follows. A replica
/// remembers a failure, so that each attempt has its own.
async fn findings(database: &TestDatabase, own: &Project) -> Result<Vec<Finding>, Fault> {
    let registry = registry();
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let replica = replica(database, &[("BACKLOT_NPM_REGISTRY", registry.as_str())]).await;
        found = replica.check(own).await?;
        if found.iter().all(|one| one.code != "REGISTRY_UNAVAILABLE") {
            break;
        }
        drop(replica.build(own).await);
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_templates_of_eight_packages_have_no_finding() {
    let database = database().await;
    let (mut clean, mut wrong) = (BTreeSet::new(), BTreeMap::new());
    for (package, files) in packages() {
        // The compiler has tests of all of them. Here one of each package is enough, the last: it is in TypeScript if there is one.
        let templates = templates(&files);
        let Some((folder, files)) = templates.iter().rfind(|(_, files)| !is_refused(files)) else { continue };
        let name = format!("{package}/{folder}");
        let all = findings(&database, &project(files)).await.unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        let own: Vec<_> = all.iter().filter(|one| !one.message.starts_with(UNPUBLISHED)).collect();
        let found: Vec<_> = own.iter().map(|one| format!("{} {}:{}:{}", one.code, one.file, one.line, one.column)).collect();
        if !may_have(&name, files, &found) {
            let messages: Vec<_> = own.iter().map(|one| one.message.as_str()).collect();
            wrong.insert(name, format!("{found:#?} {messages:#?}"));
        } else if all.is_empty() {
            clean.insert(package.clone());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(clean.len() >= 8, "{clean:?}");
}
