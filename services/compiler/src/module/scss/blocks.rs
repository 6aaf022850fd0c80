//! Where the style sheets of SCSS and Sass are in a component.

use std::ops::Range;

use crate::tree::path;

/// A style sheet in a component.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    /// Where the value of `lang` is.
    pub(super) language: Range<usize>,
    pub(super) content: Range<usize>,
}

/// Those at the top of a file of Vue, and all in one of Svelte. Comments, scripts and templates of Vue have none.
pub(super) fn blocks(file: &str, text: &str) -> Vec<Found> {
    let is_vue = path::extension(file) == "vue";
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(start) = next(text, at, "<") {
        if text[start..].starts_with("<!--") {
            at = next(text, start, "-->").unwrap_or(text.len());
            continue;
        }
        let name = tag_name(&text[start..]);
        let Some(content) = tag_end(text, start).filter(|_| !name.is_empty()) else {
            at = start + 1;
            continue;
        };
        let tag = &text[start..content];
        let is_raw = ["style", "script"].contains(&name) || is_vue;
        if tag.ends_with("/>") || !is_raw {
            at = if tag[1..].contains('<') { start + 1 } else { content };
            continue;
        }
        let end = if name == "template" { template_end(text, content) } else { next(text, content, &format!("</{name}")) };
        let Some(end) = end else { break };
        if name == "style" {
            let language = language(tag).map(|own| own.start + start..own.end + start);
            let language = language.filter(|own| ["scss", "sass"].contains(&&text[own.clone()]));
            found.extend(language.map(|language| Found { language, content: content..end }));
        }
        at = end + 1;
    }
    found
}

fn next(text: &str, from: usize, mark: &str) -> Option<usize> {
    text[from..].find(mark).map(|at| from + at)
}

/// The name of the start tag at the start of a text, or nothing.
fn tag_name(text: &str) -> &str {
    let name = text.strip_prefix('<').unwrap_or_default();
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c))).unwrap_or(name.len());
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { &name[..end] } else { "" }
}

/// The end of a tag: a `>` in a quoted value is none.
fn tag_end(text: &str, start: usize) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text[start..].char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '>') => return Some(start + at + 1),
            _ => {}
        }
    }
    None
}

/// Where the template ends whose content begins there. Templates can be nested.
fn template_end(text: &str, content: usize) -> Option<usize> {
    let (mut depth, mut at) = (1, content);
    while let Some(start) = next(text, at, "<") {
        let rest = &text[start..];
        at = start + 1;
        if rest.starts_with("<!--") {
            at = next(text, start, "-->").unwrap_or(text.len());
        } else if rest.starts_with("</template") {
            depth -= 1;
            if depth == 0 {
                return Some(start);
            }
        } else if tag_name(rest) == "template" {
            at = tag_end(text, start)?;
            depth += usize::from(!text[start..at].ends_with("/>"));
        }
    }
    None
}

/// Where the value of `lang` is in a start tag.
fn language(tag: &str) -> Option<Range<usize>> {
    let starts = tag.match_indices("lang").filter(|(at, _)| tag[..*at].ends_with(char::is_whitespace));
    starts.map(|(at, name)| at + name.len()).find_map(|end| {
        let value = tag[end..].trim_start().strip_prefix('=')?.trim_start();
        let start = tag.len() - value.len();
        match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].find(quote).map(|length| start + 1..start + 1 + length),
            _ => value.find(|c: char| c.is_whitespace() || c == '>').map(|length| start..start + length),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Language and content of each.
    fn found<'t>(file: &str, text: &'t str) -> Vec<(&'t str, &'t str)> {
        blocks(file, text).into_iter().map(|found| (&text[found.language], &text[found.content])).collect()
    }

    #[test]
    fn only_style_sheets_of_the_component_count() {
        for (text, expected) in [
            ("<style lang=\"scss\">a</style>", vec![("scss", "a")]),
            (
                "<style\n  module lang = 'sass'>a</style><style>b</style><style scoped lang=scss>c</style>",
                vec![("sass", "a"), ("scss", "c")],
            ),
            ("<!-- <style lang=\"scss\">a</style> --><style lang=\"scss\">b</style>", vec![("scss", "b")]),
            ("<script>const a = '<style lang=\"scss\">a</style>'</script>", vec![]),
            ("<script generic=\"T extends Record<string, string>\">a</script><style lang='scss'>b</style>", vec![("scss", "b")]),
            ("<style lang=\"less\">a</style><style slang=\"scss\">b</style>", vec![]),
            ("<style lang=\"scss\">a", vec![]),
            ("<style lang=\"scss\" />", vec![]),
            ("<", vec![]),
        ] {
            assert_eq!(found("A.vue", text), expected, "{text}");
            assert_eq!(found("A.svelte", text), expected, "{text}");
        }
    }

    #[test]
    fn templates_of_vue_have_none_and_elements_of_svelte_have() {
        let nested =
            "<template><template v-if=\"a > b\"><i/></template><style lang=\"scss\">a</style></template><style lang=\"scss\">b</style>";
        assert_eq!(found("A.vue", nested), [("scss", "b")]);
        assert_eq!(found("A.vue", "<template/><docs><style lang=\"scss\">a</style></docs>"), []);
        assert_eq!(found("A.svelte", "{#if a < b}<p>a</p>{/if}<style lang=\"scss\">b</style>"), [("scss", "b")]);
        assert_eq!(found("A.svelte", "{a<b}<style lang=\"scss\">b</style>"), [("scss", "b")]);
    }
}
