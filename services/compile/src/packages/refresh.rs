//! React Refresh and Prefresh, with which an open page exchanges components. They are no packages of the project, so that they change none
//! of their versions. A page works without them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use compiler_client::message::tools::{PREFRESH, REACT_REFRESH};
use tokio::time::Instant;

use super::{ImportRequest, Packages, PagePackages, Sources, Texts, refusal::Stop};
use crate::error::Error;

/// What exchanges the components of one framework.
pub(super) struct Refresh {
    pub(super) specifier: &'static str,
    /// The package whose projects need it.
    framework: &'static str,
    /// Its packages, at the versions with which it is tested.
    packages: &'static [(&'static str, &'static str)],
}

const ALL: [Refresh; 2] = [
    Refresh { specifier: REACT_REFRESH, framework: "react", packages: &[("react-refresh", "0.19.0")] },
    Refresh { specifier: PREFRESH, framework: "preact", packages: &[("@prefresh/core", "1.5.11"), ("@prefresh/utils", "1.2.1")] },
];
/// It is asked for again after this time if it could not be had.
const PAUSE: Duration = Duration::from_secs(60);

impl Refresh {
    /// A `package.json` that asks for the packages.
    fn manifest(&self) -> String {
        let packages: Vec<_> = self.packages.iter().map(|(name, version)| format!("\"{name}\": \"{version}\"")).collect();
        format!("{{\"dependencies\": {{{}}}}}", packages.join(", "))
    }
}

/// When each could not be had.
#[derive(Debug, Default)]
pub(super) struct LastRefusal(Mutex<BTreeMap<&'static str, Instant>>);

impl LastRefusal {
    fn is_recent(&self, specifier: &str) -> bool {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(specifier).is_some_and(|at| at.elapsed() < PAUSE)
    }

    fn note(&self, specifier: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(specifier, Instant::now());
    }
}

/// The specifiers of the project's packages, and those of the others that exchange components.
pub(super) fn split(specifiers: &[String]) -> (Vec<String>, Vec<&'static Refresh>) {
    let is_named = |refresh: &&Refresh| specifiers.iter().any(|specifier| specifier == refresh.specifier);
    let own = specifiers.iter().filter(|specifier| ALL.iter().all(|refresh| **specifier != refresh.specifier));
    (own.cloned().collect(), ALL.iter().filter(is_named).collect())
}

/// The versions that a project with these packages needs besides its own.
pub(super) fn versions(is_needed: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let needed = ALL.iter().filter(|refresh| is_needed(refresh.framework)).flat_map(|refresh| refresh.packages);
    needed.map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
}

impl Packages {
    /// Adds what exchanges components. Without it the result is temporary.
    ///
    /// # Errors
    /// The database fails, or no worker bundles.
    pub(super) async fn add_refresh(
        &self,
        provided: &mut PagePackages,
        refresh: &Refresh,
        imports: &ImportRequest<'_>,
    ) -> Result<(), Error> {
        if self.last_refusal.is_recent(refresh.specifier) {
            provided.is_temporary = true;
            return Ok(());
        }
        let manifest = refresh.manifest();
        // Its text stands for the id, which of a project's file is a hash.
        let sources = Sources { manifest: Some(manifest.clone()), lock: None };
        let texts = Texts { manifest: manifest.into_bytes(), lock: None };
        let specifiers = [refresh.specifier.to_owned()];
        let request = ImportRequest { sources: &sources, texts: &texts, specifiers: &specifiers, ..imports.clone() };
        let key = self.key(&sources);
        let _lock = self.locks.lock(&key).await;
        // Another page may have asked in vain while this one waited.
        if self.last_refusal.is_recent(refresh.specifier) {
            provided.is_temporary = true;
            return Ok(());
        }
        match self.attempt(&key, &request).await {
            Ok(added) if !added.is_refused() => {
                provided.packages.extend(added.packages);
                provided.outputs.extend(added.outputs);
            }
            Ok(_) | Err(Stop::Refused(_)) => {
                self.last_refusal.note(refresh.specifier);
                provided.is_temporary = true;
            }
            Err(Stop::Failed(error)) => return Err(error),
        }
        Ok(())
    }
}
