//! Files of Svelte and Vue. Their compilers turn them into scripts, which are then compiled as other scripts are, and into style sheets,
//! which are modules of their own. `maps`: from the code of a module to the lines of the file.

mod maps;

use compiler_client::message::{
    Facts, Finding, Module, Place,
    facts::{Kind, Named, Style},
    finding::code,
    tools::{SVELTE, VUE, packages_of},
};
use serde::Deserialize;
use serde_json::{Value, json};

use self::maps::{Part, Steps};
use super::{Source, data::quoted, script, tailwind};
use crate::{
    text::Text,
    tool::{Failure, Tools},
    tree::path,
};

/// The most warnings of one file.
const MAX_WARNINGS: usize = 10;
const LANGUAGES: [&str; 4] = ["js", "ts", "jsx", "tsx"];

/// The tool that compiles a file, if one does.
pub(crate) fn tool(path: &str) -> Option<&'static str> {
    match path::extension(path).as_str() {
        "svelte" => Some(SVELTE),
        "vue" => Some(VUE),
        _ if is_svelte_script(path) => Some(SVELTE),
        _ => None,
    }
}

/// A script in which Svelte's runes work.
fn is_svelte_script(path: &str) -> bool {
    path.ends_with(".svelte.js") || path.ends_with(".svelte.ts")
}

/// Whether a query names a style sheet in a file: `?0.css`, `?1.module.css`.
pub(crate) fn is_style(query: &str) -> bool {
    let number = query.strip_prefix('?').and_then(|rest| rest.split_once('.'));
    number.is_some_and(|(number, rest)| number.bytes().all(|byte| byte.is_ascii_digit()) && ["css", "module.css"].contains(&rest))
}

/// What a tool answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Output {
    code: String,
    language: String,
    styles: Vec<OutputStyle>,
    /// Where the code comes from, if the module can be exchanged.
    parts: Vec<Part>,
    warnings: Vec<Report>,
    error: Option<Report>,
    /// What to say of the configuration.
    notes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputStyle {
    text: String,
    /// The name of the script's variable for the classes.
    module: Option<String>,
    /// Lines of the file before the text.
    line: usize,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Report {
    code: String,
    message: String,
    line: u32,
    column: u32,
}

/// Compiles a file with its tool. `key` is the key of the module, and `configuration` that of Svelte.
pub(crate) fn compile(source: &Source, key: String, configuration: &Value, tools: &mut Tools) -> Module {
    let mut facts = Facts { path: source.path.to_owned(), key, ..Facts::default() };
    facts.set_kind(source.kind);
    let (code, map) = match super::readable(source) {
        Ok(text) => of_text((source, configuration), text, &mut facts, tools),
        Err(finding) => {
            facts.findings.push(finding);
            Default::default()
        }
    };
    super::finish(facts, code, map, source.options.is_bundled)
}

/// The facts of a file whose framework the project does not list.
pub(crate) fn without_package(path: &str, tool: &str) -> Facts {
    let package = packages_of(tool)[0];
    let message = format!("the file needs the package {package}, which is not in package.json");
    let finding = crate::text::finding(code::MISSING_PACKAGE, path, &crate::text::start(), &message);
    let help = format!("Add {package} to the dependencies in package.json.");
    Facts { path: path.to_owned(), findings: vec![Finding { help, ..finding }], is_open: true, ..Facts::default() }
}

/// A file that has no module because of a style sheet in it.
pub(crate) fn broken((path, kind): &(String, Kind), key: String, finding: Finding) -> Module {
    let mut facts = Facts { path: path.clone(), key, findings: vec![finding], is_open: true, ..Facts::default() };
    facts.set_kind(*kind);
    Module { facts: Some(facts), ..Module::default() }
}

/// The code of the module and its source map.
fn of_text((source, configuration): (&Source, &Value), text: &str, facts: &mut Facts, tools: &mut Tools) -> (String, String) {
    let lines = Text::new(text);
    if source.options.tailwind.is_some() {
        facts.words = tailwind::words(text);
    }
    let stripped = if source.path.ends_with(".svelte.ts") { script::without_types(source, text) } else { None };
    let output = match run(source, stripped.as_ref().map_or(text, |(stripped, _)| stripped), configuration, tools) {
        Ok(output) => output,
        Err(Failure(message)) => {
            let message = format!("the compiler of the framework has failed: {message}");
            facts.findings.push(lines.finding(code::TOOL_FAILED, source.path, &crate::text::start(), &message));
            return Default::default();
        }
    };
    let noted = output.notes.iter().map(|note| noted(configuration, note)).collect::<Vec<_>>();
    let is_svelte = tool(source.path) == Some(SVELTE);
    let found = |report: &Report, code| lines.finding(code, source.path, &lines.place_at(report.line, report.column), &report.message);
    if let Some(error) = &output.error {
        facts.findings.push(found(error, if is_svelte { code::SVELTE_SYNTAX } else { code::VUE_SYNTAX }));
        facts.findings.extend(noted);
        return Default::default();
    }
    // A selector without an element is no mistake.
    let warnings = output.warnings.iter().filter(|warning| warning.code != "css_unused_selector").take(MAX_WARNINGS);
    let warnings = warnings.map(|warning| Finding { is_warning: true, ..found(warning, code::SVELTE_WARNING) }).collect();
    let language = LANGUAGES.iter().find(|language| **language == output.language).copied().unwrap_or("js");
    let script = with_styles(source, &output, facts);
    let (code, map) = script::compile(source, &script, language, facts);
    place(&lines, text, facts);
    facts.findings.extend::<Vec<_>>(warnings);
    facts.findings.extend(noted);
    let steps = Steps {
        path: source.path,
        text,
        stripped: stripped.as_ref().map(|(_, map)| map.as_str()),
        code: &output.code,
        parts: &output.parts,
        added: output.styles.len(),
        module: &map,
    };
    let map = maps::combined(&steps).unwrap_or_default();
    (code, map)
}

/// A warning about the configuration.
fn noted(configuration: &Value, note: &str) -> Finding {
    let file = configuration["path"].as_str().unwrap_or_default();
    Finding { is_warning: true, ..crate::text::finding(code::UNSUPPORTED, file, &crate::text::start(), note) }
}

fn run(source: &Source, text: &str, configuration: &Value, tools: &mut Tools) -> Result<Output, Failure> {
    let is_module = is_svelte_script(source.path);
    let input = json!({
        "source": text,
        "configuration": configuration,
        "path": source.path,
        "id": &super::hash(source.path)[..8],
        "isModule": is_module,
        "isDevelopment": !source.options.is_production,
        "isHot": source.options.is_hot,
    });
    let output = tools.run(tool(source.path).unwrap_or_default(), &input)?;
    serde_json::from_value(output).map_err(|error| Failure(error.to_string()))
}

/// The script with imports of its style sheets, which are noted.
fn with_styles(source: &Source, output: &Output, facts: &mut Facts) -> String {
    let mut imports = String::new();
    for (at, style) in output.styles.iter().enumerate() {
        let query = format!("?{at}.{}", if style.module.is_some() { "module.css" } else { "css" });
        let specifier = quoted(&format!("/{}{query}", source.path));
        imports += &match &style.module {
            Some(name) => format!("import {name} from {specifier};\n"),
            None => format!("import {specifier};\n"),
        };
        facts.styles.push(Style { text: "\n".repeat(style.line) + &style.text, query });
    }
    imports + &output.code
}

/// Finds the places in the file of what was found in its script: the first time that the file has the name.
fn place(lines: &Text, text: &str, facts: &mut Facts) {
    let whole = |name: &str| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let mut places = text.match_indices(name).map(|(at, _)| at);
        places.find(|at| !text[..*at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part))
    };
    let at = |offset: Option<usize>| -> Place { offset.map_or_else(crate::text::start, |offset| lines.place(offset)) };
    for import in &mut facts.imports {
        let written = ['"', '\''].iter().find_map(|quote| text.find(&format!("{quote}{}{quote}", import.written)));
        import.place = Some(at(written.map(|offset| offset + 1)));
        for named in &mut import.names {
            named.place = Some(at(whole(&named.name).or(written)));
        }
    }
    facts.undefined.retain(|named| whole(&named.name).is_some());
    for named in &mut facts.undefined {
        named.place = Some(at(whole(&named.name)));
    }
    let is_element = |named: &&Named| text.contains(&format!("<{}", named.name));
    facts.components = facts.undefined.iter().filter(is_element).map(|named| named.name.clone()).collect();
    // The tool has compiled the elements.
    facts.jsx.clear();
    for member in facts.members.iter_mut().filter_map(|member| member.named.as_mut()) {
        member.place = Some(at(whole(&member.name)));
    }
    for finding in &mut facts.findings {
        let moved = lines.finding(&finding.code, &facts.path, &crate::text::start(), &finding.message);
        *finding = Finding { is_warning: finding.is_warning, help: std::mem::take(&mut finding.help), ..moved };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_decide_over_their_tool() {
        for (path, expected) in [
            ("src/A.svelte", Some(SVELTE)),
            ("src/a.svelte.ts", Some(SVELTE)),
            ("src/A.vue", Some(VUE)),
            ("src/a.ts", None),
            ("svelte.js", None),
        ] {
            assert_eq!(tool(path), expected, "{path}");
        }
        assert!(is_style("?0.css") && is_style("?12.module.css"));
        assert!(!is_style("?0.js") && !is_style("?x.css") && !is_style("") && !is_style("?0"));
    }
}
