//! What a script defines for all others that is no module: names of its outermost level, and properties of the window.

use std::collections::BTreeSet;

use oxc::{
    allocator::Allocator,
    ast::ast::{
        Argument, AssignmentExpression, AssignmentTarget, BindingPattern, CallExpression, Expression, FormalParameters, ObjectPropertyKind,
        Program, VariableDeclarator,
    },
    ast_visit::{Visit, walk},
    diagnostics::Severity,
    parser::Parser,
    semantic::SemanticBuilder,
    span::SourceType,
};

/// Names of the global object. Libraries ask for `global`, too.
const WINDOW: [&str; 4] = ["window", "globalThis", "self", "global"];

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Definitions {
    pub(crate) names: BTreeSet<String>,
    /// It may define other names, too: it cannot be read, loads scripts, or computes names.
    pub(crate) is_open: bool,
}

impl Definitions {
    /// What a script defines whose text is not known.
    pub(crate) fn unknown() -> Self {
        Self { is_open: true, ..Self::default() }
    }
}

/// Reads a script that is not too deep for the parser.
pub(crate) fn read(text: &str) -> Definitions {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::unambiguous()).parse();
    if parsed.panicked || parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Definitions::unknown();
    }
    let mut assigned = AssignmentVisitor::default();
    assigned.visit_program(&parsed.program);
    assigned.found.names.extend(outermost(&parsed.program));
    assigned.found
}

/// Names that are declared on the outermost level, and those that are assigned without a declaration.
fn outermost(program: &Program) -> Vec<String> {
    let scoping = SemanticBuilder::new().build(program).semantic.into_scoping();
    let declared = scoping.iter_bindings_in(scoping.root_scope_id()).map(|symbol| scoping.symbol_name(symbol).to_owned());
    let mut names: Vec<_> = declared.collect();
    for (name, references) in scoping.root_unresolved_references() {
        if references.iter().any(|id| scoping.get_reference(*id).is_write()) {
            names.push(name.as_str().to_owned());
        }
    }
    names
}

/// Properties of the global object that a script sets.
#[derive(Default)]
struct AssignmentVisitor {
    found: Definitions,
    /// Variables and parameters that hold the global object.
    aliases: BTreeSet<String>,
}

impl AssignmentVisitor {
    /// Whether an expression may be the global object.
    fn is_global(&self, expression: &Expression) -> bool {
        match expression {
            Expression::ThisExpression(_) => true,
            Expression::Identifier(name) => WINDOW.contains(&name.name.as_str()) || self.aliases.contains(name.name.as_str()),
            Expression::ParenthesizedExpression(inner) => self.is_global(&inner.expression),
            Expression::AssignmentExpression(assignment) => self.is_global(&assignment.right),
            Expression::LogicalExpression(either) => self.is_global(&either.left) || self.is_global(&either.right),
            Expression::ConditionalExpression(either) => self.is_global(&either.consequent) || self.is_global(&either.alternate),
            _ => false,
        }
    }

    /// Whether properties of the object are names for all. `this` can be any object.
    fn is_target(&self, object: &Expression) -> bool {
        !matches!(object, Expression::ThisExpression(_)) && self.is_global(object)
    }

    fn name(&mut self, name: &str) {
        self.found.names.insert(name.to_owned());
    }

    fn alias(&mut self, pattern: &BindingPattern) {
        self.aliases.extend(pattern.get_identifier_name().map(|name| name.to_string()));
    }

    /// A function that is called at once with the global object, and others that it gets: `(function (root, factory) { … })(this, …)`.
    fn wrapper(&mut self, parameters: &FormalParameters, arguments: &[Argument]) {
        let values: Vec<_> = arguments.iter().map(Argument::as_expression).collect();
        if !values.iter().flatten().any(|value| self.is_global(value)) {
            return;
        }
        for (parameter, value) in parameters.items.iter().zip(&values) {
            if value.is_some_and(|value| self.is_global(value)) {
                self.alias(&parameter.pattern);
            }
        }
        for parameter in values.into_iter().flatten().filter_map(parameters_of).flat_map(|parameters| &parameters.items) {
            self.alias(&parameter.pattern);
        }
    }

    /// `Object.assign(window, { … })` and `Object.defineProperty(window, "name", …)`.
    fn defined(&mut self, method: &str, arguments: &[Argument]) {
        let [target, rest @ ..] = arguments else { return };
        if !target.as_expression().is_some_and(|target| self.is_target(target)) {
            return;
        }
        match (method, rest) {
            ("assign", sources) => {
                for source in sources {
                    match source {
                        Argument::ObjectExpression(object) => self.properties(&object.properties),
                        _ => self.found.is_open = true,
                    }
                }
            }
            ("defineProperty", [Argument::StringLiteral(name), ..]) => self.name(&name.value),
            ("defineProperty" | "defineProperties", _) => self.found.is_open = true,
            _ => {}
        }
    }

    fn properties(&mut self, properties: &[ObjectPropertyKind]) {
        for property in properties {
            match property {
                ObjectPropertyKind::ObjectProperty(property) => match property.key.static_name() {
                    Some(name) => self.name(&name),
                    None => self.found.is_open = true,
                },
                ObjectPropertyKind::SpreadProperty(_) => self.found.is_open = true,
            }
        }
    }
}

impl<'a> Visit<'a> for AssignmentVisitor {
    fn visit_variable_declarator(&mut self, declared: &VariableDeclarator<'a>) {
        if declared.init.as_ref().is_some_and(|value| self.is_global(value)) {
            self.alias(&declared.id);
        }
        walk::walk_variable_declarator(self, declared);
    }

    fn visit_assignment_expression(&mut self, assignment: &AssignmentExpression<'a>) {
        match &assignment.left {
            AssignmentTarget::AssignmentTargetIdentifier(variable) if self.is_global(&assignment.right) => {
                self.aliases.insert(variable.name.to_string());
            }
            AssignmentTarget::StaticMemberExpression(member) if self.is_target(&member.object) => self.name(&member.property.name),
            AssignmentTarget::ComputedMemberExpression(member) if self.is_target(&member.object) => match &member.expression {
                Expression::StringLiteral(name) => self.name(&name.value),
                _ => self.found.is_open = true,
            },
            _ => {}
        }
        walk::walk_assignment_expression(self, assignment);
    }

    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        if let Some(parameters) = parameters_of(&call.callee) {
            self.wrapper(parameters, &call.arguments);
        }
        if let Expression::StaticMemberExpression(member) = &call.callee {
            match (member.property.name.as_str(), call.arguments.first()) {
                ("createElement", Some(Argument::StringLiteral(tag))) => self.found.is_open |= tag.value.eq_ignore_ascii_case("script"),
                // The tag is a variable in snippets that load a script.
                ("createElement", Some(Argument::Identifier(_))) => self.found.is_open = true,
                ("write" | "writeln", Some(_)) if member.object.is_specific_id("document") => self.found.is_open = true,
                (method, _) if member.object.is_specific_id("Object") => self.defined(method, &call.arguments),
                _ => {}
            }
        }
        walk::walk_call_expression(self, call);
    }
}

/// The parameters of a function expression.
fn parameters_of<'e, 'a>(expression: &'e Expression<'a>) -> Option<&'e FormalParameters<'a>> {
    match expression.without_parentheses() {
        Expression::FunctionExpression(function) => Some(&function.params),
        Expression::ArrowFunctionExpression(function) => Some(&function.params),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scripts() {
        for (text, names) in [
            ("var a = 1, { b } = {}; let c; const d = 1; function e() { var no } class f {} { var g; let no }", "a b c d e f g"),
            ("h = 1; function x() { i = 2; let no; no = 3 }", "h i x"),
            ("window.a = 1; globalThis.b = 2; self['c'] = 3; other.no = 4; this.no = 5", "a b c"),
            ("window.a = window.a || function () { (a.q = a.q || []).push(arguments) }", "a"),
            ("(function () { const root = window; root.a = 1 })()", "a"),
            ("(function (root, factory) { root.a = factory() })(this, function () {})", "a"),
            (
                "(function (g, f) { (g = typeof globalThis !== 'undefined' ? globalThis : g || self, f(g.A = {})) })(this, (function () {}))",
                "A",
            ),
            (
                "!function (e, t) { t(e) }(typeof window != 'undefined' ? window : this, function (w, no) { w.jQuery = w.$ = 1 })",
                "$ jQuery",
            ),
            ("Object.assign(window, { a, b: 1 }); Object.defineProperty(self, 'c', {})", "a b c"),
            ("try { document.documentElement.dataset.theme = localStorage.theme } catch {}", ""),
            ("document.createElement('p'); history.write", ""),
        ] {
            let expected = names.split_whitespace().map(str::to_owned).collect();
            assert_eq!(read(text), Definitions { names: expected, is_open: false }, "{text}");
        }
    }

    #[test]
    fn scripts_that_may_define_more() {
        for text in [
            "const = 1",
            "window[name] = 1",
            "Object.assign(window, other)",
            "Object.defineProperty(window, name, {})",
            "const s = document.createElement('script'); s.src = 'https://x.example/a.js'",
            "(function (w, d, s) { const j = d.createElement(s) })(window, document, 'script')",
            "document.write('<script src=//x.example><\\/script>')",
        ] {
            assert!(read(text).is_open, "{text}");
        }
    }
}
