//! A request to an answer.

mod plain;

use std::{
    collections::BTreeMap,
    mem::{self, ManuallyDrop},
};

use compiler_client::{
    error_page::error_page,
    message::{
        Answer, Facts, File, Finding, Request,
        facts::{Alias, Kind},
        finding::{code, listed},
        tools::REFRESHES,
    },
};
use serde::Serialize;

use crate::{
    environment,
    graph::{self, Checker, Classic, Graph, PAGE, Walk},
    module,
    page::{self, Additions, Item, Outline, Role},
    project::{Output, Project, vite_configuration},
    text::{self, Text},
    tool::Tools,
    tree::{Entry, Tree, path, resolve::Resolver},
};

const PRODUCTION: &str = "production";

/// Compiles the page of a tree, and checks it. The same request has the same answer. `progress` gets the path of each file before it is
/// compiled.
pub fn compile(request: Request, progress: &mut dyn FnMut(&str)) -> Answer {
    if request.is_plain {
        return plain::check(request, progress);
    }
    let output = output(&request.mode);
    follow(request, output, progress, |compilation| compilation.answer())
}

/// What the modules of a page are compiled for.
pub(crate) fn output(mode: &str) -> Output {
    if mode == PRODUCTION { Output::Production } else { Output::Development }
}

/// A tree whose page was followed, with all that it loads.
pub(crate) struct Compilation<'c> {
    /// The text of the page, if the tree has one.
    pub(crate) html: Option<String>,
    pub(crate) outline: Outline,
    pub(crate) graph: Graph<'c>,
    pub(crate) walk: Walk,
    /// What scripts of the page define that are no modules.
    classic: Classic,
    /// What is wrong with the project as a whole.
    found: Vec<Finding>,
    /// The framework is not compiled.
    is_refused: bool,
    /// Another tool builds or runs the files: the tree has no page, or a framework that is not compiled.
    is_foreign: bool,
    packages: Vec<compiler_client::message::Package>,
    checks_all: bool,
}

/// Follows the page of a tree. `end` makes the answer; nothing outlives it.
pub(crate) fn follow<T>(request: Request, output: Output, progress: &mut dyn FnMut(&str), end: impl FnOnce(Compilation<'_>) -> T) -> T {
    let base = if request.base.is_empty() { "/".to_owned() } else { request.base };
    // The process ends after one answer. To free the many names of the files, and those that the resolver keeps, would take as long as to
    // find them.
    let mut tree = ManuallyDrop::new(tree(request.files));
    let mut findings = Vec::new();
    if !tree.has(PAGE) {
        findings.push(missing_page());
    }
    let html = read_page(PAGE, &tree, &mut findings);
    let values = || environment::values(&tree, &base, output != Output::Development);
    let html = html.map(|html| if html.contains('%') { environment::filled(&html, &values()) } else { html });
    let outline = html.as_deref().map(|html| outline(PAGE, html, Some(&base), &mut tree, &mut findings)).unwrap_or_default();
    let html = html.map(|html| html.replace(path::BASE_URL, &base));
    if html.is_none() && tree.has(PAGE) {
        tree.content(PAGE);
    }
    let project = Project::read(&tree, output).of_release(&request.release);
    let refused = refused(&tree, &project);
    let is_refused = refused.is_some();
    let is_foreign = is_refused || !tree.has(PAGE) && !project.expects_page(&tree);
    if is_refused {
        // Such a project has its page elsewhere.
        findings.retain(|finding| finding.code != code::MISSING_PAGE);
    }
    findings.extend(refused);
    findings.extend(old_tailwind(&tree, &project));
    let aliases = aliases(&tree, &project, progress);
    let resolver = ManuallyDrop::new(Resolver::new(&tree, aliases));
    let mut graph = Graph::new(&tree, &resolver, &project, &request.known, progress);
    graph.tools = Tools::new(request.tools, request.tool_outputs).without(request.absent_tools);
    let walk = Walk::of(&mut graph, &outline, &base, &request.packages);
    let classic = Classic::of(&graph, std::iter::once((PAGE, &outline)));
    let (packages, checks_all) = (request.packages, request.check_all);
    end(Compilation { html, outline, graph, walk, classic, found: findings, is_refused, is_foreign, packages, checks_all })
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

    /// All findings, also more than an answer has room for.
    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        let mut findings = std::mem::take(&mut self.found);
        findings.extend(graph::addresses::check(&self.graph, PAGE, &self.outline));
        // What a browser cannot load is no fault of files that it does not get.
        let nothing = Walk::default();
        let walk = if self.is_refused { &nothing } else { &self.walk };
        let checker = Checker::new(&self.graph, walk, &self.classic).of_other_tool(self.is_foreign);
        findings.extend(checker.with_packages(&self.packages).modules());
        merged(findings)
    }

    /// Whether the page cannot run because of the finding.
    pub(crate) fn is_broken_by(&self, finding: &Finding) -> bool {
        stops(finding) && is_of_page(finding, &self.walk)
    }

    fn answer(mut self) -> Answer {
        let (wanted, wanted_tools) = (self.complete(), self.graph.tools.wanted());
        if !wanted.is_empty() || !wanted_tools.is_empty() {
            let tool_outputs = self.graph.tools.take_outputs();
            return Answer { wanted, wanted_tools, modules: self.graph.compiled, tool_outputs, ..Answer::default() };
        }
        let findings = self.findings();
        let page = match self.html.as_deref().filter(|_| !findings.iter().any(|finding| self.is_broken_by(finding))) {
            Some(html) => page::write(html, &self.outline, &self.walk.edits, &self.head()).unwrap_or_default(),
            None => String::new(),
        };
        let is_broken = |finding: &Finding| self.is_broken_by(finding);
        let (is_refused, is_eased) = (self.is_refused, self.is_foreign && self.checks_all);
        let error_page = if page.is_empty() { error_page(&errors_first(&findings, is_broken)) } else { String::new() };
        let answer = Answer {
            page,
            error_page,
            independent: graph::independent(&self.graph, &self.walk, &self.outline, &findings),
            configuration: self.graph.tree.configurations(),
            tool_outputs: self.graph.tools.take_outputs(),
            findings: listed(if is_eased { findings.into_iter().map(without_preview).collect() } else { findings }),
            modules: mem::take(&mut self.graph.compiled),
            resources: mem::take(&mut self.walk.resources).into_values().collect(),
            // Nothing is fetched for a page that cannot be.
            bare: if is_refused { Vec::new() } else { mem::take(&mut self.walk.bare).into_iter().collect() },
            ..Answer::default()
        };
        // As the names of the files.
        mem::forget(self);
        answer
    }
}

impl Compilation<'_> {
    /// The import map, what an open page needs to exchange modules, and the modules to load at once.
    fn head(&self) -> Additions {
        let (walk, base) = (&self.walk, &self.walk.base);
        let at = |url: &String| format!("{base}{url}");
        let packages = self.packages.iter().filter(|package| walk.bare.contains(&package.specifier));
        let own = walk.imports.iter().map(|(specifier, url)| (specifier.as_str(), at(url)));
        let imports = own.chain(packages.clone().map(|package| (package.specifier.as_str(), at(&package.url)))).collect();
        let scope = |imports: &'_ BTreeMap<String, String>| imports.iter().map(|(specifier, url)| (specifier.clone(), at(url))).collect();
        let scopes = walk.scopes.iter().map(|(importer, imports)| (at(importer), scope(imports))).collect();
        let map = escaped(&ImportMap { imports, scopes });
        let links = if self.graph.project.is_hot {
            format!("<script type=\"application/json\" data-backlot>{}</script>", escaped(&walk.links.list(base)))
        } else {
            String::new()
        };
        let refresh = packages.clone().filter(|package| REFRESHES.contains(&package.specifier.as_str()));
        let refresh: String =
            refresh.map(|package| format!("<script type=\"module\" src=\"{base}{}\" data-backlot></script>", package.url)).collect();
        let loaded = walk.preload.iter().chain(packages.map(|package| &package.url));
        let preload: String =
            loaded.map(|url| format!("<link rel=\"modulepreload\" href=\"{base}{}\">", url.replace('"', "&quot;"))).collect();
        Additions { start: format!("<script type=\"importmap\">{map}</script>{links}{refresh}{preload}"), end: String::new() }
    }
}

#[derive(Serialize)]
struct ImportMap<'m> {
    imports: BTreeMap<&'m str, String>,
    scopes: BTreeMap<String, BTreeMap<String, String>>,
}

/// JSON in a page: a `<` could end the script. Texts by texts, and numbers, are always JSON.
fn escaped(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().replace('<', "\\u003c")
}

pub(crate) fn tree(files: Vec<File>) -> Tree {
    let entry = |file: File| (file.path, Entry { id: file.id, size: file.size, content: file.content });
    Tree::new(files.into_iter().map(entry).collect())
}

/// The text of a page, if the tree has it.
fn read_page(page: &str, tree: &Tree, findings: &mut Vec<Finding>) -> Option<String> {
    let mut refuse = |code, message: &str| findings.push(text::finding(code, page, &text::start(), message));
    let entry = tree.get(page)?;
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

/// What a page loads. Its inline modules become files. A page of Vite has a `base`.
fn outline(page: &str, html: &str, base: Option<&str>, tree: &mut Tree, findings: &mut Vec<Finding>) -> Outline {
    let mut outline = page::read(html).unwrap_or_else(|message| {
        findings.push(text::finding(code::UNSUPPORTED, page, &text::start(), &message));
        Outline::default()
    });
    if let Some(base) = base {
        outline.fill(base);
    }
    for item in outline.items.iter().filter(|item| item.role == Role::InlineModule) {
        tree.add(graph::inline_name(page, item), inline(item));
    }
    outline
}

/// An inline script as a file, with its lines where they are in the page.
fn inline(item: &Item) -> Entry {
    let content = "\n".repeat(item.place.line as usize - 1) + &item.value;
    Entry { id: module::hash(&content), size: content.len() as u64, content: Some(content.into_bytes().into()) }
}

fn missing_page() -> Finding {
    let finding = text::finding(code::MISSING_PAGE, PAGE, &text::start(), "the project has no index.html");
    Finding { help: "A preview needs an index.html in the root that loads the scripts of the app.".to_owned(), ..finding }
}

/// A finding of a check, for a project that another tool builds or runs: what concerns the preview alone is no error.
fn without_preview(finding: Finding) -> Finding {
    let is_of_preview = [code::MISSING_PAGE, code::UNSUPPORTED].contains(&finding.code.as_str());
    Finding { is_warning: finding.is_warning || is_of_preview, ..finding }
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
    let manifest = tree.text("package.json").filter(|_| project.has_old_tailwind())?;
    let lines = Text::new(manifest);
    let place = lines.place(manifest.find("\"tailwindcss\"").unwrap_or_default());
    let message = "Tailwind before version 3 is not compiled, so that its classes have no rules";
    let finding = lines.finding(code::UNSUPPORTED, "package.json", &place, message);
    Some(Finding { is_warning: true, help: "Upgrade tailwindcss to version 4.".to_owned(), ..finding })
}

/// The aliases of Vite's configuration.
fn aliases(tree: &Tree, project: &Project, progress: &mut dyn FnMut(&str)) -> Vec<Alias> {
    let found = vite_configuration(tree).and_then(|path| Some((path, tree.get(path)?, tree.content(path)?)));
    let Some((path, entry, content)) = found else { return Vec::new() };
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

/// Sorted by file and without repetitions, with the page as the file of its inline scripts.
fn merged(mut findings: Vec<Finding>) -> Vec<Finding> {
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
    let file = finding.file.as_str();
    [PAGE, "package.json"].contains(&file) || walk.blocking.contains(file) || walk.reached.iter().any(|(path, _)| *path == finding.file)
}
