//! JavaScript, TypeScript and JSX. This module and its children alone know the types of oxc, which differ between its releases.

pub(crate) mod classic;
mod config;
mod exports;
mod glob;
mod hot;
mod jsx;
mod names;
pub(crate) mod outline;
mod partial;
mod rewrite;
pub(crate) mod runner;
mod strings;
mod surface;

pub(crate) use self::{
    glob::PREFIX as GLOB_PREFIX,
    hot::import as hot_import,
    names::is_of_tools,
    strings::strings,
    surface::{Surface, surface},
};

use std::path::Path;

use compiler_client::message::{Facts, Finding, facts::Kind, finding::code};
use oxc::{
    allocator::Allocator,
    ast::ast::Program,
    codegen::{Codegen, CodegenOptions},
    diagnostics::{Diagnostics, Severity},
    parser::Parser,
    semantic::{Scoping, SemanticBuilder},
    span::SourceType,
    transformer::{ClassPropertiesOptions, JsxOptions, JsxRuntime, ReactRefreshOptions, TransformOptions, Transformer},
};

use super::{
    Source, helpers,
    options::{Jsx, Options},
};
use crate::{text::Text, tree::path};

/// The most findings of one file.
const MAX_FINDINGS: usize = 20;

/// Returns the code and its map. `extension` is the one of the language.
pub(super) fn compile(source: &Source, text: &str, extension: &str, facts: &mut Facts) -> (String, String) {
    let allocator = Allocator::default();
    let lines = Text::new(text);
    let kind = if source.options.is_plain { plain_type(source.path, extension) } else { source_type(source.path, extension) };
    let parsed = Parser::new(&allocator, text, kind).parse();
    report(&parsed.diagnostics, source.path, &lines, facts);
    if parsed.panicked || !facts.findings.is_empty() {
        return Default::default();
    }
    exports::note_types(&parsed.module_record, facts);
    let mut program = parsed.program;
    let analysed = SemanticBuilder::new().with_build_nodes(true).with_check_syntax_error(true).with_enum_eval(true).build(&program);
    report(&analysed.diagnostics, source.path, &lines, facts);
    if !facts.findings.is_empty() {
        return Default::default();
    }
    if kind.is_typescript_definition() {
        names::note_declared(&analysed.semantic, facts);
        return Default::default();
    }
    names::note_undefined(&analysed.semantic, &lines, facts);
    jsx::note_called(&analysed.semantic, &source.options.jsx, &lines, facts);
    if config::is_configuration(source.path) {
        config::note_aliases(&analysed.semantic, facts);
    }
    let scoping = analysed.semantic.into_scoping();
    let names = hot::Names::new(text);
    let has_refresh = is_hot(source) && source.options.refresh.is_some() && !super::is_component(source.path);
    let refresh = has_refresh.then_some(&names);
    let diagnostics = transform(source, &allocator, (scoping, refresh), &mut program);
    report(&diagnostics, source.path, &lines, facts);
    if !facts.findings.is_empty() {
        return Default::default();
    }
    exports::note_values(&program, facts);
    let additions = rewrite::rewrite((source, &names), &lines, &allocator, &mut program, facts);
    let (code, map) = print(source.path, &program);
    (code + &additions, map)
}

/// The text as JavaScript, for a tool that reads no types, with its source map. `None` if it has an error, which the tool then reports.
pub(super) fn without_types(source: &Source, text: &str) -> Option<(String, String)> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::ts()).parse();
    if parsed.panicked || parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return None;
    }
    let mut program = parsed.program;
    let scoping = SemanticBuilder::new().with_enum_eval(true).build(&program).semantic.into_scoping();
    let diagnostics = transform(source, &allocator, (scoping, None), &mut program);
    let is_broken = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    (!is_broken).then(|| print(source.path, &program))
}

fn source_type(path: &str, extension: &str) -> SourceType {
    let named = if path::extension(path) == extension { SourceType::from_path(path) } else { SourceType::from_extension(extension) };
    let kind = named.unwrap_or_default();
    // JSX in `.js` is common.
    if ["js", "mjs"].contains(&extension) { kind.with_jsx(true) } else { kind }
}

/// A script that no tool of a page compiles. The syntax of JavaScript says whether it is a module. TypeScript is not for the browser.
fn plain_type(path: &str, extension: &str) -> SourceType {
    if ["ts", "tsx", "mts", "cts"].contains(&extension) {
        return source_type(path, extension);
    }
    // A tool in the page may read JSX.
    let kind = if extension == "mjs" { SourceType::mjs() } else { SourceType::unambiguous() };
    kind.with_jsx(true)
}

fn report(diagnostics: &Diagnostics, path: &str, lines: &Text, facts: &mut Facts) {
    for diagnostic in diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error) {
        if facts.findings.len() == MAX_FINDINGS {
            return;
        }
        let offset = diagnostic.labels.first().map_or(0, |label| label.offset() as usize);
        let found = lines.finding(code::SYNTAX_ERROR, path, &lines.place(offset), &diagnostic.message);
        let help = diagnostic.help.as_deref().unwrap_or_default().to_owned();
        facts.findings.push(Finding { help, ..found });
    }
}

/// Whether an open page can exchange the module. The script of a worker cannot be exchanged.
fn is_hot(source: &Source) -> bool {
    source.options.is_hot && source.kind == Kind::Module
}

/// Names of functions are given for React Refresh.
fn transform<'a>(
    source: &Source,
    allocator: &'a Allocator,
    (scoping, refresh): (Scoping, Option<&hot::Names>),
    program: &mut Program<'a>,
) -> Diagnostics {
    let mut options = transform_options(source.options, program.source_type.is_typescript());
    options.jsx.refresh = refresh.map(|names| ReactRefreshOptions {
        refresh_reg: names.register.clone(),
        refresh_sig: names.sign.clone(),
        ..ReactRefreshOptions::default()
    });
    Transformer::new(allocator, Path::new(source.path), &options).build_with_scoping(scoping, program).diagnostics
}

fn transform_options(options: &Options, is_typescript: bool) -> TransformOptions {
    let mut transform = TransformOptions { jsx: jsx_options(&options.jsx), ..TransformOptions::default() };
    if let Jsx::Classic { factory, fragment } = &options.jsx {
        transform.typescript.jsx_pragma = factory.clone().map_or(transform.typescript.jsx_pragma, Into::into);
        transform.typescript.jsx_pragma_frag = fragment.clone().map_or(transform.typescript.jsx_pragma_frag, Into::into);
    }
    transform.typescript.only_remove_type_imports = options.keeps_imports;
    transform.decorator.legacy = options.has_decorators;
    transform.decorator.emit_decorator_metadata = options.has_decorators && options.has_metadata;
    transform.decorator.strict_null_checks = options.strict_nulls;
    if is_typescript && !options.defines_fields {
        transform.assumptions.set_public_class_fields = true;
        transform.typescript.remove_class_fields_without_initializer = true;
        transform.env.es2022.class_properties = Some(ClassPropertiesOptions { loose: true });
        transform.env.es2022.class_static_block = true;
    }
    transform.helper_loader.module_name = helpers::MODULE.into();
    transform
}

fn jsx_options(jsx: &Jsx) -> JsxOptions {
    match jsx {
        Jsx::Automatic { source } => {
            JsxOptions { runtime: JsxRuntime::Automatic, import_source: Some(source.clone()), ..JsxOptions::default() }
        }
        Jsx::Classic { factory, fragment } => {
            JsxOptions { runtime: JsxRuntime::Classic, pragma: factory.clone(), pragma_frag: fragment.clone(), ..JsxOptions::default() }
        }
    }
}

/// Without indentation: that of deeply nested text would be as large as the square of its size.
fn print(path: &str, program: &Program) -> (String, String) {
    let options = CodegenOptions { indent_width: 0, source_map_path: Some(Path::new("/").join(path)), ..CodegenOptions::default() };
    let printed = Codegen::new().with_options(options).build(program);
    (printed.code, printed.map.map(|map| map.to_json_string()).unwrap_or_default())
}
