//! Headings of Markdown.

use compiler_client::message::outline::SymbolKind;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::symbols::Found;

pub(super) fn read(text: &str, found: &mut Found) {
    // Fields at the start of a document are no heading.
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut heading: Option<String> = None;
    for (event, bytes) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let name = heading.take().unwrap_or_default();
                let last = text[bytes.clone()].trim_end().len();
                found.add(SymbolKind::Heading, &name, bytes.start..bytes.start + last, false);
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(name) = &mut heading {
                    name.push_str(&part);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(name) = &mut heading {
                    name.push(' ');
                }
            }
            _ => {}
        }
    }
}
