//! The imports of a transformed script: relative specifiers become absolute, and what only a bundler knows becomes an import.
//! `variable`: addresses with variables.

mod variable;

use std::collections::BTreeMap;

use compiler_client::message::{
    Facts, Place,
    facts::{Glob, Import, Kind, Member, Named},
    finding::code,
    packages::preact_for,
};
use oxc::{
    allocator::{Allocator, ArenaVec},
    ast::{
        ast::{
            Argument, ExportAllDeclaration, ExportFromDeclaration, Expression, IdentifierReference, ImportDeclaration,
            ImportDeclarationSpecifier, ImportExpression, NewExpression, ObjectPropertyKind, Program, PropertyKey, PropertyKind,
            StaticMemberExpression, StringLiteral,
        },
        builder::AstBuilder,
    },
    ast_visit::{VisitMut, walk_mut},
    span::{SPAN, Span},
    str::Str,
};

use super::{
    Source, glob,
    hot::{self, Uses},
};
use crate::{
    environment,
    module::{css, data::quoted, worker},
    text::Text,
    tree::path,
};

/// Changes the program, notes its imports, and returns the import declarations to append. They are last, so that no line moves.
pub(super) fn rewrite<'a>(
    (source, hot): (&Source, &hot::Names),
    lines: &Text,
    allocator: &'a Allocator,
    program: &mut Program<'a>,
    facts: &mut Facts,
) -> String {
    let mut rewriter = Rewriter {
        source,
        lines,
        allocator,
        facts,
        hot,
        uses: Uses::default(),
        builder: AstBuilder::new(allocator),
        additions: BTreeMap::new(),
        styles: BTreeMap::new(),
    };
    rewriter.visit_program(program);
    if let Some(tool) = source.options.refresh.filter(|_| rewriter.uses.has_refresh) {
        rewriter.facts.imports.push(Import { specifier: tool.to_owned(), ..Import::default() });
    }
    let additions = rewriter.additions.iter();
    let imports: String =
        additions.map(|(specifier, name)| format!("import {name} from {};\n", quoted(&rewriter.shown(specifier, name)))).collect();
    imports + &hot::functions(source, hot, &rewriter.uses)
}

struct Rewriter<'a, 'b> {
    source: &'b Source<'b>,
    lines: &'b Text<'b>,
    allocator: &'a Allocator,
    builder: AstBuilder<'a>,
    facts: &'b mut Facts,
    /// New names, which the source does not contain.
    hot: &'b hot::Names,
    uses: Uses,
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
        let stand_in = Some(specifier.as_str()).filter(|_| self.source.options.has_preact_for_react).and_then(preact_for);
        let specifier = stand_in.unwrap_or(specifier);
        let mark = self.mark(&self.facts.imports.len().to_string());
        let shown = if mark.is_empty() { &specifier } else { &mark };
        if *shown != written {
            literal.value = Str::from(self.allocator.alloc_str(shown));
            literal.raw = None;
        }
        let place = self.place(literal.span);
        self.facts.imports.push(Import { written, specifier: specifier.clone(), place, names, is_dynamic, mark, ..Import::default() });
        specifier
    }

    /// The mark of an import, in the script of a worker.
    fn mark(&self, name: &str) -> String {
        if self.source.kind == Kind::Worker && !self.source.options.is_bundled {
            format!("{}-{name}", self.hot.prefix)
        } else {
            String::new()
        }
    }

    /// What an appended import names.
    fn shown(&self, specifier: &str, name: &str) -> String {
        Some(self.mark(name)).filter(|mark| !mark.is_empty()).unwrap_or_else(|| specifier.to_owned())
    }

    /// The name of an appended import.
    fn name(&mut self, specifier: &str) -> String {
        let next = format!("{}{}", self.hot.prefix, self.additions.len());
        self.additions.entry(specifier.to_owned()).or_insert(next).clone()
    }

    fn identifier(&self, name: &str) -> Expression<'a> {
        Expression::new_identifier(SPAN, self.allocator.alloc_str(name) as &str, &self.builder)
    }

    /// Appends an import, and notes it.
    fn added(&mut self, import: Import) -> Expression<'a> {
        let name = self.name(&import.specifier);
        self.facts.imports.push(Import { mark: self.mark(&name), ..import });
        self.identifier(&name)
    }

    /// The module of a glob, whose import is appended.
    fn files_of(&mut self, glob: Glob) -> Expression<'a> {
        let is_new = !self.additions.contains_key(&glob.specifier);
        let name = self.name(&glob.specifier);
        if is_new {
            let mark = self.mark(&name);
            self.facts.globs.push(Glob { mark, ..glob });
        }
        self.identifier(&name)
    }

    /// The call of a new function.
    fn call(&self, name: &str, argument: Option<&str>) -> Expression<'a> {
        let argument = argument.map(|text| {
            let text = Str::from(self.allocator.alloc_str(text));
            Argument::from(Expression::new_string_literal(SPAN, text, None, &self.builder))
        });
        let arguments = ArenaVec::from_iter_in(argument, &self.allocator);
        Expression::new_call_expression(SPAN, self.identifier(name), None, arguments, false, &self.builder)
    }

    /// `import()` of a file gives its newest instance.
    fn replace_import(&mut self, expression: &mut Expression<'a>) {
        if let Expression::ImportExpression(import) = expression
            && let Expression::StringLiteral(literal) = &import.source
            && !path::is_foreign(&literal.value)
            && super::is_hot(self.source)
        {
            self.uses.has_import = true;
            *expression = self.call(&self.hot.import, Some(&literal.value));
        }
    }

    fn refuse(&mut self, span: Span, message: &str) {
        let found = self.lines.finding(code::UNSUPPORTED, self.source.path, &self.lines.place(span.start as usize), message);
        self.facts.findings.push(found);
    }

    /// What replaces an expression that only a bundler knows.
    fn replacement(&mut self, expression: &mut Expression<'a>) -> Option<Expression<'a>> {
        match expression {
            Expression::StaticMemberExpression(member)
                if is_meta(&member.object) && member.property.name == "env" && !self.source.options.is_bundled =>
            {
                Some(self.added(Import { specifier: environment::SPECIFIER.to_owned(), ..Import::default() }))
            }
            Expression::StaticMemberExpression(member)
                if is_meta(&member.object) && member.property.name == "hot" && super::is_hot(self.source) =>
            {
                self.uses.has_context = true;
                Some(self.call(&self.hot.context, None))
            }
            Expression::StaticMemberExpression(member) if is_node_env(member) => {
                let mode = if self.source.options.is_production { "production" } else { "development" };
                Some(Expression::new_string_literal(SPAN, mode, None, &self.builder))
            }
            Expression::CallExpression(call) if is_glob(&call.callee) => match glob::read(self.source.path, call) {
                Ok(glob) => Some(self.files_of(glob)),
                Err(message) => {
                    self.refuse(call.span, &message);
                    None
                }
            },
            Expression::NewExpression(new) if is_worker(&new.callee) => {
                if let Some(Argument::NewExpression(url)) = new.arguments.first_mut()
                    && is_url(url)
                    && self.address(&mut url.arguments, worker::ADDRESS)
                {
                    self.make_module(&mut new.arguments);
                }
                None
            }
            Expression::NewExpression(new) if is_url(new) => {
                self.address(&mut new.arguments, "?url");
                None
            }
            _ => None,
        }
    }

    /// Replaces the path of a file by an import of its address, in the arguments of `new URL('./x', import.meta.url)`.
    fn address(&mut self, arguments: &mut [Argument<'a>], query: &'static str) -> bool {
        if let Some(first) = arguments.first_mut().and_then(Argument::as_expression_mut) {
            self.make_literal(first);
        }
        let [Argument::StringLiteral(target), _] = arguments else { return self.variable_address(arguments, query) };
        if path::is_foreign(&target.value) {
            return false;
        }
        let written = target.value.to_string();
        let is_path = path::is_relative(&written) || written.starts_with('/');
        let specifier = path::stable(self.source.path, &if is_path { written.clone() } else { format!("./{written}") });
        let specifier = format!("{}{query}", path::split_query(&specifier).0);
        let place = self.place(target.span);
        let added = self.added(Import { written, specifier, place, is_reference: true, ..Import::default() });
        arguments[0] = Argument::from(added);
        true
    }

    /// A compiled script is a module: the options of its worker say so.
    fn make_module(&self, arguments: &mut ArenaVec<'a, Argument<'a>>) {
        let kind = || {
            let key = PropertyKey::new_static_identifier(SPAN, "type", &self.builder);
            let value = Expression::new_string_literal(SPAN, "module", None, &self.builder);
            ObjectPropertyKind::new_object_property(SPAN, PropertyKind::Init, key, value, false, false, false, &self.builder)
        };
        let is_type = |property: &ObjectPropertyKind| match property {
            ObjectPropertyKind::ObjectProperty(property) => property.key.static_name().is_some_and(|name| name == "type"),
            ObjectPropertyKind::SpreadProperty(_) => true,
        };
        match arguments.get_mut(1) {
            None => {
                let properties = ArenaVec::from_value_in(kind(), &self.allocator);
                arguments.push(Argument::from(Expression::new_object_expression(SPAN, properties, &self.builder)));
            }
            Some(Argument::ObjectExpression(options)) if !options.properties.iter().any(is_type) => options.properties.push(kind()),
            Some(_) => {}
        }
    }
}

impl<'a> VisitMut<'a> for Rewriter<'a, '_> {
    fn visit_expression(&mut self, expression: &mut Expression<'a>) {
        match self.replacement(expression) {
            Some(new) => *expression = new,
            None => {
                walk_mut::walk_expression(self, expression);
                self.replace_import(expression);
                self.replace_variable_import(expression);
            }
        }
    }

    fn visit_identifier_reference(&mut self, identifier: &mut IdentifierReference<'a>) {
        let name = identifier.name.as_str();
        self.uses.has_refresh |= super::is_hot(self.source) && (name == self.hot.register.as_str() || name == self.hot.sign.as_str());
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
        if let Some(local) = default.filter(|_| css::is_scoped(path::split_query(&specifier).0)) {
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
        self.make_literal(&mut import.source);
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

/// `new URL(…, import.meta.url)`.
fn is_url(new: &NewExpression) -> bool {
    let is_url = matches!(&new.callee, Expression::Identifier(name) if name.name == "URL");
    is_url && new.arguments.get(1).and_then(Argument::as_expression).is_some_and(is_meta_url)
}

/// `process.env.NODE_ENV`.
fn is_node_env(member: &StaticMemberExpression) -> bool {
    let Expression::StaticMemberExpression(environment) = &member.object else { return false };
    let is_process = matches!(&environment.object, Expression::Identifier(name) if name.name == "process");
    member.property.name == "NODE_ENV" && environment.property.name == "env" && is_process
}
