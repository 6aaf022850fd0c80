//! What a module exports: values, which its code has, and types, which it has not.

use compiler_client::message::Facts;
use oxc::{
    ast::ast::{Declaration, ExportDefaultDeclarationKind, ExportSpecifier, Program, Statement},
    syntax::module_record::{ExportExportName, ModuleRecord},
};

const DEFAULT: &str = "default";

/// Notes all exports as types, until it is known which are values.
pub(super) fn note_types(record: &ModuleRecord, facts: &mut Facts) {
    facts.is_open = !record.has_module_syntax;
    let entries = record.local_export_entries.iter().chain(&record.indirect_export_entries).chain(&record.star_export_entries);
    facts.types.extend(entries.filter_map(|entry| match &entry.export_name {
        ExportExportName::Name(name) => Some(name.name.to_string()),
        ExportExportName::Default(_) => Some(DEFAULT.to_owned()),
        ExportExportName::Null => None,
    }));
    facts.types.sort_unstable();
    facts.types.dedup();
}

/// Notes the exports of a program without types.
pub(super) fn note_values(program: &Program, facts: &mut Facts) {
    for statement in &program.body {
        match statement {
            Statement::ExportDeclaration(export) => declared(&export.declaration, &mut facts.exports),
            Statement::ExportNamedDeclaration(export) => listed(&export.specifiers, &mut facts.exports),
            Statement::ExportFromDeclaration(export) => listed(&export.specifiers, &mut facts.exports),
            Statement::ExportAllDeclaration(export) => facts.exports.extend(export.exported.as_ref().map(|name| name.name().to_string())),
            Statement::ExportDefaultDeclaration(export)
                if !matches!(export.declaration, ExportDefaultDeclarationKind::TSInterfaceDeclaration(_)) =>
            {
                facts.exports.push(DEFAULT.to_owned());
            }
            _ => {}
        }
    }
    facts.exports.sort_unstable();
    facts.exports.dedup();
    let exports = &facts.exports;
    facts.types.retain(|name| exports.binary_search(name).is_err());
}

/// The names of `export { … }`.
fn listed(specifiers: &[ExportSpecifier], names: &mut Vec<String>) {
    names.extend(specifiers.iter().map(|specifier| specifier.exported.name().to_string()));
}

/// The names of an exported declaration. Enums and namespaces are variables after types are removed.
fn declared(declaration: &Declaration, names: &mut Vec<String>) {
    match declaration {
        Declaration::VariableDeclaration(variables) => {
            for variable in &variables.declarations {
                names.extend(variable.id.get_binding_identifiers().into_iter().map(|id| id.name.to_string()));
            }
        }
        Declaration::FunctionDeclaration(function) => names.extend(function.id.as_ref().map(|id| id.name.to_string())),
        Declaration::ClassDeclaration(class) => names.extend(class.id.as_ref().map(|id| id.name.to_string())),
        _ => {}
    }
}
