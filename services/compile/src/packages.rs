//! The npm packages that a page imports: resolved as npm does, fetched from the registry that the operator sets, and bundled by a worker.
//!
//! - [`Packages::provide`]: from specifiers to addresses. `plan`: which packages of a resolution they need. `stored`: rows.
//! - `page_packages`: the result. `shared`: what all builds share. `registry`: the registry, and whether it answers.
//! - `jobs`: what processes that fetch are asked for. `conversation`: with one of them. `exchange`: one of its requests. `fetcher`: what one build may fetch. `allowance`: what one person may fetch in an hour.
//! - `vendor`: keeps packages for machines without a registry. `build_tools`: which of them need no files.
//! - `check`: what a check says of packages.
//! - `tools`: compilers that are packages. `refresh`: what exchanges components in an open page. `key_locks`: one build at a time for the same packages. `refusal`: errors as findings. `advice`: what helps without a registry.

mod advice;
mod allowance;
mod build_tools;
mod check;
mod conversation;
mod exchange;
mod fetcher;
mod jobs;
mod key_locks;
mod page_packages;
mod plan;
mod refresh;
mod refusal;
mod registry;
mod shared;
mod stored;
mod tools;
mod vendor;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chassis::{
    clock,
    share::{Holder, Share, Shares},
    task,
};
use compiler_client::{
    message::{File, Finding, PackagesAnswer, PackagesRequest},
    worker::Workers,
};
use npm::Tree;
use prost::Message as _;

use self::{
    allowance::Allowance, check::Failures, fetcher::Fetcher, key_locks::KeyLocks, plan::Plan, refresh::LastRefusal, registry::Registry,
    shared::Shared,
};
pub(crate) use self::{
    page_packages::PagePackages,
    refusal::without_manifest,
    tools::{MODE as TOOL_MODE, ToolResult},
    vendor::Addition,
};
use crate::{
    cache::TOUCH,
    config::Config,
    error::Error,
    hash,
    store::{self, Pool, modules, packages},
    vendored::import::Import,
    workers,
};

/// Changes when the same files can get another resolution by a change of the code.
const RESOLVER: &[u8] = b"1";
/// Additions, imports and exports of kept packages at the same time.
const MAX_VENDORING: usize = 2;
/// Processes that fetch at the same time.
const MAX_PROCESSES: usize = 16;
/// Bundlings of the same packages, each with the tools that the one before asked for. There are as many tools for packages as frameworks.
const MAX_BUNDLINGS: usize = 4;
/// Resolutions whose specifiers are remembered.
const MAX_REMEMBERED: usize = 2_000;

/// What one project asks for. Ids name contents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The id of `package.json`.
    pub(crate) manifest: Option<String>,
    /// The name of the lock file, and its id.
    pub(crate) lock: Option<(String, String)>,
}

/// The contents of [`Sources`].
pub(crate) struct Texts {
    pub(crate) manifest: Vec<u8>,
    /// Not needed if [`Packages::is_resolved`].
    pub(crate) lock: Option<Vec<u8>>,
}

/// The key of a resolution, and a mode.
type Choice = (Vec<u8>, &'static str);

pub(crate) struct Packages {
    shared: Arc<Shared>,
    locks: KeyLocks,
    /// Bytes of packages.
    memory: Arc<Shares>,
    /// Additions, imports and exports of kept packages.
    vendoring: Arc<Shares>,
    /// The most bytes of kept packages.
    vendor_bytes: u64,
    /// The specifiers of the last page, and of its tools.
    remembered: Mutex<BTreeMap<Choice, Vec<String>>>,
    last_refusal: LastRefusal,
    failures: Failures,
}

/// What one page imports of packages.
#[derive(Clone)]
pub(crate) struct ImportRequest<'w> {
    pub(crate) sources: &'w Sources,
    pub(crate) texts: &'w Texts,
    pub(crate) specifiers: &'w [String],
    pub(crate) mode: &'static str,
    pub(crate) holder: &'w Holder,
    pub(crate) workers: &'w workers::Pool,
    /// Counts the bytes of the packages while they are read.
    pub(crate) memory: Arc<Mutex<Share>>,
}

impl Packages {
    pub(crate) fn new(config: &Config, pool: Pool) -> Self {
        let memory = Shares::new(config.packages_memory, config.server.limits.percent);
        let shared = Shared {
            pool,
            registry: Registry::new(config.registry.clone()),
            limits: ::fetcher::package_limits(),
            allowance: Allowance::new(config.registry_bytes),
            downloads: Shares::new(config.downloads, config.server.limits.percent),
            fetchers: Workers { executable: config.compiler.clone(), deadline: config.build_timeout, file_time: config.file_timeout },
            processes: Shares::new(MAX_PROCESSES, config.server.limits.percent),
            wait: config.longest_wait(),
            time: config.build_timeout,
        };
        Self {
            shared: Arc::new(shared),
            locks: KeyLocks::default(),
            memory,
            vendoring: Shares::new(MAX_VENDORING, config.server.limits.percent),
            vendor_bytes: config.vendor_bytes,
            remembered: Mutex::default(),
            last_refusal: LastRefusal::default(),
            failures: Failures::default(),
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// A place for an operator who adds, imports or exports packages.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn vendor_slot(&self) -> Result<Share, Error> {
        self.vendoring.try_take(&Holder::default(), 1).map_err(|by| Error::exhausted(by, "changes of the kept packages"))
    }

    /// An import of packages that were kept elsewhere.
    pub(crate) fn import(&self) -> Import<'_> {
        Import::new(&self.shared.pool, &self.shared.limits, self.vendor_bytes)
    }

    /// The specifiers that the last page with these sources had.
    pub(crate) fn remembered(&self, sources: &Sources, mode: &'static str) -> Option<Vec<String>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(&(self.key(sources), mode)).cloned()
    }

    fn remember(&self, choice: Choice, specifiers: &[String]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(choice, specifiers.to_vec());
    }

    /// A share of the memory for packages, of nothing yet.
    ///
    /// # Errors
    /// The person has too much.
    pub(crate) fn memory(&self, holder: &Holder) -> Result<Share, Error> {
        self.memory.try_take(holder, 0).map_err(|by| Error::exhausted(by, "bytes of packages in memory"))
    }

    /// Whether the resolution is kept, so that [`Texts::lock`] is not needed.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn is_resolved(&self, sources: &Sources) -> Result<bool, Error> {
        let now = clock::now();
        Ok(packages::resolution(&self.shared.pool, &self.key(sources), now, now - TOUCH).await?.is_some())
    }

    /// The addresses of the specifiers. What is wrong with the packages is a finding.
    ///
    /// # Errors
    /// The database fails, or no worker bundles.
    pub(crate) async fn provide(&self, imports: &ImportRequest<'_>) -> Result<PagePackages, Error> {
        let (specifiers, refreshes) = refresh::split(imports.specifiers);
        let own = ImportRequest { specifiers: &specifiers, ..imports.clone() };
        let mut provided = self.provide_own(&own).await?;
        for refresh in refreshes {
            if !provided.is_refused() {
                self.add_refresh(&mut provided, refresh, imports).await?;
            }
        }
        if !provided.is_refused() {
            self.remember((self.key(imports.sources), imports.mode), imports.specifiers);
        }
        Ok(provided)
    }

    async fn provide_own(&self, imports: &ImportRequest<'_>) -> Result<PagePackages, Error> {
        let key = self.key(imports.sources);
        let _lock = self.locks.lock(&key).await;
        match self.attempt(&key, imports).await {
            Ok(provided) => Ok(provided),
            Err(refusal::Stop::Refused(refusal)) => self.refused(&refusal, &imports.texts.manifest).await,
            Err(refusal::Stop::Failed(error)) => Err(error),
        }
    }

    /// The files of the packages that the specifiers name, and what is wrong with the packages.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn install(&self, imports: &ImportRequest<'_>) -> Result<(Vec<File>, Vec<Finding>), Error> {
        match self.installed(imports).await {
            Ok(installed) => Ok(installed),
            Err(refusal::Stop::Refused(refusal)) => Ok((Vec::new(), self.refused(&refusal, &imports.texts.manifest).await?.findings)),
            Err(refusal::Stop::Failed(error)) => Err(error),
        }
    }

    async fn installed(&self, imports: &ImportRequest<'_>) -> Result<(Vec<File>, Vec<Finding>), refusal::Stop> {
        let (tree, notes) = self.resolution(&self.key(imports.sources), imports).await?;
        let plan = Plan::new(&tree, imports.specifiers);
        let (files, native) = self.files(&tree, &plan, imports).await?;
        let mut findings = refusal::notes(&notes, &plan, &imports.texts.manifest);
        refusal::add(&mut findings, refusal::native(&native, &plan, &imports.texts.manifest));
        Ok((files, findings))
    }

    async fn attempt(&self, key: &[u8], imports: &ImportRequest<'_>) -> Result<PagePackages, refusal::Stop> {
        let (tree, notes) = self.resolution(key, imports).await?;
        let plan = Plan::new(&tree, imports.specifiers);
        let mut provided = self.bundled(&tree, &plan, imports).await?;
        refusal::add(&mut provided.findings, refusal::notes(&notes, &plan, &imports.texts.manifest));
        Ok(provided)
    }

    fn key(&self, sources: &Sources) -> Vec<u8> {
        let manifest = sources.manifest.as_deref().unwrap_or_default();
        let (lock, id) = sources.lock.as_ref().map(|(name, id)| (name.as_str(), id.as_str())).unwrap_or_default();
        let registry = self.shared.registry.base();
        hash::of_parts(&[b"resolution", RESOLVER, registry.as_bytes(), manifest.as_bytes(), lock.as_bytes(), id.as_bytes()])
    }

    /// The kept resolution, or a new one. A project without a lock file keeps its versions while it is in use.
    async fn resolution(&self, key: &[u8], imports: &ImportRequest<'_>) -> Result<(Tree, Vec<npm::Finding>), refusal::Stop> {
        let now = clock::now();
        let pool = &self.shared.pool;
        if let Some(body) = packages::resolution(pool, key, now, now - TOUCH).await? {
            return Ok(::fetcher::tree::decode(&body).map_err(Error::from)?);
        }
        let lock = match (&imports.sources.lock, &imports.texts.lock) {
            (Some((name, _)), Some(text)) => Some((name.as_str(), text.as_slice())),
            // The resolution was deleted after the caller had asked for it.
            (Some(_), None) => return Err(Error::TooManyRounds(1).into()),
            (None, _) => None,
        };
        let resolved = jobs::resolve(&self.fetcher(imports, None), &imports.texts.manifest, lock, self.shared.time).await?;
        let body = packages::put_resolution(pool, key, &resolved.tree, clock::now()).await?;
        Ok(::fetcher::tree::decode(&body).map_err(Error::from)?)
    }

    fn fetcher(&self, imports: &ImportRequest<'_>, tree: Option<&Tree>) -> Fetcher {
        Fetcher::new(Arc::clone(&self.shared), *imports.holder, Arc::clone(&imports.memory), tree)
    }

    /// The kept bundle, or a new one.
    async fn bundled(&self, tree: &Tree, plan: &Plan, imports: &ImportRequest<'_>) -> Result<PagePackages, refusal::Stop> {
        if plan.specifiers.is_empty() {
            return Ok(PagePackages::default());
        }
        let release = imports.workers.release.hash().await?;
        if let Some(kept) = self.kept(tree, plan, imports).await? {
            return Ok(kept);
        }
        let (files, native) = self.files(tree, plan, imports).await?;
        let mut request = PackagesRequest {
            files,
            specifiers: plan.specifiers.clone(),
            mode: imports.mode.to_owned(),
            has_preact_for_react: plan.has_preact_for_react,
            ..PackagesRequest::default()
        };
        // A file that one tool has compiled can import one that needs another tool.
        for _ in 0..MAX_BUNDLINGS {
            let answer = imports.workers.bundle(imports.holder, &request).await?;
            if answer.wanted_tools.is_empty() {
                if imports.workers.release.hash().await? != release {
                    return Err(Error::CompilerReplaced.into());
                }
                let key = plan.key(tree, imports.mode, &release);
                let (kept, outputs) = self.keep(&key, &request, PackagesAnswer { native, ..answer }).await?;
                return Ok(provided(kept, outputs, plan, &imports.texts.manifest));
            }
            for specifier in answer.wanted_tools {
                match self.tool_for_packages(tree, specifier, imports).await? {
                    ToolResult::Tool(tool) => request.tools.push(tool),
                    ToolResult::Refused(refused) => return Ok(refused),
                }
            }
        }
        Err(Error::TooManyRounds(MAX_BUNDLINGS).into())
    }

    /// The kept bundle.
    async fn kept(&self, tree: &Tree, plan: &Plan, imports: &ImportRequest<'_>) -> Result<Option<PagePackages>, Error> {
        let release = imports.workers.release.hash().await?;
        let now = clock::now();
        let bundle = packages::bundle(&self.shared.pool, &plan.key(tree, imports.mode, &release), now, now - TOUCH).await?;
        let Some(bundle) = bundle else { return Ok(None) };
        let answer = PackagesAnswer::decode(bundle.body.as_slice())?;
        Ok(Some(provided(answer, bundle.outputs, plan, &imports.texts.manifest)))
    }

    /// A tool that compiles files of packages.
    async fn tool_for_packages(&self, tree: &Tree, specifier: String, imports: &ImportRequest<'_>) -> Result<ToolResult, refusal::Stop> {
        // The packages that wait for the tool keep their share.
        let memory = Arc::new(Mutex::new(self.memory(imports.holder)?));
        let specifiers = [specifier];
        let imports = ImportRequest { specifiers: &specifiers, mode: TOOL_MODE, memory, ..*imports };
        let plan = Plan::new(tree, &specifiers);
        let provided = Box::pin(self.bundled(tree, &plan, &imports)).await?;
        Ok(self.tool_of(provided).await?)
    }

    /// The files of the packages, from the registry, and the names of those that need compiled code.
    async fn files(&self, tree: &Tree, plan: &Plan, imports: &ImportRequest<'_>) -> Result<(Vec<File>, Vec<String>), refusal::Stop> {
        let fetcher = self.fetcher(imports, Some(tree));
        let (installed, native) = jobs::install(&fetcher, tree, &plan.paths, self.shared.time).await?;
        let files = plan.files(tree, installed);
        let files = task::blocking_and_wait(move || plan::identified(files)).await;
        fetcher::release(&imports.memory);
        fetcher::hold(&imports.memory, files.iter().map(|file| file.size as usize).sum())?;
        Ok((files, native))
    }

    /// Keeps a bundle. Returns what is kept, and the names of its outputs.
    async fn keep(&self, key: &[u8], request: &PackagesRequest, answer: PackagesAnswer) -> Result<(PackagesAnswer, Vec<String>), Error> {
        let outputs = stored::outputs(request, &answer);
        let (names, bodies): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
        let PackagesAnswer { packages, mut findings, native, .. } = answer;
        refusal::complete(&mut findings, &packages, &request.specifiers);
        let kept = PackagesAnswer { packages, findings, native, ..PackagesAnswer::default() };
        let bundle = packages::Bundle { body: kept.encode_to_vec(), outputs: names };
        let now = clock::now();
        let mut tx = store::begin(&self.shared.pool).await?;
        modules::put_outputs(&mut *tx, &bundle.outputs, &bodies, now).await?;
        modules::touch_outputs(&mut *tx, &bundle.outputs, now, now - TOUCH).await?;
        packages::put_bundle(&mut *tx, key, &bundle, now).await?;
        store::commit(tx).await?;
        Ok((kept, bundle.outputs))
    }
}

/// A bundle for a page with this `package.json`.
fn provided(answer: PackagesAnswer, outputs: Vec<String>, plan: &Plan, manifest: &[u8]) -> PagePackages {
    let PackagesAnswer { packages, mut findings, native, .. } = answer;
    refusal::add(&mut findings, refusal::native(&native, plan, manifest));
    PagePackages { packages, findings, outputs, is_temporary: false }
}
