//! Faults planted into a project that has none, as the agent finds them: by a check of the tree.

use std::collections::BTreeMap;

use crate::{
    harness::{Project, database, replica},
    planted_faults::{FAULTS, MORE, PROJECT, planted},
};

/// At least 20 of the 21 faults must be found.
const LEAST: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn planted_faults_are_found_by_a_check() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let whole: Project = PROJECT.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    assert_eq!(replica.check(&whole).await.expect("findings"), []);
    let (mut found, mut wrong) = (0, BTreeMap::new());
    for (name, file, from, to, expected) in FAULTS.iter().chain(MORE) {
        let findings = replica.check(&planted(file, from, to).into_iter().collect()).await.expect("findings");
        let brief: Vec<_> = findings.iter().map(|one| format!("{} {}:{}:{}", one.code, one.file, one.line, one.column)).collect();
        let is_right = match brief.as_slice() {
            [] => expected.is_empty(),
            [only] => !expected.is_empty() && only.starts_with(expected) && findings[0].frame.contains('^'),
            _ => false,
        };
        if is_right {
            found += usize::from(!brief.is_empty() && FAULTS.iter().any(|fault| fault.0 == *name));
        } else {
            wrong.insert(*name, brief);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(FAULTS.len(), 21);
    assert!(found >= LEAST, "{found} of 21");
}
