//! The build of a published site: the page says which packages it imports, and one worker bundles everything. Nothing is kept.

use std::collections::HashSet;

use chassis::share::{Holder, Share};
use compiler_client::message::{Finding, Request, SiteFile, SiteRequest, Tool, ToolOutput};
use prost::Message as _;
use proto::{
    compile::{Mode, Start},
    path,
};

use super::{Build, Kind, MAX_ROUNDS, Options, check, limited, memory, slot};
use crate::{
    app::App,
    dialogue::{Dialogue, hold},
    error::Error,
    findings::sorted,
    packages,
};

/// A built site.
pub(crate) struct Site {
    /// Errors first, both kinds sorted by file and place.
    pub(crate) findings: Vec<proto::compile::Finding>,
    /// Sorted by path. Empty if an error of a file or of a package stands in the way.
    pub(crate) files: Vec<SiteFile>,
    /// Counts the bytes while they are sent.
    pub(crate) memory: Share,
}

/// Builds a site.
///
/// # Errors
/// As [`super::run`].
pub(crate) async fn run(app: &App, dialogue: Dialogue) -> Result<Site, Error> {
    limited(app, unlimited(app, dialogue)).await
}

async fn unlimited(app: &App, mut dialogue: Dialogue) -> Result<Site, Error> {
    let start = dialogue.start().await?;
    let person = check(&start)?;
    let holder = Holder { person, ..Holder::default() };
    let _slot = slot(app, &holder)?;
    let mut memory = memory(app, &holder)?;
    let tree = dialogue.tree(&app.limits, &mut memory).await?;
    let mut build = Build {
        app,
        holder,
        options: options(start),
        key: Vec::new(),
        last_key: Vec::new(),
        release: Vec::new().into(),
        tree,
        memory,
        dialogue,
    };
    let (findings, mut files) = build.site().await?;
    files.retain(|file| !path::is_hidden(&file.path));
    Ok(Site { findings: sorted(findings.iter()), files, memory: build.memory })
}

fn options(start: Start) -> Options {
    let base = if start.base_path.is_empty() { "/".to_owned() } else { start.base_path };
    Options { kind: Kind::Page, base, mode: Mode::Production as i32 }
}

impl Build<'_> {
    async fn site(&mut self) -> Result<(Vec<Finding>, Vec<SiteFile>), Error> {
        let mut tools = Vec::new();
        let mut tool_outputs = Vec::new();
        let (specifiers, mut findings) = self.page_imports(&mut tools, &mut tool_outputs).await?;
        if is_refused(&findings) {
            return Ok((findings, Vec::new()));
        }
        let sources = self.sources();
        if sources.manifest.is_none() || specifiers.is_empty() {
            findings.extend(if specifiers.is_empty() { Vec::new() } else { packages::without_manifest(&specifiers).findings });
            return self.bundle(Vec::new(), (tools, tool_outputs), findings).await;
        }
        let texts = self.texts(&sources).await?;
        let imports = self.imports(&sources, &texts, &specifiers, self.options.mode())?;
        let (packages, found) = self.app.packages.install(&imports).await?;
        // Holds the bytes of the packages.
        let _memory = imports.memory;
        findings.extend(found);
        self.bundle(packages, (tools, tool_outputs), findings).await
    }

    /// The packages that the page imports, and why there is no page. Adds the tools that compile it, and what they have answered.
    async fn page_imports(
        &mut self,
        tools: &mut Vec<Tool>,
        tool_outputs: &mut Vec<ToolOutput>,
    ) -> Result<(Vec<String>, Vec<Finding>), Error> {
        self.read(self.tree.early(&HashSet::new(), &self.app.limits)).await?;
        // Without one that is not there, the page asks for it.
        let remembered = self.app.packages.remembered_tools(&self.sources());
        let _ = self.provide_tools(tools, &self.sources(), &remembered).await?;
        let mut known = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let (files, base, mode) = (self.tree.files(), self.options.base.clone(), self.options.mode().to_owned());
            let (tools_now, known_now, outputs_now) = (tools.clone(), known.clone(), tool_outputs.clone());
            let request =
                Request { files, base, mode, tools: tools_now, known: known_now, tool_outputs: outputs_now, ..Request::default() };
            let mut answer = self.app.workers.compile(&self.holder, &request).await?;
            known.extend(answer.modules.iter().filter_map(|module| module.facts.as_ref()).map(|facts| facts.encode_to_vec().into()));
            tool_outputs.append(&mut answer.tool_outputs);
            if let Some(refused) = self.provide_tools(tools, &self.sources(), &answer.wanted_tools).await? {
                return Ok((Vec::new(), refused.findings));
            }
            if answer.wanted.is_empty() && answer.wanted_tools.is_empty() {
                let findings = if answer.page.is_empty() { answer.findings } else { Vec::new() };
                return Ok((answer.bare, findings));
            }
            if !answer.wanted.is_empty() {
                self.read_wanted(&answer.wanted).await?;
            }
        }
        Err(Error::TooManyRounds(MAX_ROUNDS))
    }

    async fn bundle(
        &mut self,
        packages: Vec<compiler_client::message::File>,
        (mut tools, tool_outputs): (Vec<Tool>, Vec<ToolOutput>),
        mut findings: Vec<Finding>,
    ) -> Result<(Vec<Finding>, Vec<SiteFile>), Error> {
        if is_refused(&findings) {
            return Ok((findings, Vec::new()));
        }
        let mut request = SiteRequest { tree: None, packages };
        for _ in 0..MAX_ROUNDS {
            let (files, base) = (self.tree.files(), self.options.base.clone());
            let tool_outputs = tool_outputs.clone();
            request.tree = Some(Request { files, base, tools: tools.clone(), tool_outputs, ..Request::default() });
            let answer = self.app.workers.build_site(&self.holder, &request).await?;
            if let Some(refused) = self.provide_tools(&mut tools, &self.sources(), &answer.wanted_tools).await? {
                findings.extend(refused.findings);
                return Ok((findings, Vec::new()));
            }
            if answer.wanted.is_empty() && answer.wanted_tools.is_empty() {
                hold(&mut self.memory, answer.files.iter().map(|file| file.content.len()).sum())?;
                findings.extend(answer.findings);
                return Ok((findings, answer.files));
            }
            if !answer.wanted.is_empty() {
                self.read_wanted(&answer.wanted).await?;
            }
        }
        Err(Error::TooManyRounds(MAX_ROUNDS))
    }

    async fn read_wanted(&mut self, paths: &[String]) -> Result<(), Error> {
        let absent = self.tree.absent(paths);
        if absent.is_empty() { Err(Error::TooManyRounds(1)) } else { self.read(absent).await }
    }
}

fn is_refused(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| !finding.is_warning)
}
