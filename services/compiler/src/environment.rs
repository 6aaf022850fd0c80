//! `import.meta.env`: a module of its own, so that a change of a value changes no other module.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::tree::{Tree, path};

/// The specifier of the module.
pub(crate) const SPECIFIER: &str = "/@env";
/// Only variables with this prefix reach a browser.
const PREFIX: &str = "VITE_";

/// The code of the module.
pub(crate) fn code(tree: &Tree, base: &str, is_production: bool) -> String {
    format!("export default {};\n", Value::Object(values(tree, base, is_production)))
}

/// The members of `import.meta.env`. Later files win, as with Vite.
pub(crate) fn values(tree: &Tree, base: &str, is_production: bool) -> Map<String, Value> {
    let mode = if is_production { "production" } else { "development" };
    let mut values = Map::new();
    for file in [".env".to_owned(), ".env.local".to_owned(), format!(".env.{mode}"), format!(".env.{mode}.local")] {
        let variables = tree.text(&file).map(variables).unwrap_or_default();
        values.extend(variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).map(|(name, value)| (name, value.into())));
    }
    values.insert("BASE_URL".to_owned(), base.into());
    values.insert("MODE".to_owned(), mode.into());
    values.insert("DEV".to_owned(), Value::Bool(!is_production));
    values.insert("PROD".to_owned(), Value::Bool(is_production));
    values.insert("SSR".to_owned(), Value::Bool(false));
    values
}

/// A page with values in place of `%NAME%`. The path of the page's folder stays `%BASE_URL%`. What is no name stays as it is, too.
pub(crate) fn filled(html: &str, values: &Map<String, Value>) -> String {
    let mut parts = html.split('%');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    while let Some(name) = parts.next() {
        let value = values.get(name).filter(|_| name != path::BASE_URL.trim_matches('%'));
        match (value, parts.clone().next()) {
            (Some(value), Some(rest)) => {
                filled.push_str(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
                filled.push_str(rest);
                parts.next();
            }
            _ => filled.extend(["%", name]),
        }
    }
    filled
}

/// `NAME=value` lines. Quotes are taken off, `#` begins a comment, and `${NAME}` is an earlier variable of the file.
fn variables(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else { continue };
        let (value, is_literal) = unquoted(value.trim());
        let value = if is_literal { value } else { expanded(&value, &found) };
        found.insert(name.trim().to_owned(), value);
    }
    found
}

/// The value, and whether single quotes forbid to expand it.
fn unquoted(value: &str) -> (String, bool) {
    for quote in ['"', '\'', '`'] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            let inner = if quote == '"' { inner.replace("\\n", "\n") } else { inner.to_owned() };
            return (inner, quote == '\'');
        }
    }
    (value.split(" #").next().unwrap_or_default().trim().to_owned(), false)
}

/// Each name is replaced once, so a value cannot grow without end.
fn expanded(value: &str, known: &BTreeMap<String, String>) -> String {
    let mut parts = value.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}').and_then(|(name, rest)| Some((known.get(name)?, rest))) {
            Some((value, rest)) if text.len() + value.len() < 64 << 10 => {
                text.push_str(value);
                text.push_str(rest);
            }
            _ => text.push_str(&format!("${{{part}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_pages_have_values() {
        let Value::Object(values) = serde_json::json!({ "BASE_URL": "/p/", "DEV": true, "VITE_A": "x%DEV%" }) else { panic!("an object") };
        for (html, expected) in [
            ("<i>%DEV%</i>%VITE_A%", "<i>true</i>x%DEV%"),
            ("%20%DEV%%DEV%", "%20truetrue"),
            ("100% %NONE% %DEV", "100% %NONE% %DEV"),
            ("%BASE_URL%fa.svg", "%BASE_URL%fa.svg"),
            ("%", "%"),
        ] {
            assert_eq!(filled(html, &values), expected);
        }
    }

    #[test]
    fn variables_are_read_as_vite_reads_them() {
        let text = "# c\nA=1\nexport B = two words # c\nC=\"x # y\\nz\"\nD='${A}'\nE=${A}-${B}-${F}\nnothing\nG=\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "x # y\nz"), ("D", "${A}"), ("E", "1-two words-${F}"), ("G", "")];
        assert_eq!(variables(text), expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    }
}
