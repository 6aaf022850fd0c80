//! Addresses in `import()` and `new URL` of which only a part is known. They stand for the files that fit, by the rules of
//! `@rollup/plugin-dynamic-import-vars`.

use compiler_client::message::facts::{Glob, GlobForm};
use oxc::{
    ast::ast::{CallExpression, Expression},
    syntax::operator::BinaryOperator,
};

use super::glob;
use crate::tree::path;

/// Stands for a part that is known only when the code runs.
const UNKNOWN: char = '\0';
/// How deeply expressions are read.
const MAX_DEPTH: usize = 100;

/// What needs the address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Use {
    Import,
    /// With the query of the module that has the address.
    Address(&'static str),
}

/// The text that an expression always has.
pub(super) fn known(expression: &Expression) -> Option<String> {
    let text = text(expression);
    (!text.contains(UNKNOWN)).then_some(text)
}

/// The files that the expression can name. `Ok(None)`: it is not known whether it names files of the project. `Err` is a sentence.
pub(super) fn read(file: &str, expression: &Expression, wanted: Use) -> Result<Option<Glob>, &'static str> {
    let text = text(expression);
    if !text.contains(UNKNOWN) || text.starts_with([UNKNOWN, '#', '?']) || path::is_foreign(&text) || text.contains("://") {
        return Ok(None);
    }
    let (name, query) = match wanted {
        Use::Import => imported(&text)?,
        Use::Address(query) => (located(&text)?, query),
    };
    let is_absolute = name.starts_with('/');
    let pattern = if is_absolute { pattern(name) } else { path::join(&glob::escaped(path::folder(file)), &pattern(name)) };
    let is_import = wanted == Use::Import;
    let mut glob = Glob {
        patterns: vec![pattern],
        is_eager: !is_import,
        import: if is_import { String::new() } else { "default".to_owned() },
        query: query.to_owned(),
        folder: (!is_absolute).then(|| path::folder(file).to_owned()),
        ..Glob::default()
    };
    glob.set_form(if is_import { GlobForm::Import } else { GlobForm::Address });
    Ok(Some(glob::named(glob)))
}

/// The text of an expression.
fn text(expression: &Expression) -> String {
    let mut text = String::new();
    append(expression, 0, &mut text);
    text
}

fn append(expression: &Expression, depth: usize, text: &mut String) {
    match expression {
        _ if depth > MAX_DEPTH => text.push(UNKNOWN),
        Expression::StringLiteral(literal) => text.push_str(&literal.value),
        Expression::ParenthesizedExpression(inner) => append(&inner.expression, depth + 1, text),
        Expression::TemplateLiteral(template) => {
            let mut expressions = template.expressions.iter();
            for quasi in &template.quasis {
                match &quasi.value.cooked {
                    Some(cooked) => text.push_str(cooked),
                    None => text.push(UNKNOWN),
                }
                if let Some(inner) = expressions.next() {
                    append(inner, depth + 1, text);
                }
            }
        }
        Expression::BinaryExpression(sum) if sum.operator == BinaryOperator::Addition => {
            append(&sum.left, depth + 1, text);
            append(&sum.right, depth + 1, text);
        }
        Expression::CallExpression(call) if append_concatenation(call, depth, text) => {}
        _ => text.push(UNKNOWN),
    }
}

/// `"./a/".concat(name, ".js")`, as older compilers write templates.
fn append_concatenation(call: &CallExpression, depth: usize, text: &mut String) -> bool {
    let Expression::StaticMemberExpression(member) = &call.callee else { return false };
    if member.property.name != "concat" || !matches!(member.object, Expression::StringLiteral(_)) {
        return false;
    }
    append(&member.object, depth + 1, text);
    for argument in &call.arguments {
        match argument.as_expression() {
            Some(argument) => append(argument, depth + 1, text),
            None => text.push(UNKNOWN),
        }
    }
    true
}

/// The path and the query of an `import()`.
fn imported(text: &str) -> Result<(&str, &str), &'static str> {
    let (name, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    if !name.starts_with("./") && !name.starts_with("../") {
        return Err("the address of an import() with variables begins with neither ./ nor ../");
    }
    if query.contains(UNKNOWN) {
        return Err("the query of an import() has a variable");
    }
    checked(name)?;
    let file = name.rsplit('/').next().unwrap_or_default();
    let Some((stem, _)) = file.rsplit_once('.').filter(|(stem, extension)| !stem.is_empty() && !extension.is_empty()) else {
        return Err("the address of an import() with variables does not end with the extension of the files");
    };
    if name.matches('/').count() == 1 && name.starts_with("./") && stem.chars().all(|c| c == UNKNOWN) {
        return Err("the address of an import() with variables names all files of its own folder");
    }
    Ok((name, query))
}

/// The path of a `new URL`. What follows it stays in the address.
fn located(text: &str) -> Result<&str, &'static str> {
    let name = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    checked(name)?;
    if name.split('/').all(|part| ["", ".", ".."].contains(&part) || part.chars().all(|c| c == UNKNOWN)) {
        return Err("the address of a new URL() with variables names neither a folder nor an extension");
    }
    Ok(name)
}

/// A path that equals the key of a file when the code runs.
fn checked(name: &str) -> Result<(), &'static str> {
    let steps = name.trim_start_matches("./");
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let mut inner = steps.trim_start_matches('/').split('/').skip_while(|part| *part == "..");
    if name.contains('*') {
        return Err("an address with variables has a *");
    }
    // `././a` and `./../a` are other keys than `./a` and `../a`.
    let is_short = !name.starts_with("././") && !name.starts_with("./..");
    if is_short && inner.all(is_plain) { Ok(()) } else { Err("an address with variables has needless steps such as ./../ or //") }
}

/// The path as a pattern.
fn pattern(name: &str) -> String {
    let mut pattern = String::new();
    for (at, known) in name.split(UNKNOWN).enumerate() {
        if at > 0 && !pattern.ends_with('*') {
            pattern.push('*');
        }
        pattern.push_str(&glob::escaped(known));
    }
    pattern
}

#[cfg(test)]
mod tests {
    use oxc::{allocator::Allocator, parser::Parser, span::SourceType};

    use super::*;

    fn pattern_of(code: &str, wanted: Use) -> Result<Option<(String, String)>, &'static str> {
        let allocator = Allocator::default();
        let expression = Parser::new(&allocator, code, SourceType::mjs()).parse_expression().expect("an expression");
        let glob = read("src/[a]/main.ts", &expression, wanted)?;
        Ok(glob.map(|glob| (glob.patterns[0].clone(), glob.query)))
    }

    #[test]
    fn an_address_with_variables_is_a_pattern() {
        for (code, is_import, pattern, query) in [
            ("`./x/${a}.ts`", true, "/src/\\[a\\]/x/*.ts", ""),
            ("`./x/${a}${b}-${c}.ts`", true, "/src/\\[a\\]/x/*-*.ts", ""),
            ("'../x{1}/' + (a) + '/b.js?raw'", true, "/src/x\\{1\\}/*/b.js", "?raw"),
            ("'./x/'.concat(a, '.ts')", true, "/src/\\[a\\]/x/*.ts", ""),
            ("`./a-${b}.ts`", true, "/src/\\[a\\]/a-*.ts", ""),
            ("`${'./x'}/${a}.ts`", true, "/src/\\[a\\]/x/*.ts", ""),
            ("`img/${a}`", false, "/src/\\[a\\]/img/*", "?url"),
            ("`/img/${a}.png?v=${b}`", false, "/img/*.png", "?url"),
            ("`./icons.svg#${a}`", false, "/src/\\[a\\]/icons.svg", "?url"),
        ] {
            let wanted = if is_import { Use::Import } else { Use::Address("?url") };
            assert_eq!(pattern_of(code, wanted), Ok(Some((pattern.to_owned(), query.to_owned()))), "{code}");
        }
        for code in
            ["a", "a + './b.ts'", "`${a}/b.ts`", "'./a.ts'", "`https://a.b/${c}.js`", "`//a/${c}.js`", "`http${s}://a.b`", "`#${a}`"]
        {
            assert_eq!(pattern_of(code, Use::Import), Ok(None), "{code}");
        }
        for code in ["`./x/${a}`", "`./${a}.ts`", "`./${a}${b}.ts`", "`x/${a}.ts`", "`./x/.${a}`", "`./././x/${a}.ts`", "`./x//${a}.ts`"] {
            assert!(pattern_of(code, Use::Import).is_err(), "{code}");
        }
        for code in ["`./${a}`", "`../${a}`", "`/${a}`", "`./*/${a}`", "`./${a}?x`"] {
            assert!(pattern_of(code, Use::Address("?url")).is_err(), "{code}");
        }
    }

    #[test]
    fn an_address_without_variables_is_known() {
        let allocator = Allocator::default();
        for (code, expected) in [("`./a`", Some("./a")), ("'./a' + `${'b'}.ts`", Some("./ab.ts")), ("`./${a}`", None), ("1", None)] {
            let expression = Parser::new(&allocator, code, SourceType::mjs()).parse_expression().expect("an expression");
            assert_eq!(known(&expression).as_deref(), expected, "{code}");
        }
        let long = format!("{}'x'", "'./a' + ".repeat(MAX_DEPTH * 2));
        let expression = Parser::new(&allocator, &long, SourceType::mjs()).parse_expression().expect("an expression");
        assert_eq!(known(&expression), None);
    }
}
