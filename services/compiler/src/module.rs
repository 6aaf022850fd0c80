//! One file to one ECMAScript module: a function of path, content and options.

pub(crate) mod component;
mod css;
mod data;
pub(crate) mod helpers;
mod identifier;
pub(crate) mod marks;
pub(crate) mod options;
mod script;
pub(crate) mod scss;
pub(crate) mod tailwind;
pub(crate) mod worker;

pub(crate) use self::{
    css::imports_end,
    data::invalid as invalid_json,
    script::{GLOB_PREFIX, Surface, classic, hot_import, is_of_tools, outline as script_outline, runner, strings, surface},
};

use compiler_client::message::{Facts, Module, facts::Kind, finding::code};
use sha2::{Digest, Sha256};

use self::options::Options;
use crate::{text, tree::path};

/// The largest script, style sheet or JSON file, in bytes.
pub(crate) const MAX_SOURCE: u64 = 4 << 20;
/// Brackets that are open at once. Deeper text is refused before a parser can exhaust its stack.
const MAX_DEPTH: usize = 1_500;
/// Those of a style sheet. Its printer counts the columns of nested rules in one byte.
const MAX_SHEET_DEPTH: usize = 100;
/// How many style sheets one sheet of a site imports under conditions, each as often as it is imported. The others are left out.
pub(crate) const MAX_INLINED: usize = 500;
/// Where the files of a bundle are.
pub(crate) const ASSETS: &str = "assets/";
/// Characters of an id in the name of a file of a bundle.
const BUNDLED_ID: usize = 16;
const SCRIPTS: [&str; 8] = ["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx"];
/// Kinds of files that need a compiler which is not here.
const UNSUPPORTED: [&str; 5] = ["astro", "less", "styl", "mdx", "coffee"];

/// A file to compile.
pub(crate) struct Source<'s> {
    pub(crate) path: &'s str,
    pub(crate) kind: Kind,
    /// The name of the content.
    pub(crate) id: &'s str,
    pub(crate) content: &'s [u8],
    pub(crate) options: &'s Options,
}

pub(crate) fn is_script(path: &str) -> bool {
    SCRIPTS.contains(&path::extension(path).as_str())
}

/// Whether a file of Svelte or Vue has script and style in one.
pub(crate) fn is_component(path: &str) -> bool {
    ["svelte", "vue"].contains(&path::extension(path).as_str())
}

/// What becomes of a file that is imported with this query, or why it cannot be imported.
pub(crate) fn kind(path: &str, query: &str) -> Result<Kind, String> {
    let extension = path::extension(path);
    if worker::Form::of(query).is_some() {
        return worker::kind(path);
    }
    match query {
        "?raw" => Ok(Kind::Raw),
        "?url" | "?no-inline" => Ok(Kind::Address),
        "?inline" if extension == "css" || scss::is_scss(path) => Ok(Kind::Inline),
        "?inline" => Ok(Kind::Address),
        "" if UNSUPPORTED.contains(&extension.as_str()) => Err(format!(".{extension} files are not compiled")),
        "" if is_script(path) || is_component(path) || scss::is_scss(path) || ["css", "json"].contains(&extension.as_str()) => {
            Ok(Kind::Module)
        }
        "" => Ok(Kind::Address),
        style if is_component(path) && component::is_style(style) => Ok(Kind::Module),
        other => Err(format!("the query {other} is not supported")),
    }
}

/// Whether the module needs the content. An address needs only its name.
pub(crate) fn reads_content(kind: Kind) -> bool {
    kind != Kind::Address
}

/// The key of a module: whatever changes its facts or its code changes it. The options have the release of the compiler.
pub(crate) fn key(path: &str, kind: Kind, id: &str, options: &Options) -> String {
    let parts = [path, id, &format!("{kind:?} {options:?}")];
    hash(&parts.join("\0"))
}

/// The hash of a text in addresses and keys.
pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// The address of a file of the tree. In a bundle it has the name of the file.
pub(crate) fn address(path: &str, id: &str, is_bundled: bool) -> String {
    let safe = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let (id, extension) = (safe(id), path::extension(path));
    if !is_bundled {
        return format!("@a/{id}.{extension}");
    }
    let stem = path.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
    let id = &id[..id.len().min(BUNDLED_ID)];
    format!("{ASSETS}{}-{id}.{extension}", safe(stem))
}

pub(crate) fn compile(source: &Source) -> Module {
    let mut facts = Facts { path: source.path.to_owned(), ..Facts::default() };
    facts.set_kind(source.kind);
    let (code, map) = match source.kind {
        Kind::Address => (data::address(source), String::new()),
        _ => match readable(source) {
            Err(finding) => {
                facts.findings.push(finding);
                Default::default()
            }
            Ok(text) => of_text(source, text, &mut facts),
        },
    };
    facts.key = key(source.path, source.kind, source.id, source.options);
    finish(facts, code, map, source.options.is_bundled)
}

fn of_text(source: &Source, text: &str, facts: &mut Facts) -> (String, String) {
    match (source.kind, path::extension(source.path).as_str()) {
        (Kind::Raw, _) => (data::raw(text), String::new()),
        (_, "css" | "scss" | "sass") => (css::compile(source, text, facts), String::new()),
        (_, "json") => (data::json(source, text, facts), String::new()),
        (_, extension) => {
            if source.options.tailwind.is_some() {
                facts.words = tailwind::words(text);
            }
            script::compile(source, text, extension, facts)
        }
    }
}

/// The text of a file that a parser may read.
pub(crate) fn readable<'s>(source: &Source<'s>) -> Result<&'s str, compiler_client::message::Finding> {
    let refuse = |code, message: &str| Err(text::finding(code, source.path, &text::start(), message));
    if source.content.len() as u64 > MAX_SOURCE {
        return refuse(code::FILE_TOO_LARGE, &format!("the file has {} bytes, more than {MAX_SOURCE}", source.content.len()));
    }
    let Ok(text) = std::str::from_utf8(source.content) else {
        return refuse(code::INVALID_TEXT, "the file is not UTF-8");
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let most = if path::extension(source.path) == "css" || scss::is_scss(source.path) { MAX_SHEET_DEPTH } else { MAX_DEPTH };
    if source.kind != Kind::Raw && depth(text) > most {
        return refuse(code::NESTED_TOO_DEEPLY, &format!("more than {most} brackets are open at once"));
    }
    Ok(text)
}

/// Whether a text has more open brackets than a parser can read.
pub(crate) fn is_too_deep(text: &str) -> bool {
    depth(text) > MAX_DEPTH
}

/// The most brackets that are open at once, without regard to strings and comments.
fn depth(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Finds the places in a file of what was found in the style sheet that was made of it. Warnings about the sheet are left out.
pub(crate) fn place_in(facts: &mut Facts, text: &str) {
    let lines = text::Text::new(text);
    facts.findings.retain(|finding| !finding.is_warning);
    for finding in &mut facts.findings {
        *finding = lines.finding(&finding.code, &finding.file, &text::start(), &finding.message);
    }
    for import in &mut facts.imports {
        import.place = Some(lines.place(text.find(&import.written).unwrap_or_default()));
    }
}

/// Names the code by its content.
fn finish(mut facts: Facts, mut code: String, map: String, is_bundled: bool) -> Module {
    let is_broken = facts.findings.iter().any(|finding| !finding.is_warning);
    if is_broken || facts.is_tailwind || code.is_empty() && facts.kind() != Kind::Module {
        return Module { facts: Some(facts), ..Module::default() };
    }
    if facts.kind() == Kind::Worker && !is_bundled {
        facts.marked = code;
        return Module { facts: Some(facts), ..Module::default() };
    }
    // Two files with one code are two modules.
    let name = hash(&format!("{}\0{code}", facts.path));
    if !map.is_empty() {
        code.push_str(&format!("\n//# sourceMappingURL={name}.js.map\n"));
    }
    facts.url = format!("@m/{name}.js");
    Module { facts: Some(facts), code, map }
}
