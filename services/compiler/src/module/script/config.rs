//! Aliases in a configuration of Vite, which is read and never run: `resolve.alias` with a string, a path that ends in a string, or a
//! list of `find` and `replacement`.

use compiler_client::message::{Facts, facts::Alias};
use oxc::{
    ast::{
        AstKind,
        ast::{Argument, ArrayExpressionElement, Expression, ObjectExpression, ObjectPropertyKind},
    },
    semantic::Semantic,
};

use crate::tree::path;

pub(super) fn is_configuration(file: &str) -> bool {
    file.starts_with("vite.config.") && !file.contains('/')
}

pub(super) fn note_aliases(semantic: &Semantic, facts: &mut Facts) {
    for node in semantic.nodes().iter() {
        let AstKind::ObjectProperty(property) = node.kind() else { continue };
        if property.key.static_name().as_deref() != Some("alias") {
            continue;
        }
        match &property.value {
            Expression::ObjectExpression(object) => facts.aliases.extend(entries(object)),
            Expression::ArrayExpression(list) => {
                let objects = list.elements.iter().filter_map(|element| match element {
                    ArrayExpressionElement::ObjectExpression(object) => Some(object),
                    _ => None,
                });
                facts.aliases.extend(objects.filter_map(|object| {
                    let values: Vec<_> = entries(object).collect();
                    let value = |name| values.iter().find(|alias: &&Alias| alias.from == name).map(|alias| alias.to.clone());
                    Some(Alias { from: value("find")?.trim_start_matches('/').to_owned(), to: value("replacement")? })
                }));
            }
            _ => {}
        }
    }
}

/// The members of an object whose values end in a string.
fn entries(object: &ObjectExpression) -> impl Iterator<Item = Alias> {
    object.properties.iter().filter_map(|property| {
        let ObjectPropertyKind::ObjectProperty(property) = property else { return None };
        let from = property.key.static_name()?.into_owned();
        Some(Alias { from, to: path::join("", &last_string(&property.value, 0)?) })
    })
}

/// `'./src'`, `path.resolve(__dirname, './src')`, `fileURLToPath(new URL('./src', import.meta.url))`.
fn last_string(value: &Expression, depth: usize) -> Option<String> {
    let arguments = match value {
        Expression::StringLiteral(text) => return Some(text.value.to_string()),
        Expression::CallExpression(call) => &call.arguments,
        Expression::NewExpression(new) => &new.arguments,
        _ => return None,
    };
    let of = |argument: &Argument| argument.as_expression().and_then(|argument| last_string(argument, depth + 1));
    if depth > 5 { None } else { arguments.iter().rev().find_map(of) }
}
