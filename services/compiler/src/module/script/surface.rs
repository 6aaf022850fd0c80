//! What a file of a package exports: the names of an ECMAScript module, or those that a CommonJS module visibly assigns.

use std::collections::{BTreeMap, BTreeSet};

use oxc::{
    allocator::Allocator,
    ast::ast::{
        Argument, AssignmentExpression, AssignmentTarget, CallExpression, Expression, ObjectExpression, ObjectProperty, ObjectPropertyKind,
        VariableDeclarator,
    },
    ast_visit::{Visit, walk},
    parser::Parser,
    span::SourceType,
    syntax::module_record::ExportExportName,
};

use crate::module::identifier::is_identifier;

/// More names of one file are not read.
const MAX_NAMES: usize = 20_000;
const MAX_GUESSED: usize = 5_000;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Surface {
    /// It has syntax of ECMAScript modules.
    pub(crate) is_module: bool,
    /// Identifiers, with `default` for modules alone.
    pub(crate) names: BTreeSet<String>,
    /// Specifiers whose names it exports, too.
    pub(crate) stars: BTreeSet<String>,
}

/// Reads a script. A text that is none exports nothing.
pub(crate) fn surface(text: &str) -> Surface {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::unambiguous().with_jsx(true)).parse();
    let record = &parsed.module_record;
    if !record.has_module_syntax {
        let mut found = Assignments::default();
        found.visit_program(&parsed.program);
        // Such as lodash: a function with members, exported by a variable. A name too many is undefined.
        if found.is_made || found.names.is_empty() && found.stars.is_empty() {
            found.names.append(&mut found.guessed);
        }
        let is_exported = |name: &String| is_identifier(name) && !["__esModule", "default"].contains(&name.as_str());
        let names = found.names.into_iter().filter(is_exported).collect();
        return Surface { is_module: false, names, stars: found.stars };
    }
    let entries = record.local_export_entries.iter().chain(&record.indirect_export_entries).chain(&record.star_export_entries);
    let mut surface = Surface { is_module: true, ..Surface::default() };
    for entry in entries.take(MAX_NAMES) {
        match (&entry.export_name, &entry.module_request) {
            (ExportExportName::Name(name), _) => drop(surface.names.insert(name.name.to_string())),
            (ExportExportName::Default(_), _) => drop(surface.names.insert("default".to_owned())),
            (ExportExportName::Null, Some(request)) => drop(surface.stars.insert(request.name.to_string())),
            (ExportExportName::Null, None) => {}
        }
    }
    surface
}

/// Assignments to `exports`, as TypeScript, Babel, esbuild and people write them.
#[derive(Default)]
struct Assignments {
    names: BTreeSet<String>,
    stars: BTreeSet<String>,
    /// Members of any object.
    guessed: BTreeSet<String>,
    /// See [`is_made`].
    is_made: bool,
    /// Variables that hold a module, with its specifier.
    required: BTreeMap<String, String>,
}

impl Assignments {
    fn guess(&mut self, name: &str) {
        if self.guessed.len() < MAX_GUESSED {
            self.guessed.insert(name.to_owned());
        }
    }

    fn name(&mut self, name: &str) {
        if self.names.len() < MAX_NAMES {
            self.names.insert(name.to_owned());
        }
    }

    fn object(&mut self, object: &ObjectExpression) {
        for property in &object.properties {
            match property {
                ObjectPropertyKind::ObjectProperty(property) => {
                    if let Some(name) = property.key.static_name() {
                        self.name(&name);
                    }
                }
                ObjectPropertyKind::SpreadProperty(spread) => self.stars.extend(self.module(&spread.argument)),
            }
        }
    }

    /// The specifier of the module that an expression is, also through a helper: `__importStar(require("x"))`.
    fn module(&self, expression: &Expression) -> Option<String> {
        match expression {
            Expression::Identifier(variable) => self.required.get(variable.name.as_str()).cloned(),
            Expression::CallExpression(call) if is_named(&call.callee, "require") => match call.arguments.first() {
                Some(Argument::StringLiteral(specifier)) => Some(specifier.value.to_string()),
                _ => None,
            },
            // What a function of the module returns has names like those in the module.
            Expression::CallExpression(call) if matches!(call.callee, Expression::CallExpression(_)) => self.module(&call.callee),
            Expression::CallExpression(call) => {
                call.arguments.first().and_then(Argument::as_expression).and_then(|inner| self.module(inner))
            }
            _ => None,
        }
    }
}

impl<'a> Visit<'a> for Assignments {
    fn visit_variable_declarator(&mut self, declared: &VariableDeclarator<'a>) {
        if let (Some(name), Some(value)) = (declared.id.get_identifier_name(), &declared.init)
            && let Some(specifier) = self.module(value)
        {
            self.required.insert(name.to_string(), specifier);
        }
        walk::walk_variable_declarator(self, declared);
    }

    fn visit_object_property(&mut self, property: &ObjectProperty<'a>) {
        if let Some(name) = property.key.static_name() {
            self.guess(&name);
        }
        walk::walk_object_property(self, property);
    }

    fn visit_assignment_expression(&mut self, assignment: &AssignmentExpression<'a>) {
        match &assignment.left {
            AssignmentTarget::StaticMemberExpression(member) if is_exports(&member.object) => self.name(member.property.name.as_str()),
            AssignmentTarget::StaticMemberExpression(member) if member.property.name == "exports" && is_named(&member.object, "module") => {
                match &assignment.right {
                    Expression::ObjectExpression(object) => self.object(object),
                    other => {
                        if let Some(specifier) = self.module(other) {
                            self.is_made |= is_made(other);
                            self.stars.insert(specifier);
                        }
                    }
                }
            }
            AssignmentTarget::ComputedMemberExpression(member) if is_exports(&member.object) => {
                if let Expression::StringLiteral(name) = &member.expression {
                    self.name(name.value.as_str());
                }
            }
            AssignmentTarget::StaticMemberExpression(member) => self.guess(member.property.name.as_str()),
            _ => {}
        }
        walk::walk_assignment_expression(self, assignment);
    }

    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        let first = call.arguments.first().and_then(Argument::as_expression);
        match &call.callee {
            // `Object.defineProperty(exports, "name", …)`.
            Expression::StaticMemberExpression(member) if member.property.name == "defineProperty" => {
                if let (Some(target), Some(Argument::StringLiteral(name))) = (first, call.arguments.get(1))
                    && is_exports(target)
                {
                    self.name(name.value.as_str());
                }
            }
            // `Object.keys(other).forEach(…)` copies the names of another module.
            Expression::StaticMemberExpression(member) if member.property.name == "forEach" => {
                if let Expression::CallExpression(keys) = &member.object
                    && matches!(&keys.callee, Expression::StaticMemberExpression(member) if member.property.name == "keys")
                    && let Some(of) = keys.arguments.first().and_then(Argument::as_expression)
                {
                    self.stars.extend(self.module(of));
                }
            }
            // Helpers of TypeScript, also as members of `tslib`, of esbuild, and of SWC, also as `_` of a module.
            callee if ["__exportStar", "__export", "__reExport", "_export_star"].iter().any(|name| is_called(callee, name)) => {
                let modules: Vec<_> = call.arguments.iter().filter_map(Argument::as_expression).filter_map(|of| self.module(of)).collect();
                self.stars.extend(modules);
            }
            _ => {}
        }
        walk::walk_call_expression(self, call);
    }
}

fn is_named(expression: &Expression, name: &str) -> bool {
    matches!(expression, Expression::Identifier(variable) if variable.name == name)
}

/// Whether the value is what a factory makes of other modules, as in bundles of webpack: `factory(require("react"))`. The helpers of
/// compilers begin with `_`, and return the module itself.
fn is_made(value: &Expression) -> bool {
    let Expression::CallExpression(call) = value else { return false };
    matches!(&call.callee, Expression::Identifier(callee) if callee.name != "require" && !callee.name.as_str().starts_with('_'))
}

fn is_called(callee: &Expression, name: &str) -> bool {
    match callee {
        Expression::StaticMemberExpression(member) => {
            member.property.name == name || member.property.name == "_" && is_named(&member.object, name)
        }
        // `(0, tslib.__exportStar)(…)`.
        Expression::ParenthesizedExpression(inner) => is_called(&inner.expression, name),
        Expression::SequenceExpression(sequence) => sequence.expressions.last().is_some_and(|last| is_called(last, name)),
        other => is_named(other, name),
    }
}

/// `exports` or `module.exports`.
fn is_exports(expression: &Expression) -> bool {
    match expression {
        Expression::StaticMemberExpression(member) => member.property.name == "exports" && is_named(&member.object, "module"),
        other => is_named(other, "exports"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (bool, Vec<String>, Vec<String>) {
        let Surface { is_module, names, stars } = surface(text);
        (is_module, names.into_iter().collect(), stars.into_iter().collect())
    }

    #[test]
    fn names_of_modules() {
        let text = "export const a = 1; export { b as c } from 'x'; export default 1; export * from 'y'; export * as z from 'z'";
        assert_eq!(of(text), (true, ["a", "c", "default", "z"].map(str::to_owned).to_vec(), vec!["y".to_owned()]));
    }

    #[test]
    fn names_that_commonjs_assigns() {
        for (text, names, stars) in [
            ("exports.a = exports.b = 1; exports.__esModule = true; exports.default = 1", "a b", ""),
            ("module.exports.a = 1; exports['b'] = 2; exports['not a name'] = 3", "a b", ""),
            ("Object.defineProperty(exports, 'a', { get() {} })", "a", ""),
            ("module.exports = { a, b: 1, ...require('./x') }", "a b", "./x"),
            (
                "if (process.env.NODE_ENV === 'production') { module.exports = require('./p') } else { module.exports = require('./d') }",
                "",
                "./d ./p",
            ),
            ("0 && (module.exports = { a })", "a", ""),
            ("tslib_1.__exportStar(require('./x'), exports); (0, t.__exportStar)(require('./y'), exports)", "", "./x ./y"),
            ("var _x = _interop(require('./x')); Object.keys(_x).forEach(function (key) { exports[key] = _x[key] })", "", "./x"),
            ("module.exports = require('./make')(1)", "", "./make"),
            ("!function (t) { module.exports = t(require('react')) }(function (r) { return { A: 1 } })", "A", "react"),
            ("module.exports = __toESM(require('./x')); ({ a: 1 })", "", "./x"),
            ("_export_star(require('./x'), exports); _export_star._(require('./y'), exports)", "", "./x ./y"),
            ("function f() {} f.a = 1; module.exports = f", "a", ""),
            ("var all = { a: 1, 'b': 2 }; !function (t) { t.c = 1; module.exports = all }()", "a b c", ""),
            ("not a script (", "", ""),
        ] {
            let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(of(text), (false, list(names), list(stars)), "{text}");
        }
    }
}
