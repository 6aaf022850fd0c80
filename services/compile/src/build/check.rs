//! Packages and tools of a check. What cannot be had is a finding, and the rest is checked.

use compiler_client::message::{Answer, Finding, finding::code};

use super::{Build, Kind, Supply};
use crate::{
    error::Error,
    packages::{self, PagePackages},
};

impl Build<'_> {
    /// Adds tools that the compiler wants. Returns why there is no page if one of them cannot be had. A check goes on without it.
    pub(super) async fn provide_wanted(&mut self, supply: &mut Supply, specifiers: &[String]) -> Result<Option<PagePackages>, Error> {
        if self.options.kind == Kind::Page {
            return self.provide_tools(&mut supply.tools, &supply.sources, specifiers).await;
        }
        for specifier in specifiers {
            let refused = self.provide_tools(&mut supply.tools, &supply.sources, std::slice::from_ref(specifier)).await?;
            if let Some(refused) = refused {
                supply.absent_tools.push(specifier.clone());
                supply.refused.extend(refused.findings);
            }
        }
        Ok(None)
    }

    /// Takes the packages of the last page or check with the same sources, if a bundle is kept.
    pub(super) async fn look_up(&mut self, supply: &mut Supply, specifiers: &[String]) -> Result<(), Error> {
        let texts = self.texts(&supply.sources).await?;
        let imports = self.imports(&supply.sources, &texts, specifiers, self.options.mode())?;
        let found = self.app.packages.check(&imports, false).await?;
        supply.last = Some((specifiers.to_vec(), found)).filter(|(_, found)| !found.packages.is_empty());
        Ok(())
    }

    /// Finds what is wrong with the packages that the page imports.
    pub(super) async fn check_packages(&mut self, supply: &mut Supply, answer: &Answer) -> Result<(), Error> {
        let known = supply.last.take().filter(|(specifiers, _)| *specifiers == answer.bare);
        let mut checked = match known {
            Some((_, known)) => known,
            None => self.packages_of(supply, answer).await?,
        };
        checked.is_temporary |= !supply.absent_tools.is_empty();
        checked.findings.append(&mut supply.refused);
        merge(&mut checked.findings);
        supply.last = Some((answer.bare.clone(), checked));
        Ok(())
    }

    async fn packages_of(&mut self, supply: &Supply, answer: &Answer) -> Result<PagePackages, Error> {
        // A manifest that cannot be read has a finding already.
        let is_broken = answer.findings.iter().any(|finding| !finding.is_warning && finding.file == "package.json");
        if answer.bare.is_empty() || is_broken {
            return Ok(PagePackages::default());
        }
        if supply.sources.manifest.is_none() {
            return Ok(packages::without_manifest(&answer.bare));
        }
        let texts = self.texts(&supply.sources).await?;
        let imports = self.imports(&supply.sources, &texts, &answer.bare, self.options.mode())?;
        // No bundle is made for a page that has errors of its own.
        let is_whole = !answer.page.is_empty() && supply.absent_tools.is_empty();
        self.app.packages.check(&imports, is_whole).await
    }
}

/// Leaves each finding once, and of those that packages were not checked the first one: they have the same cause.
fn merge(findings: &mut Vec<Finding>) {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings.drain(..) {
        let is_unchecked = |other: &Finding| other.code == code::REGISTRY_UNAVAILABLE && other.code == finding.code;
        if !kept.iter().any(|other| *other == finding || is_unchecked(other)) {
            kept.push(finding);
        }
    }
    *findings = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_registry_has_one_warning() {
        let finding = |code: &str, message: &str| Finding { code: code.to_owned(), message: message.to_owned(), ..Finding::default() };
        let other = finding(code::UNKNOWN_PACKAGE, "c");
        let first = finding(code::REGISTRY_UNAVAILABLE, "a");
        let mut findings = vec![first.clone(), other.clone(), finding(code::REGISTRY_UNAVAILABLE, "b"), other.clone()];
        merge(&mut findings);
        assert_eq!(findings, [first, other]);
    }
}
