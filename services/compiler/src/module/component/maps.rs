//! The source map of a component: from the code of its module, over the code that its tool has written, to the file.

use oxc_sourcemap::{ConcatSourceMapBuilder, SourceMap, SourceMapBuilder};
use rolldown_sourcemap::collapse_sourcemaps;
use serde::Deserialize;

/// Where a part of the code of a tool comes from.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    /// Lines of the code before the part.
    line: usize,
    /// A source map as JSON; empty if the part is a copy.
    map: String,
    copy: Copied,
}

/// A text that the tool has copied from the file. Lines and columns begin at 0.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Copied {
    line: u32,
    column: u32,
    /// How many lines it has.
    count: usize,
}

/// How a module came from its file.
pub(super) struct Steps<'s> {
    pub(super) path: &'s str,
    pub(super) text: &'s str,
    /// The map of the text that the tool got, if types were removed before.
    pub(super) stripped: Option<&'s str>,
    /// The code of the tool.
    pub(super) code: &'s str,
    pub(super) parts: &'s [Part],
    /// Lines that were added before the code of the tool.
    pub(super) added: usize,
    /// The map of the module, whose source is the code with these lines.
    pub(super) module: &'s str,
}

/// The map as JSON. `None` if a tool gives none.
pub(super) fn combined(steps: &Steps) -> Option<String> {
    let lines: Vec<&str> = steps.code.lines().collect();
    let mut maps = Vec::new();
    for part in steps.parts {
        let at = part.line.min(lines.len());
        let map = if part.map.is_empty() { part.copy.map(&lines[at..]) } else { SourceMap::from_json_string(&part.map).ok()? };
        maps.push((map, u32::try_from(at + steps.added).ok()?));
    }
    if maps.is_empty() {
        return None;
    }
    let borrowed: Vec<_> = maps.iter().map(|(map, line)| (map, *line)).collect();
    let written = ConcatSourceMapBuilder::from_sourcemaps(&borrowed).into_sourcemap();
    let module = SourceMap::from_json_string(steps.module).ok()?;
    let stripped = steps.stripped.map(SourceMap::from_json_string).transpose().ok()?;
    let chain: Vec<_> = stripped.iter().chain([&written, &module]).collect();
    let whole = collapse_sourcemaps(&chain);
    // Each part names the file as another source.
    let name = format!("/{}", steps.path);
    let mut map = SourceMapBuilder::default();
    let file = map.add_source_and_content(&name, steps.text);
    for token in whole.get_tokens() {
        let source = token.get_source_id().map(|_| file);
        map.add_token(token.get_dst_line(), token.get_dst_col(), token.get_src_line(), token.get_src_col(), source, None);
    }
    Some(map.into_sourcemap().to_json_string())
}

impl Copied {
    /// A map of the words of the lines.
    fn map(&self, lines: &[&str]) -> SourceMap<'static> {
        let mut map = SourceMapBuilder::default();
        let file = map.add_source_and_content("", "");
        for (at, line) in (0..).zip(lines.iter().take(self.count)) {
            let (mut column, mut is_inside) = (0_u32, false);
            for c in line.chars() {
                let is_word = c.is_alphanumeric() || c == '_' || c == '$';
                if column == 0 || !(is_word && is_inside) {
                    let first = if at == 0 { self.column } else { 0 };
                    map.add_token(at, column, self.line.saturating_add(at), first.saturating_add(column), Some(file), None);
                }
                is_inside = is_word;
                column = column.saturating_add(u32::from(c.len_utf16() as u8));
            }
        }
        map.into_owned_sourcemap().into_inner()
    }
}
