//! The style sheets of packages for SCSS and Sass of a project.

use std::collections::BTreeSet;

use compiler_client::message::{Package, PackageModule, PackagesAnswer, finding::code};
use serde_json::Value;

use super::{files::Files, notes::Notes};
use crate::{
    module::{
        self,
        scss::{is_scss, is_sheet},
    },
    tool::sheets::{Sheets, package},
    tree::path,
};

/// The most bytes of the sheets of one package and of what it depends on.
const MAX_BYTES: usize = 8 << 20;

/// The sheets of each specifier that names those of a package. One that is not installed has a finding.
pub(super) fn answer(files: &Files, specifiers: &BTreeSet<String>, notes: &Notes) -> PackagesAnswer {
    let mut answer = PackagesAnswer::default();
    for (specifier, package) in specifiers.iter().filter_map(|specifier| Some((specifier, package(specifier)?))) {
        if !files.has_package(package) {
            notes.add(code::MISSING_PACKAGE, "", &format!("the package {package} is not installed"));
            continue;
        }
        let Some(sheets) = collect(files) else {
            let message = format!("the style sheets of {package} and of what it depends on have more than {MAX_BYTES} bytes");
            notes.add(code::PACKAGES_TOO_LARGE, "", &message);
            continue;
        };
        let code = serde_json::to_string(&sheets).unwrap_or_default();
        let url = format!("@m/{}.js", module::hash(&code));
        answer.packages.push(Package { specifier: specifier.clone(), url: url.clone(), exports: Vec::new() });
        answer.modules.push(PackageModule { url, code: code.into() });
    }
    answer
}

/// All sheets of SCSS and Sass, and the CSS for which there is room, small files first. `None` if the former are too large.
fn collect(files: &Files) -> Option<Sheets> {
    let texts = files.paths().filter_map(|path| Some((path, std::str::from_utf8(&files.content(path)?.bytes).ok()?)));
    let (sass, others): (Vec<_>, Vec<_>) = texts.filter(|(path, _)| is_sheet(path)).partition(|(path, _)| is_scss(path));
    let mut room = MAX_BYTES.checked_sub(sass.iter().map(|(_, text)| text.len()).sum())?;
    let mut css: Vec<_> = others.into_iter().filter(|(path, _)| !files.is_minified_copy(path)).collect();
    css.sort_by_key(|(path, text)| (text.len(), *path));
    css.retain(|(_, text)| {
        let fits = text.len() <= room;
        room -= if fits { text.len() } else { 0 };
        fits
    });
    let mut sheets = Sheets::default();
    sheets.files.extend(sass.into_iter().chain(css).map(|(path, text)| (path.to_owned(), text.to_owned())));
    let manifests = files.paths().filter(|path| path.ends_with("/package.json"));
    for manifest in manifests.filter(|path| is_root(path)) {
        add_names(files, &mut sheets, path::folder(manifest).trim_start_matches("node_modules/"), manifest);
    }
    Some(sheets)
}

/// Whether a `package.json` is that of a package which the project or another package can name.
fn is_root(manifest: &str) -> bool {
    let name = path::folder(manifest).strip_prefix("node_modules/").unwrap_or_default();
    !name.is_empty() && name.matches('/').count() == usize::from(name.starts_with('@'))
}

/// Adds what the `package.json` of a package says of its sheets: `sass`, `style`, and `exports` with the condition `sass`.
fn add_names(files: &Files, sheets: &mut Sheets, package: &str, manifest: &str) {
    let manifest = files.content(manifest).and_then(|content| serde_json::from_slice::<Value>(&content.bytes).ok()).unwrap_or_default();
    let mut specifiers = vec![package.to_owned()];
    let exported = manifest["exports"].as_object().into_iter().flatten();
    for (key, target) in exported.filter_map(|(key, target)| Some((key.strip_prefix("./")?, target))) {
        match key.split_once('*') {
            None => specifiers.push(format!("{package}/{key}")),
            Some((start, end)) => {
                let stars = stars(sheets, package, target);
                specifiers.extend(stars.iter().map(|star| format!("{package}/{start}{star}{end}")));
            }
        }
    }
    let found = specifiers.into_iter().filter_map(|specifier| Some((files.find_sheet(&specifier)?, specifier)));
    let found: Vec<_> = found.filter(|(path, _)| sheets.files.contains_key(path)).collect();
    sheets.names.extend(found.into_iter().map(|(path, specifier)| (specifier, path)));
}

/// What `*` stands for in the targets of a pattern, for each sheet that one of them names.
fn stars(sheets: &Sheets, package: &str, target: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![target];
    while let Some(target) = open.pop() {
        match target {
            Value::Array(all) => open.extend(all),
            Value::Object(all) => open.extend(all.values()),
            Value::String(pattern) => {
                let Some((start, end)) = pattern.strip_prefix("./").and_then(|pattern| pattern.split_once('*')) else { continue };
                let start = format!("node_modules/{package}/{start}");
                let named = sheets.files.keys().filter_map(|path| path.strip_prefix(&start)?.strip_suffix(end));
                found.extend(named.map(str::to_owned));
            }
            _ => {}
        }
    }
    found
}
