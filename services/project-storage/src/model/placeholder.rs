//! Placeholders of templates: the rules of variables and their values, and filling values into texts. A placeholder is `%%name%%`.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use crate::model::template::Variable;

/// Characters of a value, of a default and of a description.
pub(crate) const VALUE_CHARACTERS: usize = 500;
/// Variables of a template.
pub(crate) const MAX_VARIABLES: usize = 50;
/// Characters of the name of a variable.
const NAME_CHARACTERS: usize = 40;
/// Characters of a label.
const LABEL_CHARACTERS: usize = 80;
/// Characters of a pattern.
const PATTERN_CHARACTERS: usize = 200;
/// Bytes of a compiled pattern. The time of a check grows with it.
const COMPILED_BYTES: usize = 128 * 1024;
const MARK: &str = "%%";

/// What is wrong with a field: its path below the list, and the rest of a sentence.
pub(crate) type Problem = (String, String);

/// Values by the names of variables.
pub(crate) type Values = BTreeMap<String, String>;

/// Checks the variables of a template. Returns what is wrong with the first invalid one.
pub(crate) fn check_variables(variables: &[Variable]) -> Result<(), Problem> {
    if variables.len() > MAX_VARIABLES {
        return Err(("variables".to_owned(), format!("must be at most {MAX_VARIABLES}")));
    }
    for (index, variable) in variables.iter().enumerate() {
        let field = |name: &str| format!("variables[{index}].{name}");
        if !is_name(&variable.name) {
            return Err((field("name"), format!("must be 1 to {NAME_CHARACTERS} of A-Za-z0-9_, the first a letter")));
        }
        if variables[..index].iter().any(|other| other.name == variable.name) {
            return Err((field("name"), "must be unique".to_owned()));
        }
        check_text(&variable.label, 1, LABEL_CHARACTERS).map_err(|problem| (field("label"), problem))?;
        check_text(&variable.description, 0, VALUE_CHARACTERS).map_err(|problem| (field("description"), problem))?;
        check_text(&variable.pattern, 0, PATTERN_CHARACTERS).map_err(|problem| (field("pattern"), problem))?;
        let pattern = compile(&variable.pattern).map_err(|problem| (field("pattern"), problem))?;
        let is_open = variable.required && variable.default.is_empty();
        if !is_open {
            check_value(&variable.default, &variable.pattern, &pattern).map_err(|problem| (field("default_value"), problem))?;
        }
    }
    Ok(())
}

/// The value of every variable: the given one or the default. Returns what is wrong with the first invalid one.
pub(crate) fn resolve(variables: &[Variable], given: &[(String, String)]) -> Result<Values, Problem> {
    for (index, (name, _)) in given.iter().enumerate() {
        if !variables.iter().any(|variable| variable.name == *name) {
            return Err((format!("values[{index}].name"), "must be a variable of the template".to_owned()));
        }
        if given[..index].iter().any(|(other, _)| other == name) {
            return Err((format!("values[{index}].name"), "must be given once".to_owned()));
        }
    }
    let mut values = Values::new();
    for variable in variables {
        let place = given.iter().position(|(name, _)| *name == variable.name);
        let field = place.map_or_else(|| "values".to_owned(), |index| format!("values[{index}].value"));
        let value = place.map(|index| given[index].1.as_str()).unwrap_or_default();
        let value = if value.is_empty() { variable.default.as_str() } else { value };
        if value.is_empty() && variable.required {
            return Err((field, format!("must have a value for {}", variable.name)));
        }
        let pattern = compile(&variable.pattern).map_err(|problem| (field.clone(), problem))?;
        check_value(value, &variable.pattern, &pattern).map_err(|problem| (field, format!("{problem}: {}", variable.name)))?;
        values.insert(variable.name.clone(), value.to_owned());
    }
    Ok(values)
}

/// Whether a text has the placeholder of one of the variables.
pub(crate) fn has_placeholder(text: &str, variables: &[Variable]) -> bool {
    variables.iter().any(|variable| text.contains(&format!("{MARK}{}{MARK}", variable.name)))
}

/// Fills values into a text. A value is not searched for placeholders.
pub(crate) fn fill(text: &str, values: &Values) -> String {
    pieces(text, values).collect()
}

/// The bytes of a text after [`fill`].
pub(crate) fn filled_bytes(text: &str, values: &Values) -> usize {
    pieces(text, values).map(str::len).sum()
}

/// The parts of a filled text: what is between the placeholders, and the values.
fn pieces<'a>(text: &'a str, values: &'a Values) -> impl Iterator<Item = &'a str> {
    let (mut rest, mut value) = (Some(text), None);
    std::iter::from_fn(move || {
        if let Some(value) = value.take() {
            return Some(value);
        }
        let text = rest?;
        let mut from = 0;
        while let Some(at) = text[from..].find(MARK).map(|at| from + at) {
            if let Some((name, found)) = values.iter().find(|(name, _)| is_at(text, at, name)) {
                (rest, value) = (Some(&text[at + 2 * MARK.len() + name.len()..]), Some(found.as_str()));
                return Some(&text[..at]);
            }
            // Of `%%%name%%` the first mark is no placeholder, but the second one is.
            from = at + 1;
        }
        rest = None;
        Some(text)
    })
}

/// Whether a mark is the beginning of a placeholder.
fn is_at(text: &str, at: usize, name: &str) -> bool {
    text[at + MARK.len()..].strip_prefix(name).is_some_and(|rest| rest.starts_with(MARK))
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARACTERS).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

fn check_text(text: &str, min: usize, max: usize) -> Result<(), String> {
    if !(min..=max).contains(&text.chars().count()) {
        return Err(format!("must be {min} to {max} characters"));
    }
    if text.chars().any(proto::text::is_misleading) {
        return Err("must hold no control characters and none that change the direction of the text".to_owned());
    }
    Ok(())
}

/// A pattern for whole values.
fn compile(pattern: &str) -> Result<Regex, String> {
    // By itself first, so that what is put around it cannot make it valid. One that is too large for this is valid.
    match RegexBuilder::new(pattern).size_limit(1).build() {
        Ok(_) | Err(regex::Error::CompiledTooBig(_)) => {}
        Err(_) => return Err("must be a regular expression".to_owned()),
    }
    let built = RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(COMPILED_BYTES).build();
    built.map_err(|_| format!("must need at most {COMPILED_BYTES} bytes after its compilation"))
}

fn check_value(value: &str, source: &str, pattern: &Regex) -> Result<(), String> {
    check_text(value, 0, VALUE_CHARACTERS)?;
    if source.is_empty() || value.is_empty() || pattern.is_match(value) { Ok(()) } else { Err(format!("must match {source}")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str, default: &str, pattern: &str, required: bool) -> Variable {
        Variable {
            name: name.into(),
            label: "A label".into(),
            description: String::new(),
            default: default.into(),
            pattern: pattern.into(),
            required,
        }
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_invalid_variable_is_named() {
        let good = variable("title", "My site", "", false);
        assert_eq!(check_variables(&[good.clone(), variable("colour", "#ff0000", "#[0-9a-f]{6}", true)]), Ok(()));
        assert_eq!(check_variables(&[variable("a", "", "x+", true), variable("b", "", "x+", false)]), Ok(()));
        for (bad, field) in [
            (variable("", "", "", false), "variables[1].name"),
            (variable("a-b", "", "", false), "variables[1].name"),
            (variable("1a", "", "", false), "variables[1].name"),
            (variable("title", "", "", false), "variables[1].name"),
            (Variable { label: String::new(), ..variable("a", "", "", false) }, "variables[1].label"),
            (variable("a", "", "(", false), "variables[1].pattern"),
            (variable("a", "", "a)|(b", false), "variables[1].pattern"),
            (variable("a", "", "(?:a{1000}){1000}", false), "variables[1].pattern"),
            (variable("a", "no", "yes", false), "variables[1].default_value"),
            (variable("a", "a\nb", "", false), "variables[1].default_value"),
            (variable("a", &"x".repeat(501), "", false), "variables[1].default_value"),
        ] {
            assert_eq!(check_variables(&[good.clone(), bad]).expect_err("invalid").0, field);
        }
        let many: Vec<_> = (0..=MAX_VARIABLES).map(|n| variable(&format!("v{n}"), "", "", false)).collect();
        assert_eq!(check_variables(&many).expect_err("too many").0, "variables");
    }

    #[test]
    fn a_value_is_given_or_the_default() {
        let variables = [variable("title", "My site", "", false), variable("colour", "", "#[0-9a-f]{2}", true)];
        let given = |pairs: &[(&str, &str)]| {
            resolve(&variables, &pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(given(&[("colour", "#ff")]), Ok(values(&[("title", "My site"), ("colour", "#ff")])));
        assert_eq!(given(&[("colour", "#ff"), ("title", "%%colour%%")]).expect("values")["title"], "%%colour%%");
        for (pairs, field) in [
            (&[][..], "values"),
            (&[("colour", "")], "values[0].value"),
            (&[("colour", "x#ff")], "values[0].value"),
            (&[("colour", "#ff\n")], "values[0].value"),
            (&[("colour", "#ff"), ("size", "1")], "values[1].name"),
            (&[("colour", "#ff"), ("colour", "#00")], "values[1].name"),
        ] {
            assert_eq!(given(pairs).expect_err("invalid").0, field, "{pairs:?}");
        }
    }

    #[test]
    fn placeholders_are_filled_once() {
        let known = values(&[("a", "%%b%%"), ("b", "2"), ("ab", "3")]);
        for (text, filled) in [
            ("", ""),
            ("%%a%%", "%%b%%"),
            ("x%%b%%y%%ab%%z", "x2y3z"),
            ("%%%b%%%", "%2%"),
            ("%%c%% %% %%b", "%%c%% %% %%b"),
            ("%%c%%b%%", "%%c2"),
            ("%%b%%b%%", "2b%%"),
            ("ü%%b%%ü", "ü2ü"),
        ] {
            assert_eq!(fill(text, &known), filled, "{text}");
            assert_eq!(filled_bytes(text, &known), filled.len(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_placeholders_stays(text in "[%ab ü]{0,20}") {
            let variables = [variable("ab", "", "", false)];
            let filled = fill(&text, &values(&[("ab", "X")]));
            prop_assert_eq!(filled != text, has_placeholder(&text, &variables));
        }
    }
}
