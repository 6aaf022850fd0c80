//! `:export` of a CSS module: values that its importers get beside the classes.

use super::nested::{Item, items};

/// The rule.
const RULE: &str = ":export";

/// Takes the rules out of a sheet. Returns the rest, in which all else keeps its place, and names with values.
pub(super) fn take(text: &str) -> (String, Vec<(String, String)>) {
    let (mut rest, mut end, mut exported) = (String::with_capacity(text.len()), 0, Vec::new());
    for Item { prelude, body, range } in items(text) {
        let Some(inner) = body.filter(|_| without_comments(prelude) == RULE) else { continue };
        rest.push_str(&text[end..range.start]);
        rest.extend(text[range.clone()].chars().map(|c| if c == '\n' { c } else { ' ' }));
        end = range.end;
        let pairs = items(inner).into_iter().filter_map(|item| item.prelude.split_once(':'));
        exported.extend(pairs.map(|(name, value)| (without_comments(name), without_comments(value))));
    }
    rest.push_str(&text[end..]);
    (rest, exported)
}

fn without_comments(text: &str) -> String {
    super::nested::without_comments(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_values_are_taken_out_and_the_rest_keeps_its_place() {
        let (rest, exported) = take("/* x */ :export {\n  a: red;\n  b-c: \"x;\" /* y */\n}\n.d:export { e: f }\n:export{}");
        let pairs: Vec<_> = exported.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "red"), ("b-c", "\"x;\"")]);
        assert_eq!(rest.split_whitespace().collect::<Vec<_>>(), [".d:export", "{", "e:", "f", "}"]);
        assert_eq!(rest.lines().position(|line| line.starts_with(".d")), Some(4));
        assert_eq!(take(".a { b: c }").0, ".a { b: c }");
    }
}
