//! Names that a script uses and does not define.

use std::{collections::BTreeSet, sync::LazyLock};

use compiler_client::message::{Facts, facts::Named};
use javascript_globals::GLOBALS;
use oxc::{
    ast::{AstKind, ast::UnaryOperator},
    semantic::{AstNodes, NodeId, ReferenceId, Semantic},
    span::GetSpan,
};

use crate::text::Text;

/// The names of every environment that a script of a preview may have.
const ENVIRONMENTS: [&str; 5] = ["builtin", "es2026", "browser", "worker", "serviceworker"];
/// More names than this are not listed.
const MAX_NAMES: usize = 50;

static KNOWN: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let known = ENVIRONMENTS.iter().filter_map(|environment| GLOBALS.get(environment));
    known.flat_map(|names| names.keys().copied()).chain(["arguments", "undefined"]).collect()
});

/// The names of servers, of test runners and of extensions of browsers, for files that no page loads.
pub(crate) fn is_of_tools(name: &str) -> bool {
    let is_global = ["Bun", "Deno"].contains(&name);
    is_global
        || ["node", "nodeBuiltin", "commonjs", "jest", "vitest", "mocha", "jasmine", "webextensions"]
            .iter()
            .filter_map(|environment| GLOBALS.get(environment))
            .any(|names| names.contains_key(name))
}

pub(super) fn note_undefined(semantic: &Semantic, lines: &Text, facts: &mut Facts) {
    let (scoping, nodes) = (semantic.scoping(), semantic.nodes());
    let mut found = Vec::new();
    for (name, references) in scoping.root_unresolved_references() {
        let name = name.as_str();
        if KNOWN.contains(name) || is_declared_in_comment(semantic.source_text(), name) {
            continue;
        }
        let used = references.iter().map(|id| scoping.get_reference(*id)).find(|reference| {
            let parent = nodes.parent_kind(reference.node_id());
            // `typeof name` is how a script asks whether a name exists.
            let is_question = matches!(parent, AstKind::UnaryExpression(unary) if unary.operator == UnaryOperator::Typeof);
            let is_type = matches!(parent, AstKind::TSTypeQuery(_) | AstKind::TSQualifiedName(_));
            reference.is_value()
                && !is_question
                && !is_type
                && !is_mode(nodes, reference.node_id())
                && !is_in_with(nodes, reference.node_id())
        });
        if let Some(reference) = used {
            let is_element =
                |id: &ReferenceId| matches!(nodes.parent_kind(scoping.get_reference(*id).node_id()), AstKind::JSXOpeningElement(_));
            if references.iter().any(is_element) {
                facts.components.push(name.to_owned());
            }
            found.push((nodes.get_node(reference.node_id()).kind().span().start, name.to_owned()));
        }
    }
    found.sort_unstable();
    facts.components.sort_unstable();
    let named = |(offset, name): (u32, String)| Named { name, place: Some(lines.place(offset as usize)) };
    facts.undefined = found.into_iter().take(MAX_NAMES).map(named).collect();
}

/// `process.env.NODE_ENV`, which becomes a text.
fn is_mode(nodes: &AstNodes, id: NodeId) -> bool {
    let mut names = nodes.ancestor_kinds(id).map(|kind| match kind {
        AstKind::StaticMemberExpression(member) => member.property.name.as_str(),
        _ => "",
    });
    names.next() == Some("env") && names.next() == Some("NODE_ENV")
}

/// Inside of `with`, where a name can be a property.
fn is_in_with(nodes: &AstNodes, id: NodeId) -> bool {
    nodes.ancestor_kinds(id).any(|kind| matches!(kind, AstKind::WithStatement(_)))
}

/// As linters read it: `/* global name */`.
pub(super) fn is_declared_in_comment(text: &str, name: &str) -> bool {
    text.contains(&format!("global {name}")) || text.contains(&format!("globals {name}"))
}

/// What a declaration file declares: names, and modules.
pub(super) fn note_declared(semantic: &Semantic, facts: &mut Facts) {
    let names: BTreeSet<_> = semantic.scoping().symbol_names().map(str::to_owned).collect();
    facts.globals = names.into_iter().collect();
    for node in semantic.nodes().iter() {
        if let AstKind::TSExternalModuleDeclaration(module) = node.kind() {
            facts.ambient.push(module.id.value.to_string());
        }
    }
}
