//! What a check says of the packages of a page: what the page would say. It makes the bundle that the page needs, which then has it. What
//! depends on the network is a warning, so that files that were clean stay clean without a registry.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use proto::id::UserId;
use tokio::time::{Instant, timeout};

use super::{
    ImportRequest, Packages,
    page_packages::PagePackages,
    plan::Plan,
    refresh,
    refusal::{self, Refusal, Stop},
    tools::ToolResult,
};
use crate::error::Error;

/// How long a check waits for packages.
const TIME: Duration = Duration::from_secs(30);
/// A failure that took longer is not repeated by the next check.
const SLOW: Duration = Duration::from_secs(1);
/// How long it is remembered.
const PAUSE: Duration = Duration::from_secs(30);

/// The key of a resolution, and the person, who can have reached a limit that others have not.
type FailureKey = (Vec<u8>, Option<UserId>);

/// Slow failures of the last checks.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<FailureKey, (Instant, PagePackages)>>);

impl Failures {
    fn recent(&self, key: &FailureKey, now: Instant) -> Option<PagePackages> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(key).filter(|(at, _)| now < *at + PAUSE).map(|(_, failure)| failure.clone())
    }

    fn note(&self, key: FailureKey, failure: &PagePackages, now: Instant) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (at, _)| now < *at + PAUSE);
        failures.insert(key, (now, failure.clone()));
    }
}

impl Packages {
    /// What is wrong with the packages of a page, and their modules if a bundle is kept. `makes_bundle`: the page needs one.
    ///
    /// # Errors
    /// The database fails, or no worker bundles.
    pub(crate) async fn check(&self, imports: &ImportRequest<'_>, makes_bundle: bool) -> Result<PagePackages, Error> {
        let (specifiers, _) = refresh::split(imports.specifiers);
        let own = ImportRequest { specifiers: &specifiers, ..imports.clone() };
        let key = self.key(imports.sources);
        let checked = self.in_time(&key, imports, self.checked(&key, &own, makes_bundle)).await?;
        if !checked.is_refused() && !checked.is_temporary {
            self.remember((key, imports.mode), imports.specifiers);
        }
        Ok(checked)
    }

    /// As [`Packages::tool`], for a check.
    ///
    /// # Errors
    /// As [`Packages::tool`].
    pub(crate) async fn tool_for_check(&self, imports: &ImportRequest<'_>) -> Result<ToolResult, Error> {
        let key = self.key(imports.sources);
        let attempt = async {
            let _lock = self.locks.lock(&key).await;
            self.attempt(&key, imports).await
        };
        let provided = self.in_time(&key, imports, attempt).await?;
        if provided.packages.is_empty() && provided.is_temporary {
            return Ok(ToolResult::Refused(provided));
        }
        self.tool_of(provided).await
    }

    async fn checked(&self, key: &[u8], imports: &ImportRequest<'_>, makes_bundle: bool) -> Result<PagePackages, Stop> {
        let _lock = self.locks.lock(key).await;
        let (tree, notes) = self.resolution(key, imports).await?;
        let plan = Plan::new(&tree, imports.specifiers);
        let mut provided = match makes_bundle {
            true => self.bundled(&tree, &plan, imports).await?,
            false => self.kept(&tree, &plan, imports).await?.unwrap_or_default(),
        };
        refusal::add(&mut provided.findings, refusal::notes(&notes, &plan, &imports.texts.manifest));
        refusal::leave_out_brought_along(&mut provided.findings, &plan);
        Ok(provided)
    }

    /// The result, unless the time is over.
    async fn in_time(
        &self,
        key: &[u8],
        imports: &ImportRequest<'_>,
        work: impl Future<Output = Result<PagePackages, Stop>>,
    ) -> Result<PagePackages, Error> {
        let (start, manifest) = (Instant::now(), &imports.texts.manifest);
        let key = (key.to_vec(), imports.holder.person);
        if let Some(failure) = self.failures.recent(&key, start) {
            return Ok(failure);
        }
        let refused = match timeout(TIME, work).await {
            Ok(Ok(provided)) => return Ok(provided),
            Ok(Err(Stop::Refused(refusal))) if !self.is_doubtful(&refusal) => return self.refused(&refusal, manifest).await,
            Ok(Err(Stop::Refused(refusal))) => refusal::unchecked(manifest, &refusal.0.to_string()),
            // A share of a limit.
            Ok(Err(Stop::Failed(Error::Refused(fault)))) => refusal::unchecked(manifest, &fault.message),
            Ok(Err(Stop::Failed(error))) => return Err(error),
            Err(_) => refusal::unchecked(manifest, &format!("they were not found within {TIME:?}")),
        };
        if start.elapsed() > SLOW {
            self.failures.note(key, &refused, Instant::now());
        }
        Ok(refused)
    }

    /// Whether the error can be one of the network. What is kept stands in for a registry that does not answer, and lacks most versions.
    fn is_doubtful(&self, refusal: &Refusal) -> bool {
        match refusal.0 {
            npm::Error::Registry { .. } => true,
            npm::Error::NoPackage { .. } | npm::Error::NoVersion { .. } => self.shared.registry.is_away(Instant::now()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_failure_is_remembered_for_a_while() {
        let (failures, now) = (Failures::default(), Instant::now());
        let of = |key: &[u8], person| (key.to_vec(), person);
        let (failure, person) = (refusal::unchecked(b"{}", "nobody answers"), Some(UserId::generate()));
        failures.note(of(b"a", person), &failure, now);
        assert_eq!(failures.recent(&of(b"a", person), now), Some(failure));
        for (key, person, at) in [(b"b", person, now), (b"a", Some(UserId::generate()), now), (b"a", person, now + PAUSE)] {
            assert_eq!(failures.recent(&of(key, person), at), None);
        }
    }
}
