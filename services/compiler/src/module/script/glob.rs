//! The arguments of `import.meta.glob`, and its patterns.

use compiler_client::message::facts::Glob;
use oxc::ast::ast::{Argument, ArrayExpressionElement, CallExpression, Expression, ObjectExpression, ObjectPropertyKind};

use crate::{module::hash, tree::path};

/// The start of the specifiers of generated modules.
pub(crate) const PREFIX: &str = "/@glob/";

/// Reads a call. `Err` says what it must have.
pub(super) fn read(file: &str, call: &CallExpression) -> Result<Glob, String> {
    let patterns = call.arguments.first().and_then(strings).filter(|patterns| !patterns.is_empty());
    let patterns = patterns.ok_or("import.meta.glob takes string literals")?;
    let mut glob = Glob::default();
    match call.arguments.get(1) {
        None => {}
        Some(Argument::ObjectExpression(options)) => read_options(file, options, &mut glob)?,
        Some(_) => return Err("the options of import.meta.glob are an object literal".to_owned()),
    }
    let folder = glob.folder.clone().unwrap_or_else(|| path::folder(file).to_owned());
    glob.patterns = patterns.iter().map(|pattern| absolute(&folder, pattern)).collect::<Result<_, _>>()?;
    // As with Vite, one absolute pattern makes all keys absolute, and a `base` makes all relative to it.
    let is_relative = patterns.iter().all(|pattern| pattern.starts_with(['.', '!']));
    glob.folder = glob.folder.or_else(|| is_relative.then_some(folder));
    Ok(named(glob))
}

/// Gives the glob the specifier of its module.
pub(super) fn named(glob: Glob) -> Glob {
    Glob { specifier: format!("{PREFIX}{}", hash(&format!("{glob:?}"))), ..glob }
}

/// A path in a pattern: its characters stand for themselves.
pub(super) fn escaped(path: &str) -> String {
    path.chars().flat_map(|c| "*?[]{}\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

fn strings(argument: &Argument) -> Option<Vec<String>> {
    match argument {
        Argument::StringLiteral(text) => Some(vec![text.value.to_string()]),
        Argument::TemplateLiteral(text) => Some(vec![text.single_quasi()?.to_string()]),
        Argument::ArrayExpression(list) => list
            .elements
            .iter()
            .map(|element| match element {
                ArrayExpressionElement::StringLiteral(text) => Some(text.value.to_string()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn absolute(folder: &str, pattern: &str) -> Result<String, String> {
    let (not, pattern) = pattern.strip_prefix('!').map_or(("", pattern), |pattern| ("!", pattern));
    if path::is_relative(pattern) {
        Ok(format!("{not}{}", path::join(&escaped(folder), pattern)))
    } else if pattern.starts_with('/') {
        Ok(format!("{not}{pattern}"))
    } else if pattern.starts_with("**") {
        Ok(format!("{not}/{pattern}"))
    } else {
        Err(format!("the pattern {pattern} of import.meta.glob does not begin with ./, ../ or /"))
    }
}

/// The `base` becomes the folder.
fn read_options(file: &str, options: &ObjectExpression, glob: &mut Glob) -> Result<(), String> {
    for property in &options.properties {
        let ObjectPropertyKind::ObjectProperty(property) = property else {
            return Err("the options of import.meta.glob are an object literal".to_owned());
        };
        let name = property.key.static_name().unwrap_or_default();
        match (name.as_ref(), &property.value) {
            ("eager", Expression::BooleanLiteral(value)) => glob.is_eager = value.value,
            ("import", Expression::StringLiteral(value)) => glob.import = value.value.to_string(),
            ("query", Expression::StringLiteral(value)) => glob.query = format!("?{}", value.value.trim_start_matches('?')),
            ("as", Expression::StringLiteral(value)) => {
                glob.query = format!("?{}", value.value);
                glob.import = "default".to_owned();
            }
            ("base", Expression::StringLiteral(value)) => {
                let start = if value.value.starts_with('/') { "" } else { path::folder(file) };
                glob.folder = Some(path::join(start, &value.value).trim_start_matches('/').to_owned());
            }
            ("exhaustive", _) => {}
            (name, _) => return Err(format!("the option {name} of import.meta.glob is not supported with this value")),
        }
    }
    if glob.query == "?" {
        glob.query.clear();
    }
    Ok(())
}
