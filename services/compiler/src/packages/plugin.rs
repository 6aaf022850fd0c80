//! What the bundler reads: files of packages, entries, and modules that stand for what a browser has not.

use std::{borrow::Cow, cell::Cell, collections::BTreeMap, sync::Arc};

use compiler_client::message::{
    Facts, Module,
    facts::{Import, Kind},
    finding::code,
};
use rolldown_common::{ImportKind, ModuleType, ResolvedExternal, side_effects::HookSideEffects};
use rolldown_plugin::{
    HookLoadArgs, HookLoadOutput, HookLoadReturn, HookResolveIdArgs, HookResolveIdOutput, HookResolveIdReturn, HookUsage, Plugin,
    PluginContext, SharedLoadPluginContext,
};
use serde_json::Value;

use super::{
    build::Build,
    components::{self, Components},
    files::{By, Files, Mode, ROOT, Resolution},
    notes::Notes,
};
use crate::{
    advice::{advice, package_at},
    module::{self, Source, component, helpers, marks, options::Options, scss},
    tool::{
        builtins,
        tailwind::{OF, WORDS},
    },
    tree::path,
};

/// The start of the specifiers and ids of entries.
pub(super) const ENTRY: &str = "backlot:entry:";
/// Around the names of chunks, so that they are found in code.
pub(super) const NAME_START: &str = "backlot-chunk-";
pub(super) const NAME_END: &str = ".mjs";
/// An empty module.
const EMPTY: &str = "backlot:empty";
/// A module that warns when it is used. A package that the table of alternatives has, `>` and the name of the module follow.
const ABSENT: &str = "backlot:absent:";
/// A module that fails when it is loaded.
const FAILS: &str = "backlot:fails:";
/// How deeply style sheets import each other under conditions.
const MAX_SHEETS: usize = 20;

#[derive(Debug)]
pub(crate) struct Packages {
    files: Arc<Files>,
    notes: Arc<Notes>,
    components: Arc<Components>,
    /// The code of each entry.
    pub(super) entries: Vec<String>,
    /// The bundle is a tool, and not for a page.
    pub(super) is_tool: bool,
    /// A package that stays an import.
    pub(super) shared: Option<&'static str>,
    /// Files that broke an earlier run, and why.
    broken: BTreeMap<String, String>,
    options: Options,
}

impl Plugin for Packages {
    fn name(&self) -> Cow<'static, str> {
        "packages".into()
    }

    fn register_hook_usage(&self) -> HookUsage {
        HookUsage::ResolveId | HookUsage::Load
    }

    async fn resolve_id(&self, _: &PluginContext, args: &HookResolveIdArgs<'_>) -> HookResolveIdReturn {
        let specifier = args.specifier;
        if let Some((package, name)) = specifier.strip_prefix(OF).and_then(|rest| rest.split_once('>')) {
            return Ok(Some(self.resolve(&format!("node_modules/{package}/package.json"), name, args.kind)));
        }
        if specifier.starts_with("backlot:") {
            return Ok(Some(HookResolveIdOutput::from_id(specifier)));
        }
        // The bundler's own modules and helpers, and addresses, which stay as they are.
        if specifier.starts_with('\0') || specifier.starts_with(helpers::MODULE) || path::is_foreign(specifier) {
            return Ok(None);
        }
        if self.shared == Some(specifier) {
            let external = Some(ResolvedExternal::Bool(true));
            return Ok(Some(HookResolveIdOutput { external, ..HookResolveIdOutput::from_id(specifier) }));
        }
        let importer = args.importer.and_then(|importer| importer.strip_prefix(ROOT)).unwrap_or_default();
        let importer = path::split_query(importer.trim_start_matches('/')).0;
        Ok(Some(self.resolve(importer, specifier, args.kind)))
    }

    async fn load(&self, _: SharedLoadPluginContext, args: &HookLoadArgs<'_>) -> HookLoadReturn {
        if args.id.starts_with('\0') || args.id.starts_with(helpers::MODULE) {
            return Ok(None);
        }
        let (code, kind) = self.read(args.id);
        // A package can say that its modules have no effects; its style sheets have.
        let side_effects = self.is_sheet(args.id).then_some(HookSideEffects::NoTreeshake);
        Ok(Some(HookLoadOutput { code: code.into(), module_type: Some(kind), side_effects, ..HookLoadOutput::default() }))
    }
}

impl Packages {
    /// Without entries.
    pub(crate) fn new(build: &Build, options: &Options) -> Self {
        Self {
            files: Arc::clone(build.files),
            notes: Arc::clone(build.notes),
            components: Arc::clone(build.components),
            entries: Vec::new(),
            is_tool: false,
            shared: None,
            broken: build.broken.clone(),
            options: options.clone(),
        }
    }

    /// Whether the text of the module goes to the style sheet of a bundle.
    fn is_sheet(&self, id: &str) -> bool {
        let (file, query) = path::split_query(id);
        let is_css = query.is_empty() && path::extension(file) == "css";
        self.options.is_bundled && (is_css || component::is_style(query))
    }

    pub(crate) fn resolve(&self, importer: &str, specifier: &str, kind: ImportKind) -> HookResolveIdOutput {
        let (name, query) = path::split_query(specifier);
        let by = if kind == ImportKind::Require { By::Require } else { By::Import };
        // Code that asks when it runs can handle that there is nothing.
        let is_asked = matches!(kind, ImportKind::Require | ImportKind::DynamicImport);
        match self.files.find(importer, name, by) {
            Resolution::File(file, package_json_path) => {
                HookResolveIdOutput { id: format!("{ROOT}/{file}{query}").into(), package_json_path, ..HookResolveIdOutput::default() }
            }
            Resolution::Empty => HookResolveIdOutput::from_id(EMPTY),
            Resolution::Builtin(name) if self.is_tool && builtins::code(&name).is_some() => {
                HookResolveIdOutput::from_id(format!("{}{name}", builtins::PREFIX))
            }
            Resolution::Builtin(name) => {
                let message = format!("the package imports {name}, a module of Node.js; a browser has none");
                self.notes.warn(code::UNSUPPORTED, importer, &message, advice(&[package_at(importer), name.as_str()]));
                HookResolveIdOutput::from_id(absent_id(importer, &name))
            }
            Resolution::Missing if is_asked => HookResolveIdOutput::from_id(format!("{FAILS}Cannot find module '{name}'")),
            Resolution::Missing => {
                if !self.files.is_optional(importer, name) {
                    let message = format!("there is no file for the import {name}");
                    self.notes.warn(code::UNRESOLVED_IMPORT, importer, &message, String::new());
                }
                HookResolveIdOutput::from_id(absent_id(importer, name))
            }
        }
    }

    /// The code of a module.
    fn read(&self, id: &str) -> (String, ModuleType) {
        let script = |code: String| (code, ModuleType::Js);
        if let Some(entry) = id.strip_prefix(ENTRY) {
            return script(entry.parse::<usize>().ok().and_then(|at| self.entries.get(at)).cloned().unwrap_or_default());
        }
        if id == EMPTY {
            return script("module.exports = {};".to_owned());
        }
        if let Some((package, name)) = id.strip_prefix(ABSENT).and_then(|rest| rest.split_once('>')) {
            return script(absent(name, &advice(&[package, name])));
        }
        if let Some(message) = id.strip_prefix(FAILS) {
            return script(fails(message));
        }
        if let Some(name) = id.strip_prefix(builtins::PREFIX) {
            return script(builtins::code(name).unwrap_or_default().to_owned());
        }
        if let Some(pattern) = id.strip_prefix(WORDS) {
            return script(format!("export default {};", Value::from(self.files.words(pattern))));
        }
        let (file, query) = path::split_query(id.strip_prefix(ROOT).unwrap_or(id).trim_start_matches('/'));
        self.file(file, query)
    }

    fn file(&self, file: &str, query: &str) -> (String, ModuleType) {
        let refuse = |code, message: &str| {
            self.notes.add(code, file, message);
            (fails(&format!("{file}: {message}")), ModuleType::Js)
        };
        if let Some(message) = self.broken.get(file) {
            return (fails(&format!("{file}: {message}")), ModuleType::Js);
        }
        let extension = path::extension(file);
        if ["node", "wasm"].contains(&extension.as_str()) && query.is_empty() {
            let help = advice(&[package_at(file)]);
            let text = format!("{file}: native code cannot be bundled. {help}");
            self.notes.warn(code::UNSUPPORTED, file, "native code cannot be bundled", help);
            return (fails(text.trim_end()), ModuleType::Js);
        }
        let kind = match module::kind(file, query) {
            Ok(Kind::Module | Kind::Inline) if scss::is_scss(file) => {
                return refuse(code::UNSUPPORTED, &format!(".{extension} files of packages are not compiled"));
            }
            Ok(kind) => kind,
            Err(message) => return refuse(code::UNSUPPORTED, &message),
        };
        let Some(content) = self.files.content(file) else { return refuse(code::MISSING_FILE, "the file is not there") };
        let source = Source { path: file, kind, id: &content.id, content: &content.bytes, options: &self.options };
        if let Some(plain) = plain(&extension).filter(|_| kind == Kind::Module && component::tool(file).is_none()) {
            return match module::readable(&source) {
                Ok(text) => (text.to_owned(), plain),
                Err(found) => refuse(&found.code, &found.message),
            };
        }
        if kind == Kind::Address {
            self.notes.resource(module::address(file, &content.id, self.options.is_bundled), file);
        }
        let compiled = match component::tool(file).filter(|_| kind == Kind::Module) {
            Some(_) if component::is_style(query) => self.style(file, query),
            Some(tool) if !self.files.has_package(components::package(tool)) => {
                let package = components::package(tool);
                return refuse(
                    code::MISSING_PACKAGE,
                    &format!("the file needs the package {package}; add it to the dependencies in package.json"),
                );
            }
            Some(tool) => {
                let options = Options { is_production: self.files.mode == Mode::Production, ..self.options.clone() };
                match self.components.compile(&Source { options: &options, ..source }, tool) {
                    Some(module) => module,
                    // This bundle is thrown away.
                    None => return ("export default {};".to_owned(), ModuleType::Js),
                }
            }
            None => module::compile(&source),
        };
        let error = compiled.facts.iter().flat_map(|facts| &facts.findings).find(|finding| !finding.is_warning);
        if let Some(found) = error {
            return refuse(&found.code, &found.message);
        }
        if kind == Kind::Module && self.is_sheet(&format!("{file}{query}")) {
            let text = compiled.facts.map(|facts| self.sheet(&facts, 0, &Cell::new(module::MAX_INLINED))).unwrap_or_default();
            self.notes.sheet(&format!("{ROOT}/{file}{query}"), text);
        }
        (compiled.code, ModuleType::Js)
    }

    /// A style sheet of a component. The component is read before what it imports.
    fn style(&self, file: &str, query: &str) -> Module {
        let (path, text) = (format!("{file}{query}"), self.components.style(file, query).unwrap_or_default());
        let id = module::hash(&text);
        module::compile(&Source { path: &path, kind: Kind::Module, id: &id, content: text.as_bytes(), options: &self.options })
    }

    /// The text of a style sheet, with the addresses of what it loads, which are beside it. It can have `left` further sheets in it.
    fn sheet(&self, facts: &Facts, depth: usize, left: &Cell<usize>) -> String {
        let of = |import: &Import| {
            let (name, query) = path::split_query(&import.specifier);
            let Resolution::File(file, _) = self.files.find(&facts.path, name, By::Import) else { return import.written.clone() };
            let Some(content) = self.files.content(&file) else { return import.written.clone() };
            let Ok(kind @ (Kind::Address | Kind::Inline)) = module::kind(&file, query) else { return import.written.clone() };
            if kind == Kind::Address {
                let url = module::address(&file, &content.id, true);
                self.notes.resource(url.clone(), &file);
                return url.trim_start_matches(module::ASSETS).to_owned();
            }
            let source = Source { path: &file, kind, id: &content.id, content: &content.bytes, options: &self.options };
            if depth == MAX_SHEETS || left.get() == 0 {
                return String::new();
            }
            left.set(left.get() - 1);
            module::compile(&source).facts.map(|facts| self.sheet(&facts, depth + 1, left)).unwrap_or_default()
        };
        let marked = facts.imports.iter().filter(|import| !import.mark.is_empty());
        marks::fill(&facts.marked, &marked.map(|import| (import.mark.clone(), of(import))).collect())
    }
}

/// How the bundler itself reads a file with this extension.
fn plain(extension: &str) -> Option<ModuleType> {
    match extension {
        "js" | "mjs" | "cjs" => Some(ModuleType::Js),
        "jsx" => Some(ModuleType::Jsx),
        "ts" | "mts" | "cts" => Some(ModuleType::Ts),
        "tsx" => Some(ModuleType::Tsx),
        "json" => Some(ModuleType::Json),
        _ => None,
    }
}

/// The id of what stands for a module that is not there.
fn absent_id(importer: &str, name: &str) -> String {
    // Two packages without advice share the module.
    let package = Some(package_at(importer)).filter(|package| !advice(&[package]).is_empty()).unwrap_or_default();
    format!("{ABSENT}{package}>{name}")
}

/// Reads of its members are undefined, and say so. It is CommonJS: any name can be imported of it.
fn absent(name: &str, advice: &str) -> String {
    let (name, advice) = (Value::from(name), Value::from(format!(" {advice}").trim_end()));
    format!(
        "module.exports = Object.create(new Proxy({{}}, {{ get(_, key) {{ if (typeof key === \"string\" && ![\"__esModule\", \"__proto__\", \
         \"constructor\", \"default\", \"then\"].includes(key)) console.warn(`The module ${{{name}}} is not in the bundle: ${{key}} is \
         undefined.${{{advice}}}`); }} }}));"
    )
}

fn fails(message: &str) -> String {
    format!("throw Object.assign(new Error({}), {{ code: \"MODULE_NOT_FOUND\" }});", Value::from(message))
}
