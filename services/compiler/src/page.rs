//! `index.html`: what it loads, and the same page with other addresses. `assets`: attributes that name files.

mod assets;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use compiler_client::message::Place;
use lol_html::{
    RewriteStrSettings, element,
    errors::AttributeNameError,
    html_content::{ContentType, Element},
    rewrite_str, text,
};

use crate::{text::Text, tree::path};

/// Something in the page that another file may answer.
#[derive(Debug)]
pub(crate) struct Item {
    /// The number of the element.
    pub(crate) element: usize,
    pub(crate) role: Role,
    pub(crate) tag: String,
    pub(crate) attribute: &'static str,
    /// The number of the address in a list of addresses, else 0.
    pub(crate) at: usize,
    /// The address, or the text of an inline script.
    pub(crate) value: String,
    pub(crate) place: Place,
}

impl Item {
    /// Where its address is.
    pub(crate) fn spot(&self) -> Spot {
        (self.element, self.attribute, self.at)
    }
}

/// A place for an address: the number of an element, its attribute, and the number in a list of addresses, else 0.
pub(crate) type Spot = (usize, &'static str, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `<script type="module" src>`.
    Module,
    /// `<script type="module">` with its text.
    InlineModule,
    /// `<link rel="stylesheet">`.
    Sheet,
    /// A classic script with an address.
    Script,
    /// An image, an icon, a manifest.
    File,
}

/// The relations of a `<link>` whose file a browser loads.
const LOADED: [&str; 7] = ["icon", "stylesheet", "manifest", "apple-touch-icon", "mask-icon", "preload", "modulepreload"];

#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) items: Vec<Item>,
    /// Inline scripts that are no modules, with their texts.
    pub(crate) scripts: Vec<Item>,
    /// The text of the import map; empty if there is none.
    pub(crate) import_map: String,
    /// `<base href>` changes what addresses mean.
    pub(crate) has_base: bool,
    /// The text of the page.
    pub(crate) text: String,
    /// Ids of elements, which are names for scripts.
    pub(crate) ids: BTreeSet<String>,
    has_head: bool,
    /// Where the text of the current script belongs.
    inside: Inside,
}

/// A script whose text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Other,
    /// The last item.
    Module,
    /// The last of the inline scripts.
    Script,
    ImportMap,
}

/// What becomes of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Another address.
    Set(String),
    /// The element is removed.
    Remove,
}

pub(crate) type Edits = BTreeMap<Spot, Edit>;

/// Additions to the head of a page.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    /// Before everything that the page loads.
    pub(crate) start: String,
    /// At the end of the head.
    pub(crate) end: String,
}

impl Outline {
    /// Puts addresses in place of `%BASE_URL%`: the root for files of the tree, and `base` in scripts.
    pub(crate) fn fill(&mut self, base: &str) {
        for item in self.items.iter_mut().filter(|item| item.value.contains(path::BASE_URL)) {
            let address = if item.role == Role::InlineModule { base } else { "/" };
            item.value = item.value.replace(path::BASE_URL, address);
        }
    }
}

/// Reads a page. `Err` is a sentence.
pub(crate) fn read(html: &str) -> Result<Outline, String> {
    let lines = Text::new(html);
    let outline = RefCell::new(Outline { text: html.to_owned(), ..Outline::default() });
    let count = RefCell::new(0);
    let every = element!("*", |element| {
        let number = count.replace_with(|count| *count + 1);
        note(element, number, &lines, &mut outline.borrow_mut());
        Ok(())
    });
    let script = text!("script", |chunk| {
        let outline = &mut *outline.borrow_mut();
        let text = match outline.inside {
            Inside::Module => outline.items.last_mut().map(|item| &mut item.value),
            Inside::Script => outline.scripts.last_mut().map(|item| &mut item.value),
            Inside::ImportMap => Some(&mut outline.import_map),
            Inside::Other => None,
        };
        if let Some(text) = text {
            text.push_str(chunk.as_str());
        }
        Ok(())
    });
    rewrite(html, vec![every, script])?;
    Ok(outline.into_inner())
}

fn note(element: &Element, number: usize, lines: &Text, outline: &mut Outline) {
    let tag = element.tag_name();
    outline.has_head |= tag == "head";
    let value = |name: &str| element.get_attribute(name).map(|value| value.trim().to_owned());
    outline.ids.extend(value("id"));
    let place = lines.place(element.source_location().bytes().start);
    let item = |role, attribute, value| Item { element: number, role, tag: tag.clone(), attribute, at: 0, value, place: place.clone() };
    match tag.as_str() {
        "script" => {
            let kind = value("type").unwrap_or_default().to_ascii_lowercase();
            let is_code = ["", "text/javascript", "application/javascript"].contains(&kind.as_str());
            let src = value("src");
            outline.inside = match (kind.as_str(), &src) {
                ("module", None) => Inside::Module,
                ("importmap", None) => Inside::ImportMap,
                (_, None) if is_code => Inside::Script,
                _ => Inside::Other,
            };
            match (outline.inside, src) {
                (Inside::Module, _) => outline.items.push(item(Role::InlineModule, "src", String::new())),
                (Inside::Script, _) => outline.scripts.push(item(Role::Script, "src", String::new())),
                (_, Some(src)) if kind == "module" => outline.items.push(item(Role::Module, "src", src)),
                (_, Some(src)) if is_code => outline.items.push(item(Role::Script, "src", src)),
                _ => {}
            }
        }
        "link" => {
            let relation = value("rel").unwrap_or_default().to_ascii_lowercase();
            let is_loaded = relation.split_ascii_whitespace().any(|one| LOADED.contains(&one));
            let role = if relation == "stylesheet" { Role::Sheet } else { Role::File };
            if let Some(href) = value("href").filter(|_| is_loaded) {
                outline.items.push(item(role, "href", href));
            }
        }
        "base" => outline.has_base = true,
        _ => {}
    }
    let found = assets::of(&tag, &|name| element.get_attribute(name)).into_iter();
    outline.items.extend(found.map(|(attribute, at, value)| Item { at, ..item(Role::File, attribute, value) }));
}

/// Whether the address may name a file of the tree: it is no foreign one, and no template's.
pub(crate) fn is_own(address: &str) -> bool {
    !address.is_empty()
        && !address.starts_with('#')
        && !path::is_foreign(address)
        && !["{{", "<%", "$"].iter().any(|mark| address.contains(mark))
        && path::is_encoded(address)
}

/// Returns the page with the edits, and with the additions to its head.
pub(crate) fn write(html: &str, outline: &Outline, edits: &Edits, head: &Additions) -> Result<String, String> {
    let count = RefCell::new(0);
    let every = element!("*", |element| {
        let number = count.replace_with(|count| *count + 1);
        change(element, number, edits)?;
        if element.tag_name() == "head" {
            element.prepend(&head.start, ContentType::Html);
            element.append(&head.end, ContentType::Html);
        }
        Ok(())
    });
    let written = rewrite(html, vec![every])?;
    if outline.has_head {
        return Ok(written);
    }
    let is_doctype = written.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"));
    let at = if is_doctype { written.find('>').map_or(0, |at| at + 1) } else { 0 };
    Ok(format!("{}{}{}{}", &written[..at], head.start, head.end, &written[at..]))
}

/// Applies the edits of an element.
fn change(element: &mut Element, number: usize, edits: &Edits) -> Result<(), AttributeNameError> {
    for ((_, attribute, at), edit) in edits.range((number, "", 0)..(number + 1, "", 0)) {
        match edit {
            Edit::Set(address) if assets::is_list(attribute) => {
                let list = element.get_attribute(attribute).unwrap_or_default();
                element.set_attribute(attribute, &assets::with(&list, *at, address))?;
            }
            Edit::Set(address) => {
                element.set_attribute(attribute, address)?;
                if element.tag_name() == "script" {
                    element.set_inner_content("", ContentType::Text);
                }
            }
            Edit::Remove => element.remove(),
        }
    }
    Ok(())
}

type Handlers<'h> = Vec<(std::borrow::Cow<'h, lol_html::Selector>, lol_html::ElementContentHandlers<'h>)>;

fn rewrite(html: &str, handlers: Handlers<'_>) -> Result<String, String> {
    let settings = RewriteStrSettings { element_content_handlers: handlers, strict: false, ..RewriteStrSettings::default() };
    rewrite_str(html, settings).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<!doctype html>\n<html><head><link rel=icon href='/a.svg'><link rel=canonical href=/x></head>\n<body>\n\
        <script type=module src=/src/main.tsx></script><script type=module>import './a'; '</b>'</script><script>let a</script></body></html>";

    fn additions() -> Additions {
        Additions { start: "<meta>".to_owned(), end: "<link>".to_owned() }
    }

    #[test]
    fn what_a_page_loads_is_found_with_its_place() {
        let outline = read(PAGE).expect("a page");
        let found: Vec<_> = outline.items.iter().map(|item| (item.role, item.value.as_str(), item.place.line)).collect();
        let expected = [(Role::File, "/a.svg", 2), (Role::Module, "/src/main.tsx", 4), (Role::InlineModule, "import './a'; '</b>'", 4)];
        assert_eq!(found, expected);
        let scripts: Vec<_> = outline.scripts.iter().map(|script| script.value.as_str()).collect();
        assert_eq!((scripts, outline.ids), (vec!["let a"], BTreeSet::new()));
        assert_eq!(read("<p id=a><b id=\"b\">").expect("a page").ids, BTreeSet::from(["a", "b"].map(str::to_owned)));
    }

    #[test]
    fn a_page_is_changed_only_where_it_has_to_be() {
        let outline = read(PAGE).expect("a page");
        let edits = outline.items.iter().map(|item| (item.spot(), Edit::Set(format!("/{}", item.element)))).collect();
        let page = write(PAGE, &outline, &edits, &additions()).expect("a page");
        assert!(
            page.contains("<head><meta><link rel=icon href=\"/2\">")
                && page.contains("<link></head>")
                && page.contains("<link rel=canonical href=/x>"),
            "{page}"
        );
        assert!(page.contains("<script type=module src=\"/6\"></script><script>let a</script>"), "{page}");
        for (html, expected) in [("<p>", "<meta><link><p>"), ("<!DOCTYPE html><p>", "<!DOCTYPE html><meta><link><p>"), ("", "<meta><link>")]
        {
            assert_eq!(write(html, &read(html).expect("a page"), &Edits::new(), &additions()).expect("a page"), expected);
        }
    }
}
