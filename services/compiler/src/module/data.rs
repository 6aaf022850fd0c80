//! Modules of files that are no code: JSON, texts, addresses.

use compiler_client::message::{Facts, finding::code};
use serde_json::Value;

use super::{Source, address as address_of, identifier::is_identifier};
use crate::{text::Text, tree::resolve::PUBLIC};

/// A string as JavaScript writes it.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub(super) fn raw(text: &str) -> String {
    format!("export default {};\n", quoted(text))
}

/// The address is relative to the module, so that it holds below any base. Files of `public` keep their names.
pub(super) fn address(source: &Source) -> String {
    let public = source.path.strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix('/'));
    let target = public.map_or_else(|| address_of(source.path, source.id, source.options.is_bundled), str::to_owned);
    format!("export default new URL({}, import.meta.url).href;\n", quoted(&format!("../{target}")))
}

/// `JSON.parse` keeps a member named `__proto__`, which a literal would not.
pub(super) fn json(source: &Source, text: &str, facts: &mut Facts) -> String {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            facts.findings.push(invalid(source.path, text, &error));
            return String::new();
        }
    };
    let mut code = format!("const json = JSON.parse({});\nexport default json;\n", quoted(text.trim()));
    facts.exports.push("default".to_owned());
    let names = value.as_object().into_iter().flat_map(|object| object.keys());
    for (at, name) in names.filter(|name| is_identifier(name) && *name != "default").enumerate() {
        code.push_str(&format!("const json{at} = json.{name};\nexport {{ json{at} as {name} }};\n"));
        facts.exports.push(name.clone());
    }
    code
}

/// The finding for a text that is no JSON.
pub(crate) fn invalid(path: &str, text: &str, error: &serde_json::Error) -> compiler_client::message::Finding {
    let lines = Text::new(text);
    let message = error.to_string();
    // The place is in the finding.
    let message = message.split(" at line ").next().unwrap_or_default();
    let line = u32::try_from(error.line()).unwrap_or(1);
    let column = u32::try_from(error.column()).unwrap_or(1);
    lines.finding(code::INVALID_JSON, path, &lines.place_at(line, column), message)
}
