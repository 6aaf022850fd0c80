//! Pages, and files of Vue and Svelte: their scripts, ids and headings, and what a page loads.

use std::{cell::RefCell, ops::Range};

use compiler_client::message::outline::SymbolKind;
use lol_html::{RewriteStrSettings, element, html_content::Element, rewrite_str, text};

use crate::{module, symbols::Found};

const SCRIPTS: [&str; 4] = ["", "module", "text/javascript", "application/javascript"];
const LANGUAGES: [&str; 3] = ["ts", "tsx", "jsx"];

/// A script or a heading whose text is read.
struct Part {
    bytes: Range<usize>,
    text: Range<usize>,
    /// The extension of a script. A heading has none.
    extension: Option<String>,
}

#[derive(Default)]
struct Parts {
    ids: Vec<(String, usize)>,
    imports: Vec<(String, usize)>,
    parts: Vec<Part>,
}

pub(super) fn read(html: &str, found: &mut Found) {
    let parts = RefCell::new(Parts::default());
    let every = element!("*", |element| {
        note(element, &mut parts.borrow_mut());
        Ok(())
    });
    let texts = text!("script, h1, h2, h3, h4, h5, h6", |chunk| {
        let bytes = chunk.source_location().bytes();
        if let Some(part) = parts.borrow_mut().parts.last_mut() {
            let start = if part.text.is_empty() { bytes.start } else { part.text.start };
            part.text = start..bytes.end.max(start);
        }
        Ok(())
    });
    let settings = RewriteStrSettings { element_content_handlers: vec![every, texts], strict: false, ..RewriteStrSettings::default() };
    // What was found before an error stays.
    let _ = rewrite_str(html, settings);
    let Parts { ids, imports, parts } = parts.into_inner();
    for (id, offset) in ids {
        found.add(SymbolKind::ElementId, &id, offset..offset + 1, false);
    }
    for (specifier, offset) in imports {
        found.import(&specifier, offset);
    }
    for part in parts {
        let Some(text) = html.get(part.text.clone()) else { continue };
        match &part.extension {
            Some(extension) => {
                found.begin_part(part.text.start);
                module::script_outline::read(text, extension, found);
                found.begin_part(0);
            }
            None => drop(found.add(SymbolKind::Heading, &plain(text), part.bytes.start..part.text.end.max(part.bytes.end), false)),
        }
    }
}

fn note(element: &Element, parts: &mut Parts) {
    let bytes = element.source_location().bytes();
    let tag = element.tag_name();
    let value = |name: &str| element.get_attribute(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    // Svelte and templates write expressions in braces.
    if let Some(id) = value("id").filter(|id| !id.contains('{')) {
        parts.ids.push((id, bytes.start));
    }
    let is_heading = ["h1", "h2", "h3", "h4", "h5", "h6"].contains(&tag.as_str());
    let kind = value("type").unwrap_or_default().to_ascii_lowercase();
    let loaded = match tag.as_str() {
        "script" => value("src"),
        "link" if value("rel").is_some_and(|rel| rel.eq_ignore_ascii_case("stylesheet")) => value("href"),
        _ => None,
    };
    parts.imports.extend(loaded.map(|specifier| (specifier, bytes.start)));
    if is_heading || tag == "script" {
        let language = value("lang").filter(|language| LANGUAGES.contains(&language.as_str()));
        let is_script = tag == "script" && SCRIPTS.contains(&kind.as_str());
        // JSON in a script has a part, too, so that its text does not join another one.
        let extension = if is_script { language.unwrap_or_else(|| "js".to_owned()) } else { String::new() };
        parts.parts.push(Part { text: bytes.end..bytes.end, bytes, extension: (!is_heading).then_some(extension) });
    }
}

/// The text without tags and repeated white space.
fn plain(text: &str) -> String {
    let mut is_tag = false;
    let outside = text.chars().filter(|c| {
        let was_tag = is_tag;
        is_tag = *c == '<' || is_tag && *c != '>';
        !was_tag && *c != '<'
    });
    outside.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}
