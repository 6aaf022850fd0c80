//! Modules that a tool runs: a configuration of the project, and what it loads. They become the bodies of functions, as those of Vite's module
//! runner.

use std::collections::BTreeSet;

use compiler_client::message::{Facts, Finding};
use oxc::{
    allocator::Allocator,
    ast::ast::{Argument, CallExpression, Expression, ImportExpression, Program, TryStatement},
    ast_visit::{Visit, walk},
    parser::Parser,
    semantic::SemanticBuilder,
    transformer::Transformer,
    transformer_plugins::ModuleRunnerTransform,
};

use super::{Source, print, report, source_type, transform_options};
use crate::{text::Text, tree::path};

/// A module for a tool.
#[derive(Debug, Default)]
pub(crate) struct RunnerModule {
    /// The body of an asynchronous function.
    pub(crate) code: String,
    /// It has imports or exports.
    pub(crate) is_module: bool,
    /// Specifiers of `import`.
    pub(crate) imports: BTreeSet<String>,
    /// Specifiers of `require`.
    pub(crate) requires: BTreeSet<String>,
    /// Those that are loaded only inside of `try`, so that the module can do without them.
    pub(crate) optional: BTreeSet<String>,
}

/// Compiles a script in JavaScript or TypeScript.
///
/// # Errors
/// The first syntax error.
pub(crate) fn compile(source: &Source, text: &str) -> Result<RunnerModule, Finding> {
    let allocator = Allocator::default();
    let lines = Text::new(text);
    let mut facts = Facts::default();
    let kind = source_type(source.path, &path::extension(source.path));
    let parsed = Parser::new(&allocator, text, kind).parse();
    report(&parsed.diagnostics, source.path, &lines, &mut facts);
    let is_module = parsed.module_record.has_module_syntax;
    let mut program = parsed.program;
    if facts.findings.is_empty() {
        let analysed = SemanticBuilder::new().with_check_syntax_error(true).with_enum_eval(true).build(&program);
        report(&analysed.diagnostics, source.path, &lines, &mut facts);
        if facts.findings.is_empty() {
            let options = transform_options(source.options, program.source_type.is_typescript());
            let transformer = Transformer::new(&allocator, std::path::Path::new(source.path), &options);
            let transformed = transformer.build_with_scoping(analysed.semantic.into_scoping(), &mut program);
            report(&transformed.diagnostics, source.path, &lines, &mut facts);
        }
    }
    if let Some(finding) = facts.findings.into_iter().next() {
        return Err(finding);
    }
    let mut requires = Requires::default();
    requires.visit_program(&program);
    let declared = to_function(&allocator, &mut program);
    let optional = requires.tried.into_iter().filter(|specifier| !requires.needed.contains(specifier) && !declared.contains(specifier));
    let optional = optional.collect();
    let imports = declared.into_iter().chain(requires.imported).collect();
    Ok(RunnerModule { code: print(source.path, &program).0, is_module, imports, requires: requires.required, optional })
}

/// Returns the specifiers of the import declarations.
fn to_function<'a>(allocator: &'a Allocator, program: &mut Program<'a>) -> BTreeSet<String> {
    let scoping = SemanticBuilder::new().build(program).semantic.into_scoping();
    let (imports, _) = ModuleRunnerTransform::new().transform(allocator, program, scoping);
    imports.into_iter().collect()
}

/// The specifiers of `require` and `import()`.
#[derive(Default)]
struct Requires {
    required: BTreeSet<String>,
    imported: BTreeSet<String>,
    /// Blocks of `try` around the place, whose errors are caught.
    open: usize,
    /// Specifiers inside of such a block, and outside of all.
    tried: BTreeSet<String>,
    needed: BTreeSet<String>,
}

impl Requires {
    fn note(&mut self, specifier: &str) {
        let place = if self.open > 0 { &mut self.tried } else { &mut self.needed };
        place.insert(specifier.to_owned());
    }
}

impl<'a> Visit<'a> for Requires {
    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        if let (Expression::Identifier(callee), [Argument::StringLiteral(specifier)]) = (&call.callee, call.arguments.as_slice())
            && callee.name == "require"
        {
            self.required.insert(specifier.value.to_string());
            self.note(&specifier.value);
        }
        walk::walk_call_expression(self, call);
    }

    fn visit_import_expression(&mut self, import: &ImportExpression<'a>) {
        if let Expression::StringLiteral(specifier) = &import.source {
            self.imported.insert(specifier.value.to_string());
            self.note(&specifier.value);
        }
        walk::walk_import_expression(self, import);
    }

    fn visit_try_statement(&mut self, statement: &TryStatement<'a>) {
        let depth = usize::from(statement.handler.is_some());
        self.open += depth;
        self.visit_block_statement(&statement.block);
        self.open -= depth;
        if let Some(handler) = &statement.handler {
            self.visit_catch_clause(handler);
        }
        if let Some(finalizer) = &statement.finalizer {
            self.visit_block_statement(finalizer);
        }
    }
}
