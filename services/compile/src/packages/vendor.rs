//! Keeps the packages of a project for machines without a registry, and bundles those that its page imports.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::share::Holder;
use fetcher::message::Version;
use npm::{PackageJson, Tree};
use proto::compile::{Bundle, ResolvedPackages, add_packages_response::Part};
use tokio::sync::mpsc::{Sender, channel};

use super::{
    ImportRequest, Packages, Sources, Texts, build_tools::is_build_tool, conversation::FoundVersion, fetcher::Fetcher, jobs, plan::Plan,
    refresh, refusal::Stop, tools,
};
use crate::{error::Error, findings, store::modules, vendored, workers};

/// How long the versions of a project may take to be found.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the versions of one process may take to be read.
const VERSIONS_TIMEOUT: Duration = Duration::from_secs(600);
/// Versions that one process reads. It has a limit of its processor time.
const VERSIONS_OF_PROCESS: usize = 16;
/// The mode of the bundles of previews.
const PAGE_MODE: &str = "development";

/// What is to be kept.
pub(crate) struct Addition {
    pub(crate) manifest: Vec<u8>,
    /// The name and the text of a lock file.
    pub(crate) lock: Option<(String, Vec<u8>)>,
    /// What a page imports.
    pub(crate) specifiers: Vec<String>,
    /// Compilers that a page needs.
    pub(crate) tools: Vec<String>,
}

/// The versions that a project needs, each with whether its tarball is needed.
type Needs = BTreeMap<(String, String), bool>;

impl Packages {
    /// Keeps all that the project needs, and says what happens.
    ///
    /// # Errors
    /// The project cannot be resolved, a package cannot be fetched, there is no room, or nobody reads what happens.
    pub(crate) async fn vendor(&self, addition: Addition, workers: &workers::Pool, parts: &Sender<Part>) -> Result<(), Error> {
        let holder = Holder::default();
        let _slot = self.vendor_slot()?;
        let manifest = PackageJson::parse(&addition.manifest, &self.shared.limits).map_err(Error::from)?;
        let (tree, considered) = self.resolve_for_operator(&addition, &holder).await?;
        let mut needs = needs(&tree, considered, &manifest);
        let refreshes = refresh::versions(|framework| needs.keys().any(|(name, _)| name == framework));
        needs.extend(refreshes.into_iter().map(|version| (version, true)));
        send(parts, Part::Resolved(ResolvedPackages { versions: needs.len() as u32 })).await?;
        let memory = Arc::new(Mutex::new(self.memory(&holder)?));
        let fetcher = Fetcher::new(Arc::clone(&self.shared), holder, memory, Some(&tree)).for_operator();
        let mut missing = Vec::new();
        for ((name, version), needs_tarball) in needs {
            match vendored::find(&self.shared.pool, &name, &version, needs_tarball).await? {
                Some(kept) => send(parts, Part::Package(kept)).await?,
                None => missing.push(Version { name, version, needs_tarball }),
            }
        }
        for versions in missing.chunks(VERSIONS_OF_PROCESS) {
            self.keep_versions(&fetcher, versions, parts).await?;
        }
        let texts = Texts { manifest: addition.manifest, lock: None };
        let pages = Some(addition.specifiers).filter(|specifiers| !specifiers.is_empty()).map(|specifiers| (specifiers, PAGE_MODE));
        let tools = addition.tools.into_iter().map(|tool| (vec![tool], tools::MODE));
        for (specifiers, mode) in pages.into_iter().chain(tools) {
            let bundle = self.bundle_for_operator(&tree, (&specifiers, mode), &texts, (&holder, workers)).await?;
            send(parts, Part::Bundle(bundle)).await?;
        }
        Ok(())
    }

    /// The tree, and the versions that were looked at.
    async fn resolve_for_operator(&self, addition: &Addition, holder: &Holder) -> Result<(Tree, BTreeSet<(String, String)>), Error> {
        let memory = Arc::new(Mutex::new(self.memory(holder)?));
        let fetcher = Fetcher::new(Arc::clone(&self.shared), *holder, memory, None).for_operator();
        let lock = addition.lock.as_ref().map(|(name, text)| (name.as_str(), text.as_slice()));
        let resolved = jobs::resolve(&fetcher, &addition.manifest, lock, RESOLVE_TIMEOUT).await.map_err(Stop::into_error)?;
        let (tree, _) = ::fetcher::tree::decode(&resolved.tree)?;
        Ok((tree, resolved.considered))
    }

    /// Keeps versions, which one process reads.
    async fn keep_versions(&self, fetcher: &Fetcher, versions: &[Version], parts: &Sender<Part>) -> Result<(), Error> {
        let (sender, mut found) = channel(1);
        let keep = async move {
            while let Some(FoundVersion { excerpt, tarball }) = found.recv().await {
                let tarball = tarball.map(|tarball| {
                    fetcher.release(tarball.len());
                    tarball.to_vec()
                });
                let kept = vendored::keep(&self.shared.pool, excerpt, tarball, self.vendor_bytes).await?;
                send(parts, Part::Package(kept)).await?;
            }
            Ok::<(), Error>(())
        };
        // What was found before an error is kept.
        let (fetched, kept) = tokio::join!(jobs::versions(fetcher, versions, sender, VERSIONS_TIMEOUT), keep);
        kept?;
        fetched.map_err(Stop::into_error)
    }

    async fn bundle_for_operator(
        &self,
        tree: &Tree,
        (specifiers, mode): (&[String], &'static str),
        texts: &Texts,
        (holder, workers): (&Holder, &workers::Pool),
    ) -> Result<Bundle, Error> {
        let memory = Arc::new(Mutex::new(self.memory(holder)?));
        let imports = ImportRequest { sources: &Sources::default(), texts, specifiers, mode, holder, workers, memory };
        let plan = Plan::new(tree, specifiers);
        let provided = self.bundled(tree, &plan, &imports).await.map_err(Stop::into_error)?;
        let bytes = modules::bytes(&self.shared.pool, &provided.outputs).await?;
        let specifiers = provided.packages.into_iter().map(|package| package.specifier).collect();
        Ok(Bundle { specifiers, bytes: bytes as u64, findings: findings::sorted(provided.findings.iter()) })
    }
}

/// The versions that were looked at. Tarballs are needed of what the project can import, and of what this depends on.
fn needs(tree: &Tree, considered: BTreeSet<(String, String)>, manifest: &PackageJson) -> Needs {
    let is_tool = |name: &str| manifest.dev_dependencies.iter().any(|(own, _)| own == name) && is_build_tool(name);
    let roots = tree.dependencies.iter().filter(|(name, _)| !is_tool(name)).map(|(_, path)| path.clone());
    let (mut open, mut paths): (Vec<_>, BTreeSet<String>) = (roots.collect(), BTreeSet::new());
    while let Some(path) = open.pop() {
        let Some(package) = tree.packages.get(&path).filter(|package| !package.is_skipped) else { continue };
        if paths.insert(path) {
            open.extend(package.dependencies.values().chain(&package.link).cloned());
        }
    }
    let mut needs: Needs = considered.into_iter().map(|version| (version, false)).collect();
    for package in paths.iter().map(|path| &tree.packages[path]) {
        needs.insert((package.name.clone(), package.version.clone()), true);
    }
    needs.retain(|(name, version), _| !name.is_empty() && !version.is_empty());
    needs
}

async fn send(parts: &Sender<Part>, part: Part) -> Result<(), Error> {
    parts.send(part).await.map_err(|_| Error::UnexpectedMessage("the caller is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_development_are_kept_without_their_files() {
        let mut tree = Tree::default();
        for (name, dependencies) in
            [("react", vec![]), ("vite", vec!["rollup", "shared"]), ("rollup", vec![]), ("svelte", vec!["shared"]), ("shared", vec![])]
        {
            let path = |name: &&str| ((*name).to_owned(), format!("node_modules/{name}"));
            let package = npm::Package {
                name: name.to_owned(),
                version: "1.0.0".to_owned(),
                integrity: None,
                dependencies: dependencies.iter().map(path).collect(),
                bundled: Vec::new(),
                is_dev: false,
                is_optional: false,
                is_skipped: false,
                link: None,
            };
            tree.packages.insert(format!("node_modules/{name}"), package);
        }
        for name in ["react", "vite", "svelte"] {
            tree.dependencies.insert(name.to_owned(), format!("node_modules/{name}"));
        }
        let manifest = |text: &str| PackageJson::parse(text.as_bytes(), &npm::Limits::default()).expect("a package.json");
        let with_files = |text: &str| {
            let considered = ["react", "vite", "rollup", "svelte", "shared", "less"].map(|name| (name.to_owned(), "1.0.0".to_owned()));
            let needs = needs(&tree, considered.into(), &manifest(text));
            assert_eq!(needs.len(), 6);
            needs.into_iter().filter(|(_, needs_tarball)| *needs_tarball).map(|((name, _), _)| name).collect::<Vec<_>>()
        };
        let dev = r#"{"dependencies": {"react": "1"}, "devDependencies": {"vite": "1", "svelte": "1"}}"#;
        assert_eq!(with_files(dev), ["react", "shared", "svelte"]);
        let own = r#"{"dependencies": {"react": "1", "vite": "1", "svelte": "1"}}"#;
        assert_eq!(with_files(own), ["react", "rollup", "shared", "svelte", "vite"]);
    }
}
