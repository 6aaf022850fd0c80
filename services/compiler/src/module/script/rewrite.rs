//! The imports of a transformed script: relative specifiers become absolute, and what only a bundler knows becomes an import.

use std::collections::BTreeMap;

use compiler_client::message::{
    Facts, Place,
    facts::{Import, Member, Named},
    finding::code,
};
use oxc::{
    allocator::Allocator,
    ast::{
        ast::{
            Argument, ExportAllDeclaration, ExportFromDeclaration, Expression, ImportDeclaration, ImportDeclarationSpecifier,
            ImportExpression, Program, StaticMemberExpression, StringLiteral,
        },
        builder::AstBuilder,
    },
    ast_visit::{VisitMut, walk_mut},
    span::{SPAN, Span},
    str::Str,
};

use super::{Source, glob};
use crate::{environment, module::data::quoted, text::Text, tree::path};

/// Changes the program, notes its imports, and returns the import declarations to append. They are last, so that no line moves.
pub(super) fn rewrite<'a>(source: &Source, lines: &Text, allocator: &'a Allocator, program: &mut Program<'a>, facts: &mut Facts) -> String {
    let mut prefix = "backlot".to_owned();
    while program.source_text.contains(&prefix) {
        prefix.push('_');
    }
    let mut rewriter = Rewriter {
        source,
        lines,
        allocator,
        facts,
        prefix,
        builder: AstBuilder::new(allocator),
        additions: BTreeMap::new(),
        styles: BTreeMap::new(),
    };
    rewriter.visit_program(program);
    let additions = rewriter.additions.iter();
    additions.map(|(specifier, name)| format!("import {name} from {};\n", quoted(specifier))).collect()
}

struct Rewriter<'a, 'b> {
    source: &'b Source<'b>,
    lines: &'b Text<'b>,
    allocator: &'a Allocator,
    builder: AstBuilder<'a>,
    facts: &'b mut Facts,
    /// The start of new names, which the source does not contain.
    prefix: String,
    /// Specifiers of appended imports, with the names that they get.
    additions: BTreeMap<String, String>,
    /// Names of imported CSS modules, with their specifiers.
    styles: BTreeMap<String, String>,
}

impl<'a> Rewriter<'a, '_> {
    fn place(&self, span: Span) -> Option<Place> {
        Some(self.lines.place(if span == SPAN { 0 } else { span.start as usize }))
    }

    /// Makes a specifier absolute, and notes the import.
    fn import(&mut self, literal: &mut StringLiteral<'a>, names: Vec<Named>, is_dynamic: bool) -> String {
        let written = literal.value.to_string();
        if path::is_foreign(&written) {
            return written;
        }
        let specifier = path::stable(self.source.path, &written);
        if specifier != written {
            literal.value = Str::from(self.allocator.alloc_str(&specifier));
            literal.raw = None;
        }
        let place = self.place(literal.span);
        self.facts.imports.push(Import { written, specifier: specifier.clone(), place, names, is_dynamic, ..Import::default() });
        specifier
    }

    /// The name of an appended import.
    fn added(&mut self, specifier: &str) -> Expression<'a> {
        let next = format!("{}{}", self.prefix, self.additions.len());
        let name = self.additions.entry(specifier.to_owned()).or_insert(next);
        Expression::new_identifier(SPAN, self.allocator.alloc_str(name) as &str, &self.builder)
    }

    fn refuse(&mut self, span: Span, message: &str) {
        let found = self.lines.finding(code::UNSUPPORTED, self.source.path, &self.lines.place(span.start as usize), message);
        self.facts.findings.push(found);
    }

    /// What replaces an expression that only a bundler knows.
    fn replacement(&mut self, expression: &mut Expression<'a>) -> Option<Expression<'a>> {
        match expression {
            Expression::StaticMemberExpression(member) if is_meta(&member.object) && member.property.name == "env" => {
                self.facts.imports.push(Import { specifier: environment::SPECIFIER.to_owned(), ..Import::default() });
                Some(self.added(environment::SPECIFIER))
            }
            Expression::StaticMemberExpression(member) if is_node_env(member) => {
                let mode = if self.source.options.is_production { "production" } else { "development" };
                Some(Expression::new_string_literal(SPAN, mode, None, &self.builder))
            }
            Expression::CallExpression(call) if is_glob(&call.callee) => match glob::read(self.source.path, call) {
                Ok(glob) => {
                    let specifier = glob.specifier.clone();
                    self.facts.globs.push(glob);
                    Some(self.added(&specifier))
                }
                Err(message) => {
                    self.refuse(call.span, &message);
                    None
                }
            },
            Expression::NewExpression(new) if is_worker(&new.callee) && new.arguments.first().is_some_and(is_own_url) => {
                self.refuse(new.span, "a worker of the project's own files is not compiled yet");
                None
            }
            Expression::NewExpression(new) if matches!(&new.callee, Expression::Identifier(name) if name.name == "URL") => {
                let [Argument::StringLiteral(target), base] = new.arguments.as_mut_slice() else { return None };
                if !base.as_expression().is_some_and(is_meta_url) || path::is_foreign(&target.value) {
                    return None;
                }
                let written = target.value.to_string();
                let specifier = path::stable(
                    self.source.path,
                    &if path::is_relative(&written) || written.starts_with('/') { written.clone() } else { format!("./{written}") },
                );
                let (name, _) = path::split_query(&specifier);
                let specifier = format!("{name}?url");
                let place = self.place(target.span);
                let import = Import { written, specifier: specifier.clone(), place, is_reference: true, ..Import::default() };
                self.facts.imports.push(import);
                let added = self.added(&specifier);
                new.arguments[0] = Argument::from(added);
                None
            }
            _ => None,
        }
    }
}

impl<'a> VisitMut<'a> for Rewriter<'a, '_> {
    fn visit_expression(&mut self, expression: &mut Expression<'a>) {
        match self.replacement(expression) {
            Some(new) => *expression = new,
            None => walk_mut::walk_expression(self, expression),
        }
    }

    fn visit_import_declaration(&mut self, declaration: &mut ImportDeclaration<'a>) {
        let mut names = Vec::new();
        let mut default = None;
        for specifier in declaration.specifiers.iter().flatten() {
            let (name, span) = match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(one) => (one.imported.name().to_string(), one.span),
                ImportDeclarationSpecifier::ImportDefaultSpecifier(one) => {
                    default = Some(one.local.name.to_string());
                    ("default".to_owned(), one.span)
                }
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(_) => continue,
            };
            names.push(Named { name, place: self.place(span) });
        }
        let specifier = self.import(&mut declaration.source, names, false);
        if let Some(local) = default.filter(|_| path::split_query(&specifier).0.ends_with(".module.css")) {
            self.styles.insert(local, specifier);
        }
        // The browser would insist on the type; the import map answers with a script.
        declaration.with_clause = None;
    }

    fn visit_export_from_declaration(&mut self, declaration: &mut ExportFromDeclaration<'a>) {
        let named = |name: String, span| Named { name, place: self.place(span) };
        let names = declaration.specifiers.iter().map(|one| named(one.local.name().to_string(), one.span)).collect();
        self.import(&mut declaration.source, names, false);
        declaration.with_clause = None;
    }

    fn visit_export_all_declaration(&mut self, declaration: &mut ExportAllDeclaration<'a>) {
        let specifier = self.import(&mut declaration.source, Vec::new(), false);
        if declaration.exported.is_none() {
            self.facts.stars.push(specifier);
        }
        declaration.with_clause = None;
    }

    fn visit_import_expression(&mut self, import: &mut ImportExpression<'a>) {
        if let Expression::StringLiteral(literal) = &mut import.source {
            self.import(literal, Vec::new(), true);
            import.options = None;
        }
        walk_mut::walk_import_expression(self, import);
    }

    fn visit_static_member_expression(&mut self, member: &mut StaticMemberExpression<'a>) {
        if let Expression::Identifier(object) = &member.object
            && let Some(specifier) = self.styles.get(object.name.as_str())
        {
            let named = Named { name: member.property.name.to_string(), place: self.place(member.property.span) };
            self.facts.members.push(Member { specifier: specifier.clone(), named: Some(named) });
        } else if let Expression::Identifier(object) = &member.object
            && ["window", "globalThis", "self"].contains(&object.name.as_str())
        {
            self.facts.globals.push(member.property.name.to_string());
        }
        walk_mut::walk_static_member_expression(self, member);
    }

    fn visit_decorator(&mut self, decorator: &mut oxc::ast::ast::Decorator<'a>) {
        self.refuse(decorator.span, "decorators need \"experimentalDecorators\": true in tsconfig.json");
    }
}

fn is_meta(expression: &Expression) -> bool {
    matches!(expression, Expression::ImportMeta(_))
}

fn is_meta_url(expression: &Expression) -> bool {
    matches!(expression, Expression::StaticMemberExpression(member) if is_meta(&member.object) && member.property.name == "url")
}

fn is_glob(callee: &Expression) -> bool {
    matches!(callee, Expression::StaticMemberExpression(member) if is_meta(&member.object) && member.property.name == "glob")
}

fn is_worker(callee: &Expression) -> bool {
    matches!(callee, Expression::Identifier(name) if ["Worker", "SharedWorker"].contains(&name.name.as_str()))
}

/// `new URL('./x', import.meta.url)`.
fn is_own_url(argument: &Argument) -> bool {
    let Argument::NewExpression(new) = argument else { return false };
    let is_url = matches!(&new.callee, Expression::Identifier(name) if name.name == "URL");
    is_url && new.arguments.get(1).and_then(Argument::as_expression).is_some_and(is_meta_url)
}

/// `process.env.NODE_ENV`.
fn is_node_env(member: &StaticMemberExpression) -> bool {
    let Expression::StaticMemberExpression(environment) = &member.object else { return false };
    let is_process = matches!(&environment.object, Expression::Identifier(name) if name.name == "process");
    member.property.name == "NODE_ENV" && environment.property.name == "env" && is_process
}
