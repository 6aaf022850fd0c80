//! Outlines of files: what each one declares and imports. An outline is a function of the content and the extension.
//!
//! - [`markup`]: pages, and files of Vue and Svelte. [`style`]: classes of style sheets.
//! - [`markdown`]: headings. [`grammar`]: Python, Rust and Go.
//! - Scripts and JSON are read by `module::script_outline`.

mod grammar;
mod markdown;
mod markup;
mod style;

use compiler_client::message::{
    File,
    outline::{FileOutline, MAX_BYTES, OutlineAnswer, OutlineRequest, extension, language},
};

use crate::{module, symbols::Found};

/// Outlines the files of a request. `progress` gets the path of each file before it is read.
pub fn outline(request: OutlineRequest, progress: &mut dyn FnMut(&str)) -> OutlineAnswer {
    let outlines = request.files.into_iter().map(|file| {
        progress(&file.path);
        FileOutline { id: file.id.clone(), ..of_file(&file).unwrap_or_default() }
    });
    OutlineAnswer { outlines: outlines.collect() }
}

/// `None` if the file has no outline.
fn of_file(file: &File) -> Option<FileOutline> {
    let language = language(&file.path)?;
    let content = file.content.as_deref().filter(|content| content.len() as u64 <= MAX_BYTES)?;
    let text = std::str::from_utf8(content).ok().filter(|text| !text.contains('\0'))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if module::is_too_deep(text) {
        return None;
    }
    let mut found = Found::new(text);
    match language {
        "javascript" | "typescript" => module::script_outline::read(text, &extension(&file.path), &mut found),
        "json" => module::script_outline::read_json(text, &mut found),
        "html" | "vue" | "svelte" => markup::read(text, &mut found),
        "css" | "scss" => style::read(text, language == "scss", &mut found),
        "markdown" => markdown::read(text, &mut found),
        _ => grammar::read(language, text, &mut found),
    }
    Some(found.finish(language))
}

#[cfg(test)]
mod tests;
