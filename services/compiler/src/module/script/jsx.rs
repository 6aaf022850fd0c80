//! The functions that JSX calls by a name of the file, as `React.createElement`.

use compiler_client::message::{Facts, facts::Named};
use oxc::{
    ast::{AstKind, ast::Program},
    semantic::{ScopeId, Semantic},
    span::GetSpan,
    str::Ident,
};

use super::names;
use crate::{module::options::Jsx, text::Text};

const FACTORY: &str = "React.createElement";
const FRAGMENT: &str = "React.Fragment";

/// What JSX calls.
#[derive(Debug, PartialEq)]
struct JsxCalls<'c> {
    is_classic: bool,
    factory: &'c str,
    fragment: &'c str,
}

/// Notes the names that JSX calls and that the file does not define.
pub(super) fn note_called(semantic: &Semantic, jsx: &Jsx, lines: &Text, facts: &mut Facts) {
    let called = called(semantic.nodes().program(), jsx);
    if !called.is_classic {
        return;
    }
    for node in semantic.nodes().iter() {
        let fragment = match node.kind() {
            AstKind::JSXElement(_) => None,
            AstKind::JSXFragment(_) => Some(called.fragment),
            _ => continue,
        };
        for name in fragment.into_iter().chain([called.factory]).filter_map(|name| name.split('.').next()) {
            let is_noted = facts.jsx.iter().chain(&facts.undefined).any(|named| named.name == name);
            if !is_noted && !is_defined(semantic, node.scope_id(), name) {
                let place = Some(lines.place(node.kind().span().start as usize));
                facts.jsx.push(Named { name: name.to_owned(), place });
            }
        }
    }
}

/// Whether a name has a value in a scope. A type alone has none.
fn is_defined(semantic: &Semantic, scope: ScopeId, name: &str) -> bool {
    let scoping = semantic.scoping();
    let found = scoping.find_binding(scope, Ident::from(name));
    found.is_some_and(|symbol| !scoping.symbol_flags(symbol).is_type_import())
        || ["this", "import"].contains(&name)
        || names::is_declared_in_comment(semantic.source_text(), name)
}

/// The settings, and over them what comments before the first statement say: `@jsx`, `@jsxFrag` and `@jsxRuntime`.
fn called<'c>(program: &'c Program, jsx: &'c Jsx) -> JsxCalls<'c> {
    let mut called = match jsx {
        Jsx::Automatic { .. } => JsxCalls { is_classic: false, factory: FACTORY, fragment: FRAGMENT },
        Jsx::Classic { factory, fragment } => {
            JsxCalls { is_classic: true, factory: factory.as_deref().unwrap_or(FACTORY), fragment: fragment.as_deref().unwrap_or(FRAGMENT) }
        }
    };
    let end = program.body.first().map_or(0, |statement| statement.span().start);
    for comment in program.comments.iter().take_while(|comment| comment.span.start < end) {
        let mut words = comment.content_span().source_text(program.source_text).split_ascii_whitespace();
        while let Some(word) = words.next() {
            match word.trim_start_matches('*') {
                "@jsx" => called.factory = words.next().unwrap_or(called.factory),
                "@jsxFrag" => called.fragment = words.next().unwrap_or(called.fragment),
                "@jsxRuntime" => called.is_classic = words.next() == Some("classic"),
                _ => {}
            }
        }
    }
    called
}

#[cfg(test)]
mod tests {
    use oxc::{allocator::Allocator, parser::Parser, span::SourceType};

    use super::*;

    #[test]
    fn comments_decide_over_settings() {
        let classic = |factory: &str| Jsx::Classic { factory: Some(factory.to_owned()), fragment: None };
        let automatic = || Jsx::Automatic { source: "react".to_owned() };
        for (jsx, text, expected) in [
            (automatic(), "<a/>", (false, FACTORY, FRAGMENT)),
            (classic("h"), "<a/>", (true, "h", FRAGMENT)),
            (classic("h"), "/** @jsxRuntime automatic */\n<a/>", (false, "h", FRAGMENT)),
            (automatic(), "/**@jsxRuntime classic @jsx x.y*/\n// @jsxFrag z\n<a/>", (true, "x.y", "z")),
            (automatic(), "a;\n/** @jsxRuntime classic */\n<a/>", (false, FACTORY, FRAGMENT)),
        ] {
            let allocator = Allocator::default();
            let parsed = Parser::new(&allocator, text, SourceType::jsx()).parse();
            let (is_classic, factory, fragment) = expected;
            assert_eq!(called(&parsed.program, &jsx), JsxCalls { is_classic, factory, fragment }, "{text}");
        }
    }
}
