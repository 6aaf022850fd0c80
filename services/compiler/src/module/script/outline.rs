//! What a script declares and imports, and the keys of JSON.

use std::{collections::BTreeSet, ops::Range};

use compiler_client::message::outline::SymbolKind;
use oxc::{
    allocator::Allocator,
    ast::ast::{
        Argument, BindingPattern, CallExpression, Class, ClassElement, Declaration, ExportDefaultDeclarationKind, Expression, Function,
        ImportExpression, JSXElement, JSXFragment, ModuleExportName, ObjectExpression, ObjectPropertyKind, Program, Statement,
        VariableDeclarator,
    },
    ast_visit::{Visit, walk},
    diagnostics::Severity,
    parser::Parser,
    span::{GetSpan, SourceType, Span},
};

use super::plain_type;
use crate::symbols::Found;

/// A script that cannot be read is cut before its first error, and again.
const MAX_CUTS: usize = 4;
/// The name of a default export without a name.
const DEFAULT: &str = "default";

/// Reads a script. `extension` is that of its language.
pub(crate) fn read(text: &str, extension: &str, found: &mut Found) {
    let mut rest = text;
    for _ in 0..=MAX_CUTS {
        let allocator = Allocator::default();
        let parsed = Parser::new(&allocator, rest, plain_type("", extension)).parse();
        if !parsed.panicked {
            return of_program(&parsed.program, found);
        }
        let errors = parsed.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let error = errors.filter_map(|diagnostic| diagnostic.labels.first().map(|label| label.offset() as usize)).min();
        rest = &rest[..before(rest, error.unwrap_or(rest.len()))];
        if rest.is_empty() {
            return;
        }
    }
}

/// The start of the last statement of the outermost level that begins before an offset, judged by its indentation.
fn before(text: &str, offset: usize) -> usize {
    let starts = text.match_indices('\n').map(|(at, _)| at + 1).take_while(|start| *start <= offset);
    let is_statement = |start: &usize| text[*start..].starts_with(|c: char| c.is_ascii_alphabetic() || "@_$".contains(c));
    starts.filter(|start| *start < text.len()).filter(is_statement).last().unwrap_or_default()
}

fn of_program(program: &Program, found: &mut Found) {
    let mut inside = Inside::default();
    inside.visit_program(program);
    for (specifier, offset) in &inside.loaded {
        found.import(specifier, *offset);
    }
    inside.jsx.sort_unstable();
    let mut reader = Reader { exported: exported(program), jsx: inside.jsx, found };
    for statement in &program.body {
        reader.statement(statement);
    }
}

/// Local names of `export { name }` and `export default name`.
fn exported(program: &Program) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in &program.body {
        match statement {
            Statement::ExportNamedDeclaration(export) => {
                names.extend(export.specifiers.iter().map(|specifier| name_of(&specifier.local)));
            }
            Statement::ExportDefaultDeclaration(export) => {
                if let Some(Expression::Identifier(name)) = export.declaration.as_expression() {
                    names.insert(name.name.to_string());
                }
            }
            _ => {}
        }
    }
    names
}

fn name_of(name: &ModuleExportName) -> String {
    name.name().to_string()
}

/// Places of JSX, and modules that are loaded by calls.
#[derive(Default)]
struct Inside {
    jsx: Vec<u32>,
    loaded: Vec<(String, usize)>,
}

impl<'a> Visit<'a> for Inside {
    fn visit_jsx_element(&mut self, element: &JSXElement<'a>) {
        self.jsx.push(element.span.start);
        walk::walk_jsx_element(self, element);
    }

    fn visit_jsx_fragment(&mut self, fragment: &JSXFragment<'a>) {
        self.jsx.push(fragment.span.start);
        walk::walk_jsx_fragment(self, fragment);
    }

    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        if let (Expression::Identifier(callee), [Argument::StringLiteral(specifier)]) = (&call.callee, call.arguments.as_slice())
            && callee.name == "require"
        {
            self.loaded.push((specifier.value.to_string(), call.span.start as usize));
        }
        walk::walk_call_expression(self, call);
    }

    fn visit_import_expression(&mut self, import: &ImportExpression<'a>) {
        if let Expression::StringLiteral(specifier) = &import.source {
            self.loaded.push((specifier.value.to_string(), import.span.start as usize));
        }
        walk::walk_import_expression(self, import);
    }
}

struct Reader<'r, 't> {
    exported: BTreeSet<String>,
    /// Sorted.
    jsx: Vec<u32>,
    found: &'r mut Found<'t>,
}

impl Reader<'_, '_> {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::ImportDeclaration(import) => self.import(&import.source.value, import.span),
            Statement::ExportAllDeclaration(export) => self.import(&export.source.value, export.span),
            Statement::ExportFromDeclaration(export) => self.import(&export.source.value, export.span),
            Statement::ExportDeclaration(export) => self.declaration(&export.declaration, true, export.span),
            Statement::ExportDefaultDeclaration(export) => self.default(&export.declaration, export.span),
            other => {
                if let Some(declaration) = other.as_declaration() {
                    self.declaration(declaration, false, declaration.span());
                }
            }
        }
    }

    fn import(&mut self, specifier: &str, span: Span) {
        self.found.import(specifier, span.start as usize);
    }

    /// Notes a symbol. `span` is that of the statement.
    fn add(&mut self, kind: SymbolKind, name: &str, span: Span, is_exported: bool) {
        let is_exported = is_exported || self.exported.contains(name);
        self.found.add(kind, name, bytes(span), is_exported);
    }

    fn declaration(&mut self, declaration: &Declaration, is_exported: bool, span: Span) {
        match declaration {
            Declaration::FunctionDeclaration(function) => self.function(function, is_exported, span),
            Declaration::ClassDeclaration(class) => self.class(class, class_name(class, DEFAULT), is_exported, span),
            Declaration::VariableDeclaration(variables) => {
                let is_one = variables.declarations.len() == 1;
                for declared in &variables.declarations {
                    self.variable(declared, is_exported, if is_one { span } else { declared.span });
                }
            }
            Declaration::TSTypeAliasDeclaration(alias) => self.add(SymbolKind::Type, &alias.id.name, span, is_exported),
            Declaration::TSInterfaceDeclaration(interface) => self.add(SymbolKind::Type, &interface.id.name, span, is_exported),
            Declaration::TSEnumDeclaration(declared) => self.add(SymbolKind::Class, &declared.id.name, span, is_exported),
            Declaration::TSNamespaceDeclaration(declared) => self.add(SymbolKind::Type, &declared.id.name, span, is_exported),
            _ => {}
        }
    }

    fn default(&mut self, declaration: &ExportDefaultDeclarationKind, span: Span) {
        match declaration {
            ExportDefaultDeclarationKind::FunctionDeclaration(function) => self.function(function, true, span),
            ExportDefaultDeclarationKind::ClassDeclaration(class) => self.class(class, class_name(class, DEFAULT), true, span),
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(interface) => self.add(SymbolKind::Type, &interface.id.name, span, true),
            other => match other.as_expression() {
                // Its declaration is exported.
                Some(Expression::Identifier(_)) | None => {}
                Some(value) => self.value(DEFAULT, value, true, span),
            },
        }
    }

    fn function(&mut self, function: &Function, is_exported: bool, span: Span) {
        let name = function.id.as_ref().map_or(DEFAULT, |id| id.name.as_str());
        let kind = if self.is_component(name, span) { SymbolKind::Component } else { SymbolKind::Function };
        self.add(kind, name, span, is_exported);
    }

    fn class(&mut self, class: &Class, name: &str, is_exported: bool, span: Span) {
        let kind = if self.is_component(name, span) { SymbolKind::Component } else { SymbolKind::Class };
        self.add(kind, name, span, is_exported);
        for element in &class.body.body {
            let (key, span) = match element {
                ClassElement::MethodDefinition(method) => (&method.key, method.span),
                ClassElement::PropertyDefinition(property) if property.value.as_ref().is_some_and(is_function) => {
                    (&property.key, property.span)
                }
                _ => continue,
            };
            if let Some(key) = key.static_name() {
                self.found.add(SymbolKind::Method, &format!("{name}.{key}"), bytes(span), false);
            }
        }
    }

    fn variable(&mut self, declared: &VariableDeclarator, is_exported: bool, span: Span) {
        let BindingPattern::BindingIdentifier(id) = &declared.id else { return };
        match &declared.init {
            Some(value) => self.value(&id.name, value, is_exported, span),
            None => self.add(SymbolKind::Variable, &id.name, span, is_exported),
        }
    }

    /// A name for a value: a function, a class, or something else.
    fn value(&mut self, name: &str, value: &Expression, is_exported: bool, span: Span) {
        match value.get_inner_expression() {
            Expression::ClassExpression(class) => self.class(class, name, is_exported, span),
            value if is_function(value) && !self.is_component(name, span) => self.add(SymbolKind::Function, name, span, is_exported),
            // Such as `memo(() => <p />)`.
            Expression::CallExpression(_) | Expression::ArrowFunctionExpression(_) | Expression::FunctionExpression(_)
                if self.is_component(name, span) =>
            {
                self.add(SymbolKind::Component, name, span, is_exported);
            }
            _ => self.add(SymbolKind::Variable, name, span, is_exported),
        }
    }

    /// Whether a function, a class or a call is a component by its name and its JSX.
    fn is_component(&self, name: &str, span: Span) -> bool {
        let first = self.jsx.partition_point(|start| *start < span.start);
        let has_jsx = self.jsx.get(first).is_some_and(|start| *start < span.end);
        has_jsx && (name == DEFAULT || name.starts_with(|c: char| c.is_ascii_uppercase()))
    }
}

fn class_name<'c>(class: &'c Class, other: &'c str) -> &'c str {
    class.id.as_ref().map_or(other, |id| id.name.as_str())
}

fn is_function(value: &Expression) -> bool {
    matches!(value.get_inner_expression(), Expression::ArrowFunctionExpression(_) | Expression::FunctionExpression(_))
}

fn bytes(span: Span) -> Range<usize> {
    span.start as usize..span.end as usize
}

/// Reads the keys of JSON on the two outer levels. JSON is an expression of JavaScript.
pub(crate) fn read_json(text: &str, found: &mut Found) {
    let allocator = Allocator::default();
    let Ok(Expression::ObjectExpression(object)) = Parser::new(&allocator, text, SourceType::cjs()).parse_expression() else { return };
    keys(&object, "", found);
}

fn keys(object: &ObjectExpression, outer: &str, found: &mut Found) {
    for property in &object.properties {
        let ObjectPropertyKind::ObjectProperty(property) = property else { continue };
        let Some(key) = property.key.static_name() else { continue };
        found.add(SymbolKind::JsonKey, &format!("{outer}{key}"), bytes(property.span), false);
        if let (Expression::ObjectExpression(inner), "") = (&property.value, outer) {
            keys(inner, &format!("{key}."), found);
        }
    }
}
