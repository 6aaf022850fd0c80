//! One build: from the cache, or by workers that get the files they ask for. `options`: what is built. `edit`: a build that differs from the
//! last one only in the code of some modules. `check`: packages and tools of a check. `site`: a build for a published site.

mod check;
mod edit;
mod options;
pub(crate) mod site;

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    sync::{Arc, Mutex},
};

use chassis::share::{Holder, Share};
use compiler_client::{
    error_page::error_page,
    message::{Answer, Finding, Request, Tool},
};
use prost::Message as _;
use proto::{
    compile::{Asset, Mode, Page, Start},
    error::Violations,
    id::UserId,
};

pub(crate) use self::options::Kind;
use self::options::Options;
use crate::{
    app::App,
    cache::BuildOutput,
    dialogue::{Dialogue, hold},
    error::{Error, SERVICE},
    findings::sorted,
    hash,
    last_build::LastBuild,
    packages::{self, ImportRequest, PagePackages, Sources, TOOL_MODE, Texts, ToolResult},
    tool_outputs,
    tree::Tree,
};

/// A worker is started again after each set of files that it asks for. A chain of imports is rarely longer.
const MAX_ROUNDS: usize = 64;
const MAX_BASE: usize = 256;
/// Compilers that are packages, of one build. Tailwind counts once for each set of plugins.
const MAX_TOOLS: usize = 16;
const MAX_REMEMBERED_TOOLS: usize = 4;
/// Where the addresses of modules are.
const MODULES: &str = "@m/";

/// Builds a page, or only its findings.
///
/// # Errors
/// The messages of the caller are invalid, a limit is reached, or no worker answers.
pub(crate) async fn run(app: &App, kind: Kind, dialogue: Dialogue) -> Result<Page, Error> {
    limited(app, unlimited(app, kind, dialogue)).await
}

pub(crate) async fn limited<T>(app: &App, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let limit = app.build_timeout;
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Timeout(limit)))
}

async fn unlimited(app: &App, kind: Kind, mut dialogue: Dialogue) -> Result<Page, Error> {
    let start = dialogue.start().await?;
    let person = check(&start)?;
    let holder = Holder { person, ..Holder::default() };
    let _slot = slot(app, &holder)?;
    let release = app.workers.release.hash().await?;
    let options = Options::new(kind, start.base_path, start.mode);
    let key = options.key(&start.tree_id, &release);
    if let Some(body) = app.cache.answer(&key).await? {
        return Ok(Page::decode(body.as_slice())?);
    }
    let mut memory = memory(app, &holder)?;
    let tree = dialogue.tree(&app.limits, &mut memory).await?;
    let last_key = options.last_key(&holder, &tree, &release);
    let mut build = Build { app, holder, options, key, last_key, release, tree, memory, dialogue };
    if let Some(page) = build.edit().await? {
        return Ok(page);
    }
    // What an answer needs can be deleted while it is computed, and then once more.
    for _ in 0..3 {
        if let Some(page) = build.compile().await? {
            return Ok(page);
        }
    }
    Err(Error::TooManyRounds(3))
}

/// A build that runs.
pub(crate) fn slot(app: &App, holder: &Holder) -> Result<Share, Error> {
    app.builds.try_take(holder, 1).map_err(|exhausted| Error::exhausted(exhausted, "builds of previews"))
}

/// Counts the bytes of a build.
pub(crate) fn memory(app: &App, holder: &Holder) -> Result<Share, Error> {
    app.bytes.try_take(holder, 0).map_err(|exhausted| Error::exhausted(exhausted, "bytes in memory"))
}

/// Checks the fields of the first message.
pub(crate) fn check(start: &Start) -> Result<Option<UserId>, Error> {
    let mut violations = Violations::default();
    if !hash::is_id(&start.tree_id) {
        violations.add("start.tree_id", "must be 40 lower-case hexadecimal digits");
    }
    let base = &start.base_path;
    let is_plain = base.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~@".contains(&byte));
    let is_folder = is_plain && base.starts_with('/') && base.ends_with('/') && base.len() <= MAX_BASE;
    if !(base.is_empty() || is_folder) {
        violations.add("start.base_path", format!("must begin and end with `/`, and have at most {MAX_BASE} plain characters"));
    }
    if Mode::try_from(start.mode).is_err() {
        violations.add("start.mode", "must be MODE_DEVELOPMENT or MODE_PRODUCTION");
    }
    let person = if start.person_id.is_empty() { None } else { violations.parse("start.person_id", &start.person_id) };
    violations.check(SERVICE)?;
    Ok(person)
}

struct Build<'a> {
    app: &'a App,
    holder: Holder,
    options: Options,
    key: Vec<u8>,
    /// That of the last build.
    last_key: Vec<u8>,
    release: Arc<[u8]>,
    tree: Tree,
    memory: Share,
    dialogue: Dialogue,
}

/// The packages of a page, the specifiers that it had, and the compilers that are packages.
struct Supply {
    sources: Sources,
    last: Option<(Vec<String>, PagePackages)>,
    tools: Vec<Tool>,
    /// Of a check: compilers that cannot be had, and why.
    absent_tools: Vec<String>,
    refused: Vec<Finding>,
}

impl Supply {
    fn provided(&self) -> &PagePackages {
        static NONE: PagePackages = PagePackages { packages: Vec::new(), findings: Vec::new(), outputs: Vec::new(), is_temporary: false };
        self.last.as_ref().map_or(&NONE, |(_, provided)| provided)
    }
}

impl Build<'_> {
    /// Compiles the tree and keeps the answer. `None` if something that it names was deleted meanwhile.
    async fn compile(&mut self) -> Result<Option<Page>, Error> {
        let known = self.app.cache.facts(&self.release, &self.tree).await?;
        let paths = known.iter().map(|facts| facts.path.as_str()).collect();
        self.read(self.tree.early(&paths, &self.app.limits)).await?;
        let mut supply = self.supply().await?;
        let outputs_key = tool_outputs::key(&self.holder, &supply.sources, &self.release);
        let mut request = Request {
            known: known.iter().map(|facts| facts.body.clone()).collect(),
            packages: supply.provided().packages.clone(),
            base: self.options.base.clone(),
            check_all: self.options.kind == Kind::Check,
            is_plain: self.options.kind == Kind::Check && !self.tree.is_compiled(),
            mode: self.options.mode().to_owned(),
            tools: supply.tools.clone(),
            tool_outputs: self.app.tool_outputs.get(&outputs_key),
            release: hash::hex(&self.release),
            ..Request::default()
        };
        let mut made = BuildOutput { reused: known, ..BuildOutput::of(&self.release) };
        for _ in 0..MAX_ROUNDS {
            request.files = self.tree.files();
            let mut answer = self.app.workers.compile(&self.holder, &request).await?;
            request.files.clear();
            let compiled = mem::take(&mut answer.modules);
            request.tool_outputs.extend(answer.tool_outputs.iter().cloned());
            self.app.tool_outputs.put(outputs_key.clone(), mem::take(&mut answer.tool_outputs));
            hold(&mut self.memory, compiled.iter().map(|module| module.code.len() + module.map.len()).sum())?;
            request.known.extend(compiled.iter().filter_map(|module| module.facts.as_ref()).map(|facts| facts.encode_to_vec().into()));
            made.compiled.extend(compiled);
            if let Some(refused) = self.provide_wanted(&mut supply, &answer.wanted_tools).await? {
                return self.finish(answer, made, &refused).await;
            }
            request.tools.clone_from(&supply.tools);
            request.absent_tools.clone_from(&supply.absent_tools);
            if answer.wanted.is_empty() && answer.wanted_tools.is_empty() {
                match self.options.kind {
                    Kind::Page => self.provide(&mut supply, &answer.bare).await?,
                    Kind::Check => self.check_packages(&mut supply, &answer).await?,
                }
                let provided = supply.provided();
                if provided.is_refused() || request.packages == provided.packages {
                    return self.finish(answer, made, provided).await;
                }
                request.packages.clone_from(&provided.packages);
                continue;
            }
            let absent = self.tree.absent(&answer.wanted);
            if absent.is_empty() && answer.wanted_tools.is_empty() {
                break;
            }
            self.read(absent).await?;
        }
        Err(Error::TooManyRounds(MAX_ROUNDS))
    }

    /// Reads contents from the cache, and those that it lacks from the caller.
    async fn read(&mut self, ids: BTreeSet<String>) -> Result<(), Error> {
        let ids: BTreeSet<_> = ids.into_iter().filter(|id| !self.tree.has_content(id)).collect();
        let kept = self.app.cache.contents(&ids).await?;
        let missing: BTreeSet<_> = ids.into_iter().filter(|id| !kept.contains_key(id)).collect();
        hold(&mut self.memory, kept.values().map(Vec::len).sum())?;
        for (id, content) in kept {
            self.tree.put(id, content, &self.app.limits)?;
        }
        if missing.is_empty() {
            return Ok(());
        }
        let contents = self.dialogue.contents(&missing, &self.tree, &self.app.limits, &mut self.memory).await?;
        self.app.cache.put_contents(&missing, &contents).await?;
        for (id, content) in missing.into_iter().zip(contents) {
            self.tree.put(id, content, &self.app.limits)?;
        }
        Ok(())
    }

    /// What the last page with the same `package.json` and lock file had of packages, so that one worker is enough for most edits.
    async fn supply(&mut self) -> Result<Supply, Error> {
        let sources = self.sources();
        let mut supply = Supply { sources, last: None, tools: Vec::new(), absent_tools: Vec::new(), refused: Vec::new() };
        let tools = self.app.packages.remembered_tools(&supply.sources);
        // A page that needs one that is not there says so.
        let _ = self.provide_tools(&mut supply.tools, &supply.sources, &tools).await?;
        if let Some(specifiers) = self.app.packages.remembered(&supply.sources, self.options.mode()) {
            match self.options.kind {
                Kind::Page => self.provide(&mut supply, &specifiers).await?,
                Kind::Check => self.look_up(&mut supply, &specifiers).await?,
            }
        }
        Ok(supply)
    }

    fn sources(&self) -> Sources {
        let lock = npm::Lock::FILES.iter().find_map(|name| Some(((*name).to_owned(), self.tree.id(name)?.to_owned())));
        Sources { manifest: self.tree.id("package.json").map(str::to_owned), lock }
    }

    /// Provides packages of a page, unless the last ones had the same specifiers.
    async fn provide(&mut self, supply: &mut Supply, specifiers: &[String]) -> Result<(), Error> {
        let is_known = supply.last.as_ref().is_some_and(|(last, _)| last == specifiers);
        if is_known || specifiers.is_empty() {
            supply.last = supply.last.take().filter(|_| is_known);
            return Ok(());
        }
        if supply.sources.manifest.is_none() {
            supply.last = Some((specifiers.to_vec(), packages::without_manifest(specifiers)));
            return Ok(());
        }
        let texts = self.texts(&supply.sources).await?;
        let imports = self.imports(&supply.sources, &texts, specifiers, self.options.mode())?;
        let provided = self.app.packages.provide(&imports).await?;
        supply.last = Some((specifiers.to_vec(), provided));
        Ok(())
    }

    /// Adds tools. Returns why there is no page if one of them cannot be had.
    async fn provide_tools(
        &mut self,
        tools: &mut Vec<Tool>,
        sources: &Sources,
        specifiers: &[String],
    ) -> Result<Option<PagePackages>, Error> {
        if specifiers.is_empty() {
            return Ok(None);
        }
        if tools.len() + specifiers.len() > MAX_TOOLS {
            return Err(Error::TreeTooLarge { what: "compilers with different plugins", limit: MAX_TOOLS });
        }
        let texts = self.texts(sources).await?;
        for specifier in specifiers {
            let wanted = std::slice::from_ref(specifier);
            let imports = self.imports(sources, &texts, wanted, TOOL_MODE)?;
            let found = match self.options.kind {
                Kind::Page => self.app.packages.tool(&imports).await?,
                Kind::Check => self.app.packages.tool_for_check(&imports).await?,
            };
            let tool = match found {
                ToolResult::Tool(tool) => tool,
                ToolResult::Refused(refused) => return Ok(Some(refused)),
            };
            hold(&mut self.memory, tool.code.len())?;
            tools.retain(|other| other.specifier != tool.specifier);
            tools.push(tool);
        }
        let all: Vec<_> = tools.iter().rev().take(MAX_REMEMBERED_TOOLS).map(|tool| tool.specifier.clone()).collect();
        self.app.packages.remember_tools(sources, &all);
        Ok(None)
    }

    /// The contents of `package.json` and of the lock file. The lock file is read only for a resolution that is not kept.
    async fn texts(&mut self, sources: &Sources) -> Result<Texts, Error> {
        let is_resolved = self.app.packages.is_resolved(sources).await?;
        let lock = sources.lock.as_ref().filter(|_| !is_resolved).map(|(_, id)| id.clone());
        self.read([sources.manifest.clone(), lock.clone()].into_iter().flatten().collect()).await?;
        let content = |id: &str| self.tree.content(id).unwrap_or_default().to_vec();
        Ok(Texts { manifest: sources.manifest.as_deref().map(content).unwrap_or_default(), lock: lock.as_deref().map(content) })
    }

    fn imports<'i>(
        &'i self,
        sources: &'i Sources,
        texts: &'i Texts,
        specifiers: &'i [String],
        mode: &'static str,
    ) -> Result<ImportRequest<'i>, Error> {
        let memory = Arc::new(Mutex::new(self.app.packages.memory(&self.holder)?));
        Ok(ImportRequest { sources, texts, specifiers, mode, holder: &self.holder, workers: &self.app.workers, memory })
    }

    async fn finish(&mut self, answer: Answer, mut made: BuildOutput, provided: &PagePackages) -> Result<Option<Page>, Error> {
        let page = page(&answer, &made, self.options.kind, provided);
        chassis::seeded_bug!(let page = crate::seeded_bugs::name_the_process(page));
        made.named.clone_from(&page.modules);
        // Sheets and scripts of workers name others.
        let generated: Vec<_> =
            answer.resources.iter().filter(|resource| resource.path.is_empty()).map(|resource| resource.url.clone()).collect();
        made.named.extend_from_slice(&generated);
        made.named.sort_unstable();
        made.named.dedup();
        made.resources = answer.resources;
        let body = page.encode_to_vec();
        let kept = (!provided.is_temporary).then_some((self.key.as_slice(), body.as_slice()));
        let is_kept = self.app.cache.put(kept, made, &self.tree).await?;
        if is_kept && !provided.is_temporary {
            let last = LastBuild::new(&self.tree, answer.independent, answer.configuration, generated, page.clone());
            self.app.last_builds.put(self.last_key.clone(), last);
        }
        Ok(is_kept.then_some(page))
    }
}

/// The answer to the caller.
fn page(answer: &Answer, made: &BuildOutput, kind: Kind, provided: &PagePackages) -> Page {
    let findings = sorted(answer.findings.iter().chain(&provided.findings));
    if kind == Kind::Check {
        return Page { findings, ..Page::default() };
    }
    let generated = answer.resources.iter().filter(|resource| resource.path.is_empty()).map(|resource| resource.url.as_str());
    let outputs: HashSet<&str> = made.urls().chain(generated).collect();
    let html = if provided.is_refused() { "" } else { &answer.page };
    let error_html = match (html, answer.page.as_str()) {
        ("", "") if !answer.error_page.is_empty() => answer.error_page.clone(),
        ("", _) => error_page(&provided.findings),
        _ => String::new(),
    };
    let mut modules: BTreeSet<&str> = addresses(html).filter(|name| outputs.contains(name)).collect();
    if !html.is_empty() {
        modules.extend(provided.outputs.iter().map(String::as_str));
    }
    let assets = answer.resources.iter().filter(|resource| !resource.path.is_empty());
    Page {
        html: html.to_owned(),
        etag: etag(html, &error_html),
        findings,
        modules: modules.into_iter().map(str::to_owned).collect(),
        assets: assets.map(|asset| Asset { name: asset.url.clone(), path: asset.path.clone() }).collect(),
        packages: answer.bare.clone(),
        error_html,
    }
}

fn etag(html: &str, error_html: &str) -> String {
    hash::hex(hash::of_parts(&[html.as_bytes(), error_html.as_bytes()]))
}

/// The addresses of modules in a page.
fn addresses(html: &str) -> impl Iterator<Item = &str> {
    html.match_indices(MODULES).map(|(at, _)| {
        let rest = &html[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "@/.-_".contains(c))).unwrap_or(rest.len());
        &rest[..end]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_modules_are_found_in_a_page() {
        let html = r#"<link href="/p/@m/ab.css"><script>{"imports":{"/src/a":"/p/@m/cd.js"}}</script>@m/"#;
        assert_eq!(addresses(html).collect::<Vec<_>>(), ["@m/ab.css", "@m/cd.js", "@m/"]);
    }
}
