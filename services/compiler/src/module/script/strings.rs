//! What a script writes as strings and as keys of objects. Comments do not count.

use std::collections::BTreeSet;

use oxc::{
    allocator::Allocator,
    ast::ast::{PropertyKey, StringLiteral},
    ast_visit::{Visit, walk},
    parser::Parser,
};

use super::{super::Source, source_type};
use crate::tree::path;

/// All of them; none if the text has a syntax error. JSON is read, too.
pub(crate) fn strings(source: &Source, text: &str) -> BTreeSet<String> {
    let extension = path::extension(source.path);
    let is_data = text.trim_start().starts_with('{');
    let text = if is_data { format!("({text})") } else { text.to_owned() };
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &text, source_type(source.path, &extension)).parse();
    let mut strings = Strings::default();
    strings.visit_program(&parsed.program);
    strings.0
}

#[derive(Default)]
struct Strings(BTreeSet<String>);

impl<'a> Visit<'a> for Strings {
    fn visit_string_literal(&mut self, literal: &StringLiteral<'a>) {
        self.0.insert(literal.value.to_string());
    }

    fn visit_property_key(&mut self, key: &PropertyKey<'a>) {
        self.0.extend(key.static_name().map(|name| name.into_owned()));
        walk::walk_property_key(self, key);
    }
}

#[cfg(test)]
mod tests {
    use compiler_client::message::facts::Kind;

    use super::*;
    use crate::project::Project;

    #[test]
    fn strings_and_keys_count_and_comments_do_not() {
        let options = Project::default().options(None);
        for (path, text, expected) in [
            ("a.js", "// 'x'\nmodule.exports = { plugins: { 'a/b': {}, c: require(\"d\") } } /* 'y' */", vec!["a/b", "c", "d", "plugins"]),
            ("a.json", "{\"plugins\": [\"a\", {\"b\": 1}]}", vec!["a", "b", "plugins"]),
            ("a.mjs", "import x from 'y'; export default { [x]: `z` }", vec!["y"]),
            ("a.js", "const = 'a'", vec![]),
        ] {
            let source = Source { path, kind: Kind::Module, id: "", content: text.as_bytes(), options: &options };
            assert_eq!(strings(&source, text).iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
