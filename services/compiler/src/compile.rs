//! A request to an answer.

use std::collections::BTreeMap;

use compiler_client::{
    error_page::error_page,
    message::{
        Answer, Facts, Finding, Request,
        facts::{Alias, Kind},
        finding::{MAX_FINDINGS, code},
    },
};
use serde_json::{Value, json};

use crate::{
    graph::{self, Checker, Graph, PAGE, Walk},
    module,
    page::{self, Additions, Outline, Role},
    project::{Output, Project},
    text::{self, Text},
    tool::Tools,
    tree::{Entry, Tree, path, resolve::Resolver},
};

const PRODUCTION: &str = "production";

/// Compiles the page of a tree, and checks it. The same request has the same answer. `progress` gets the path of each file before it is
/// compiled.
pub fn compile(request: Request, progress: &mut dyn FnMut(&str)) -> Answer {
    let output = if request.mode == PRODUCTION { Output::Production } else { Output::Development };
    follow(request, output, progress, |compilation| compilation.answer())
}

/// A tree whose page was followed, with all that it loads.
pub(crate) struct Compilation<'c> {
    /// The text of the page, if the tree has one.
    pub(crate) html: Option<String>,
    pub(crate) outline: Outline,
    pub(crate) graph: Graph<'c>,
    pub(crate) walk: Walk,
    /// What is wrong with the project as a whole.
    found: Vec<Finding>,
    packages: Vec<compiler_client::message::Package>,
    checks_all: bool,
}

/// Follows the page of a tree. `end` makes the answer; nothing outlives it.
pub(crate) fn follow<T>(request: Request, output: Output, progress: &mut dyn FnMut(&str), end: impl FnOnce(Compilation<'_>) -> T) -> T {
    let base = if request.base.is_empty() { "/".to_owned() } else { request.base };
    let mut files: BTreeMap<_, _> =
        request.files.into_iter().map(|file| (file.path, Entry { id: file.id, size: file.size, content: file.content })).collect();
    let mut findings = Vec::new();
    let html = read_page(&files, &mut findings);
    let outline = html.as_deref().map(|html| outline(html, &mut files, &mut findings)).unwrap_or_default();
    let tree = Tree::new(files);
    if html.is_none() && tree.has(PAGE) {
        tree.content(PAGE);
    }
    let project = Project::read(&tree, output);
    findings.extend(refused(&tree, &project));
    findings.extend(old_tailwind(&tree, &project));
    let aliases = aliases(&tree, &project, progress);
    let resolver = Resolver::new(&tree, aliases);
    let mut graph = Graph::new(&tree, &resolver, &project, request.known, progress);
    graph.tools = Tools::new(request.tools);
    let walk = Walk::of(&mut graph, &outline, &base, &request.packages);
    end(Compilation { html, outline, graph, walk, found: findings, packages: request.packages, checks_all: request.check_all })
}

impl Compilation<'_> {
    /// Compiles the sources that have to be checked. Returns the paths of contents that the request lacks.
    pub(crate) fn complete(&mut self) -> Vec<String> {
        for name in self.graph.sources() {
            if self.checks_all || name.0.ends_with(".d.ts") {
                self.graph.load(&name);
            }
        }
        self.found.extend(broken_json(self.graph.tree, self.checks_all));
        self.graph.wanted()
    }

    /// All findings, sorted.
    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        let mut findings = std::mem::take(&mut self.found);
        findings.extend(graph::page_findings(&self.graph, &self.outline));
        findings.extend(Checker::new(&self.graph, &self.walk, &self.outline).modules());
        sorted(findings)
    }

    /// Whether the page cannot run because of the finding.
    pub(crate) fn is_broken_by(&self, finding: &Finding) -> bool {
        stops(finding) && is_of_page(finding, &self.walk)
    }

    fn answer(mut self) -> Answer {
        let (wanted, wanted_tools) = (self.complete(), self.graph.tools.wanted());
        if !wanted.is_empty() || !wanted_tools.is_empty() {
            return Answer { wanted, wanted_tools, modules: self.graph.compiled, ..Answer::default() };
        }
        let findings = self.findings();
        let page = match self.html.as_deref().filter(|_| !findings.iter().any(|finding| self.is_broken_by(finding))) {
            Some(html) => page::write(html, &self.outline, &self.walk.edits, &head(&self.walk, &self.packages)).unwrap_or_default(),
            None => String::new(),
        };
        let is_broken = |finding: &Finding| self.is_broken_by(finding);
        let error_page = if page.is_empty() { error_page(&errors_first(&findings, is_broken)) } else { String::new() };
        Answer {
            page,
            error_page,
            findings,
            modules: self.graph.compiled,
            resources: self.walk.resources.into_values().collect(),
            bare: self.walk.bare.into_iter().collect(),
            ..Answer::default()
        }
    }
}

/// The text of the page, if the tree has one.
fn read_page(files: &BTreeMap<String, Entry>, findings: &mut Vec<Finding>) -> Option<String> {
    let mut refuse = |code, message: &str| findings.push(text::finding(code, PAGE, &text::start(), message));
    let Some(entry) = files.get(PAGE) else {
        refuse(code::MISSING_PAGE, "the project has no index.html");
        return None;
    };
    if entry.size > module::MAX_SOURCE {
        refuse(code::FILE_TOO_LARGE, &format!("the page has {} bytes, more than {}", entry.size, module::MAX_SOURCE));
        return None;
    }
    let html = std::str::from_utf8(entry.content.as_deref()?).ok();
    if html.is_none() {
        refuse(code::INVALID_TEXT, "the file is not UTF-8");
    }
    html.map(str::to_owned)
}

/// What the page loads. Its inline modules become files, with their lines where they are in the page.
fn outline(html: &str, files: &mut BTreeMap<String, Entry>, findings: &mut Vec<Finding>) -> Outline {
    let outline = page::read(html).unwrap_or_else(|message| {
        findings.push(text::finding(code::UNSUPPORTED, PAGE, &text::start(), &message));
        Outline::default()
    });
    for item in outline.items.iter().filter(|item| item.role == Role::InlineModule) {
        let content = "\n".repeat(item.place.line as usize - 1) + &item.value;
        let entry = Entry { id: module::hash(&content), size: content.len() as u64, content: Some(content.into_bytes().into()) };
        files.insert(graph::inline_name(item), entry);
    }
    outline
}

/// A project of a framework that is not compiled.
fn refused(tree: &Tree, project: &Project) -> Option<Finding> {
    let (package, why) = project.refused()?;
    let manifest = tree.text("package.json")?;
    let lines = Text::new(manifest);
    let offset = manifest.find(&format!("\"{package}\"")).unwrap_or_default();
    Some(lines.finding(code::UNSUPPORTED, "package.json", &lines.place(offset), why))
}

/// A warning that the classes of an old Tailwind have no rules.
fn old_tailwind(tree: &Tree, project: &Project) -> Option<Finding> {
    let manifest = tree.text("package.json").filter(|_| project.has_old_tailwind)?;
    let lines = Text::new(manifest);
    let place = lines.place(manifest.find("\"tailwindcss\"").unwrap_or_default());
    let message = "Tailwind before version 4 is not compiled, so that its classes have no rules";
    let finding = lines.finding(code::UNSUPPORTED, "package.json", &place, message);
    Some(Finding { is_warning: true, help: "Upgrade tailwindcss to version 4.".to_owned(), ..finding })
}

/// The aliases of Vite's configuration.
fn aliases(tree: &Tree, project: &Project, progress: &mut dyn FnMut(&str)) -> Vec<Alias> {
    let configurations = ["ts", "js", "mts", "mjs"].map(|extension| format!("vite.config.{extension}"));
    let Some((path, entry)) = configurations.iter().find_map(|path| Some((path, tree.get(path)?))) else { return Vec::new() };
    let Some(content) = tree.content(path) else { return Vec::new() };
    progress(path);
    let options = project.options(None);
    let source = module::Source { path, kind: Kind::Module, id: &entry.id, content, options: &options };
    module::compile(&source).facts.map(|facts: Facts| facts.aliases).unwrap_or_default()
}

/// JSON files that are none: those that configure the project, or all of them.
fn broken_json(tree: &Tree, is_all: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.paths().filter(|path| path::extension(path) == "json") {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_checked = path == "package.json" || is_all && name != "package-lock.json";
        let is_small = tree.get(path).is_some_and(|entry| entry.size <= module::MAX_SOURCE);
        let Some(json) = (is_checked && is_small).then(|| tree.text(path)).flatten() else { continue };
        let mut json = json.to_owned();
        // Tools read their configurations with comments.
        if name != "package.json" && (path.starts_with('.') || path.contains("/.") || name.contains("config") || name.contains("rc.")) {
            let _ = json_strip_comments::strip(&mut json);
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&json) {
            findings.push(module::invalid_json(path, &json, &error));
        }
    }
    findings
}

/// Sorted, without repetitions, with the page as the file of its inline scripts.
fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut findings {
        if finding.file.starts_with("index.html.") && finding.file.ends_with(".js") {
            PAGE.clone_into(&mut finding.file);
        }
        // A style sheet of a component has the lines of its file.
        if let Some((component, _)) = finding.file.split_once('?') {
            finding.file = component.to_owned();
        }
    }
    findings.sort_by(|a, b| (&a.file, a.line, a.column, &a.code, &a.message).cmp(&(&b.file, b.line, b.column, &b.code, &b.message)));
    findings.dedup_by(|a, b| (&a.file, a.line, a.column, &a.code) == (&b.file, b.line, b.column, &b.code) && a.message == b.message);
    findings.truncate(MAX_FINDINGS);
    findings
}

/// The findings that stop the page, or all of them if none does.
fn errors_first(findings: &[Finding], stops: impl Fn(&Finding) -> bool) -> Vec<Finding> {
    let stopping: Vec<_> = findings.iter().filter(|finding| stops(finding)).cloned().collect();
    if stopping.is_empty() { findings.to_vec() } else { stopping }
}

/// Whether modules with this finding do not load. An undefined name fails only where it is used.
fn stops(finding: &Finding) -> bool {
    !finding.is_warning && finding.code != code::UNDEFINED_NAME
}

/// Whether the page loads the file.
fn is_of_page(finding: &Finding, walk: &Walk) -> bool {
    [PAGE, "package.json"].contains(&finding.file.as_str()) || walk.reached.iter().any(|(path, _)| *path == finding.file)
}

/// The import map, and the modules to load at once.
fn head(walk: &Walk, packages: &[compiler_client::message::Package]) -> Additions {
    let base = &walk.base;
    let at = |url: &str| Value::from(format!("{base}{url}"));
    let own = walk.imports.iter().map(|(specifier, url)| (specifier.clone(), at(url)));
    let packages = packages.iter().filter(|package| walk.bare.contains(&package.specifier));
    let foreign = packages.clone().map(|package| (package.specifier.clone(), at(&package.url)));
    let imports: serde_json::Map<_, _> = own.chain(foreign).collect();
    let scopes: serde_json::Map<_, _> = walk
        .scopes
        .iter()
        .map(|(importer, imports)| {
            let imports: serde_json::Map<_, _> = imports.iter().map(|(specifier, url)| (specifier.clone(), at(url))).collect();
            (format!("{base}{importer}"), Value::Object(imports))
        })
        .collect();
    // A `<` could end the script.
    let map = json!({ "imports": imports, "scopes": scopes }).to_string().replace('<', "\\u003c");
    let loaded = walk.preload.iter().chain(packages.map(|package| &package.url));
    let preload: String = loaded.map(|url| format!("<link rel=\"modulepreload\" href=\"{base}{}\">", url.replace('"', "&quot;"))).collect();
    Additions { start: format!("<script type=\"importmap\">{map}</script>{preload}"), end: String::new() }
}
