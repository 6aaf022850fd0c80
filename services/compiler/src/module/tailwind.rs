//! Sources of Tailwind: style sheets with its rules, and the words of other files that can be its classes.

use std::collections::BTreeSet;

use crate::{tool::tailwind::Version, tree::path};

/// Rules and functions that only Tailwind 4 knows.
const MARKS: [&str; 16] = [
    "@tailwind",
    "@apply",
    "@theme",
    "@utility",
    "@variant",
    "@custom-variant",
    "@source",
    "@plugin",
    "@config",
    "@reference",
    "@screen",
    "--alpha(",
    "--spacing(",
    "theme(",
    "@import \"tailwindcss",
    "@import 'tailwindcss",
];
/// Those of Tailwind 3.
const MARKS_3: [&str; 6] = ["@tailwind", "@apply", "@screen", "@config", "theme(", "screen("];
/// A class is no longer than this.
const MAX_WORD: usize = 200;
/// Words of one file.
const MAX_WORDS: usize = 5_000;

/// Whether a style sheet needs Tailwind. Version 3 reads the sheets that a sheet imports as parts of it.
pub(super) fn is_source(text: &str, version: Version) -> bool {
    let plain = without_comments(text);
    match version {
        Version::Three => MARKS_3.iter().any(|mark| plain.contains(mark)) || references(&plain).iter().any(is_own_import),
        Version::Four => MARKS.iter().any(|mark| plain.contains(mark)),
    }
}

/// Whether a rule imports a sheet of the project or of Tailwind.
fn is_own_import(reference: &Reference) -> bool {
    let specifier = reference.specifier.as_str();
    let is_own = path::is_relative(specifier) || ["/", "@/", "~/", "tailwindcss/"].iter().any(|start| specifier.starts_with(start));
    reference.rule == "import" && is_own
}

/// What a rule of a style sheet names.
#[derive(Debug, PartialEq)]
pub(crate) struct Reference {
    /// `import`, `reference`, `plugin` or `config`.
    pub(crate) rule: &'static str,
    pub(crate) specifier: String,
    /// Where the specifier begins.
    pub(crate) offset: usize,
}

/// The rules that name other files or packages.
pub(crate) fn references(text: &str) -> Vec<Reference> {
    let plain = without_comments(text);
    let mut found = Vec::new();
    for rule in ["import", "reference", "plugin", "config"] {
        let at_rule = format!("@{rule}");
        for (at, _) in plain.match_indices(&at_rule) {
            let rest = &plain[at + at_rule.len()..];
            let value = rest.trim_start();
            let Some(quote) = value.chars().next().filter(|c| ['"', '\''].contains(c)) else { continue };
            let Some(end) = value[1..].find(quote) else { continue };
            let offset = at + at_rule.len() + (rest.len() - value.len()) + 1;
            found.push(Reference { rule, specifier: value[1..=end].to_owned(), offset });
        }
    }
    found
}

/// The text with spaces in place of comments.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        let end = rest[start + 2..].find("*/").map_or(rest.len(), |end| start + 2 + end + 2);
        plain.push_str(&rest[..start]);
        plain.extend(std::iter::repeat_n(' ', end - start));
        rest = &rest[end..];
    }
    plain + rest
}

/// The words of a file that can be classes, sorted, one a line. Tailwind knows which ones are.
pub(crate) fn words(text: &str) -> String {
    let mut words = BTreeSet::new();
    let mut add = |word| {
        let word = trimmed(word);
        if words.len() < MAX_WORDS && is_class(word) {
            words.insert(word);
        }
    };
    // Quotes and signs are parts of some classes, as in `content-['x']` and `[&>p]:m-1`, so that a word counts as a whole and in its parts.
    for whole in text.split(|c: char| c.is_whitespace() || c == '"' || c == '`').filter(|whole| !whole.is_empty()) {
        add(whole);
        for quoted in whole.split('\'') {
            if quoted.len() < whole.len() {
                add(quoted);
            }
            let parts = quoted.split(['<', '>', '{', '}', '=', ';', '\\']);
            parts.filter(|part| part.len() < quoted.len()).for_each(&mut add);
        }
    }
    words.into_iter().collect::<Vec<_>>().join("\n")
}

/// A word without what stands before and after classes.
fn trimmed(word: &str) -> &str {
    word.strip_prefix("class:").unwrap_or(word).trim_end_matches([',', ':', '.', ';', '>'])
}

fn is_class(word: &str) -> bool {
    let is_start = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-@!*[_".contains(&byte);
    let has_letters = word.bytes().next().is_some_and(is_start) && word.bytes().any(|byte| byte.is_ascii_lowercase());
    if !has_letters || word.len() > MAX_WORD {
        return false;
    }
    let outside = word.split('[').next().unwrap_or_default();
    !outside.bytes().any(|byte| b"$;{}<>=?|\"'`,".contains(&byte))
        && (!outside.contains('(') || outside.contains("-(") || outside.contains("/("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_outside_of_comments_are_found() {
        let (three, four) = (|text| is_source(text, Version::Three), |text| is_source(text, Version::Four));
        assert!(four("@import 'tailwindcss';") && four("a { @apply b }") && four("a { width: --spacing(4) }"));
        assert!(!four("/* @apply */ a { b: c } @layer a;") && !four("@import './a.css';"));
        assert!(three("@import 'tailwindcss/base';") && three("@import './a.css';") && three("a { color: theme('colors.x') }"));
        assert!(!three("@import 'swiper/css';") && !three("@layer a { b { c: d } }") && !three("/* @tailwind base */"));
        let text = "/* @import 'no'; */ @import \"tailwindcss\";\n@plugin   '@a/b';\n@config './c.js'; @import url(x.css); @reference 'd";
        let found: Vec<_> = references(text).into_iter().map(|found| (found.rule, found.specifier)).collect();
        assert_eq!(found, [("import", "tailwindcss".to_owned()), ("plugin", "@a/b".to_owned()), ("config", "./c.js".to_owned())]);
        assert_eq!(&text[references(text)[0].offset..][..8], "tailwind");
    }

    #[test]
    fn classes_are_among_the_words() {
        let text = "<a className={cn(\"p-4 hover:bg-red-500/50\", { 'flex-1': x, grid: y })} class='before:content-[\"a\"] [&>p]:mt-2'>\n\
                    const a = `w-[calc(100%-1px)] bg-(--x) -mt-1 @md:p-2 !m-0 *:p-1 grid-cols-[1fr,2fr] 2xl:w-1/2`; class:active={b} f(x) Card";
        let found = words(text);
        let found: Vec<_> = found.lines().collect();
        for class in [
            "p-4",
            "hover:bg-red-500/50",
            "flex-1",
            "grid",
            "[&>p]:mt-2",
            "w-[calc(100%-1px)]",
            "bg-(--x)",
            "-mt-1",
            "@md:p-2",
            "!m-0",
            "*:p-1",
            "grid-cols-[1fr,2fr]",
            "2xl:w-1/2",
            "active",
        ] {
            assert!(found.contains(&class), "{class} is not in {found:?}");
        }
        assert!(!found.contains(&"f(x)") && !found.contains(&"Card"), "{found:?}");
        assert_eq!(words("a-1\u{a0}b-1\u{2003}c-1='d-1'\\e-1 \u{e4}f"), "a-1\nb-1\nc-1\nd-1\ne-1");
        assert!(words("class=\"before:content-['x']\"").lines().any(|word| word == "before:content-['x']"));
    }
}
