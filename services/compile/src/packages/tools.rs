//! Compilers that are packages: those of Svelte, Vue and Tailwind. Each is bundled and kept as the packages of a page are.

use compiler_client::message::{
    Finding, Tool,
    finding::code,
    tools::{PROGRAM_END, SHEETS, program_url},
};

use super::{ImportRequest, Packages, Sources, page_packages::PagePackages, refusal};
use crate::{error::Error, hash, store::modules};

/// The mode under which the tools of a page are remembered.
const TOOLS: &str = "tools";
/// Tools are as small as they can be, whatever the mode of the page is.
pub(crate) const MODE: &str = "production";

/// A tool, or why there is none.
pub(crate) enum ToolResult {
    Tool(Tool),
    Refused(PagePackages),
}

impl Packages {
    /// The tools that the last page with these sources had.
    pub(crate) fn remembered_tools(&self, sources: &Sources) -> Vec<String> {
        self.remembered(sources, TOOLS).unwrap_or_default()
    }

    pub(crate) fn remember_tools(&self, sources: &Sources, specifiers: &[String]) {
        self.remember((self.key(sources), TOOLS), specifiers);
    }

    /// The tool of the one specifier of the request.
    ///
    /// # Errors
    /// The database fails, or no worker bundles.
    pub(crate) async fn tool(&self, imports: &ImportRequest<'_>) -> Result<ToolResult, Error> {
        let key = self.key(imports.sources);
        let _lock = self.locks.lock(&key).await;
        let provided = match self.attempt(&key, imports).await {
            Ok(provided) => provided,
            Err(refusal::Stop::Refused(refusal)) => return Ok(ToolResult::Refused(self.refused(&refusal, &imports.texts.manifest).await?)),
            Err(refusal::Stop::Failed(error)) => return Err(error),
        };
        self.tool_of(provided).await
    }

    /// The tool that was bundled.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn tool_of(&self, provided: PagePackages) -> Result<ToolResult, Error> {
        let Some(package) = provided.packages.first() else { return Ok(ToolResult::Refused(explained(provided))) };
        // One that is deleted at this moment is bundled again by the next build.
        let code = modules::output(&self.shared.pool, &package.url).await?.ok_or(Error::ModuleNotFound)?;
        let is_program = package.url.ends_with(PROGRAM_END);
        if !is_program && !package.specifier.ends_with(SHEETS) {
            return Err(Error::CompilerOutdated);
        }
        // An engine trusts its bytecode.
        if is_program && program_url(hash::sha256(&code)) != package.url {
            return Err(Error::BytecodeChanged(package.url.clone()));
        }
        Ok(ToolResult::Tool(Tool { specifier: package.specifier.clone(), id: package.url.clone(), code: code.into() }))
    }
}

/// The result with an error, so that there is no page.
fn explained(mut provided: PagePackages) -> PagePackages {
    if !provided.is_refused() {
        let message = "the compiler of the framework cannot be bundled".to_owned();
        let finding = Finding {
            code: code::NOT_BUNDLED.to_owned(),
            file: "package.json".to_owned(),
            line: 1,
            column: 1,
            message,
            ..Finding::default()
        };
        provided.findings.push(finding);
    }
    PagePackages { is_temporary: true, ..provided }
}
