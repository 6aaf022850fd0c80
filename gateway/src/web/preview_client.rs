//! The script that compiled pages get: it reports errors to the page that frames the preview, and updates the preview after a commit.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

const CODE: &str = include_str!("preview_client.js");
const HOT: &str = include_str!("preview_hot.js");
/// Replaced by the part that exchanges modules.
const HOT_PLACE: &str = "/* hot */";
/// Replaced by the origins of the first page.
const ORIGINS: &str = "/* origins */";
/// Where the address begins, below the base of a preview.
const ADDRESS: &str = "@b/client-";
/// What the compiler puts at the start of the head.
const IMPORT_MAP: &str = "<script type=\"importmap\">";
/// What follows it there, with the ends.
const PARTS: [(&str, &str); 3] = [
    ("<script type=\"application/json\" data-backlot>", "</script>"),
    ("<script type=\"module\" src=\"", "\" data-backlot></script>"),
    ("<link rel=\"modulepreload\" href=\"", "\">"),
];
const MODULES: &str = "@m/";

/// Where a page is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The path of the preview's root.
    pub(crate) base: &'a str,
    /// The revision that it was read at; empty for the files of a turn.
    pub(crate) revision: &'a str,
}

/// The script, and its address, which has a hash of the text.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: String,
    text: Bytes,
}

impl Client {
    /// `origins`: those of the pages that may frame a preview and talk to it.
    pub(crate) fn new(origins: &[String]) -> Self {
        let origins: Vec<String> = origins.iter().map(|origin| format!("{origin:?}")).collect();
        let text = CODE.replacen(HOT_PLACE, HOT, 1).replacen(ORIGINS, &origins.join(", "), 1);
        Self { address: format!("{ADDRESS}{}.js", hash(&[&text])), text: text.into() }
    }

    /// The script, if the path is an address of it, and whether the address has the hash of this text. A replica of another release may have
    /// written the page; it gets this script.
    pub(crate) fn script(&self, path: &str) -> Option<(Bytes, bool)> {
        let is_script = path.starts_with(ADDRESS) && path.ends_with(".js");
        is_script.then(|| (self.text.clone(), path == self.address))
    }

    /// The page with the script before everything else that it loads.
    pub(crate) fn insert(&self, html: &str, at: &Place<'_>) -> String {
        let tag = self.tag(&format!("data-page=\"{}\"", outline_hash(html)), at);
        match html.split_once(IMPORT_MAP) {
            Some((start, rest)) => format!("{start}{tag}{IMPORT_MAP}{rest}"),
            None => format!("{html}{tag}"),
        }
    }

    /// The page of errors with the script, which loads the page again once it changes.
    pub(crate) fn insert_into_errors(&self, html: &str, at: &Place<'_>) -> String {
        html.to_owned() + &self.tag(&format!("data-page=\"{}\" data-errors", hash(&[html])), at)
    }

    /// A page of plain files with the script before everything that it loads. The script loads the page again after each change.
    pub(crate) fn insert_into_plain(&self, html: &str, at: &Place<'_>) -> String {
        let (start, rest) = html.split_at(head_start(html));
        format!("{start}{}{rest}", self.tag(&format!("data-base=\"{}\"", at.base), at))
    }

    fn tag(&self, data: &str, Place { base, revision }: &Place<'_>) -> String {
        // The files of a turn have no revision, and are not followed.
        let revision = if revision.is_empty() { String::new() } else { format!(" data-revision=\"{revision}\"") };
        format!("<script src=\"{base}{}\" {data}{revision} crossorigin></script>", self.address)
    }

    /// The tag of a page that has the script.
    pub(crate) fn etag(&self, page: &str, at: &Place<'_>) -> String {
        format!("\"{}\"", hash(&[page, &self.address, at.revision]))
    }
}

/// Where the first element of the head begins: after white space, comments, the document type, `<html>` and `<head>`.
fn head_start(html: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = html[at..].trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}');
        let start = html.len() - rest.len();
        let is_tag = |name: &str| {
            let named = rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
            named && rest[name.len()..].starts_with(|c: char| c.is_ascii_whitespace() || c == '>')
        };
        let end = if rest.starts_with("<!--") {
            rest.find("-->").map(|end| end + 3)
        } else if ["<!doctype", "<html", "<head"].into_iter().any(is_tag) {
            rest.find('>').map(|end| end + 1)
        } else {
            None
        };
        let Some(end) = end else { return at };
        at = start + end;
        if is_tag("<head") {
            return at;
        }
    }
}

/// A hash of the page without what the script can exchange or compares itself: the import map and what follows it, and the names of modules.
fn outline_hash(html: &str) -> String {
    let (start, rest) = html.split_once(IMPORT_MAP).unwrap_or((html, ""));
    let mut rest = rest.split_once("</script>").map_or(rest, |(_, rest)| rest);
    while let Some(next) = PARTS.iter().find_map(|(start, end)| Some(rest.strip_prefix(start)?.split_once(end)?.1)) {
        rest = next;
    }
    let mut parts = vec![start];
    for (at, part) in rest.split(MODULES).enumerate() {
        let name = if at > 0 { part.find('"').unwrap_or(part.len()) } else { 0 };
        parts.push(&part[name..]);
    }
    hash(&parts)
}

/// 24 hexadecimal digits.
fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(map: &str, preload: &str, sheet: &str, title: &str) -> String {
        format!(
            "<head><script type=\"importmap\">{map}</script><script type=\"application/json\" data-backlot>{map}</script>\
             <script type=\"module\" src=\"/@m/{preload}.js\" data-backlot></script><link rel=\"modulepreload\" href=\"/@m/{preload}.js\">\
             <title>{title}</title><link rel=stylesheet href=\"/@m/{sheet}.css\"></head><script src=\"/@m/{sheet}.js\"></script>"
        )
    }

    const ROOT: Place<'_> = Place { base: "/", revision: "" };

    #[test]
    fn the_outline_does_not_depend_on_what_the_script_exchanges() {
        let first = outline_hash(&page("{}", "a", "b", "Fruit"));
        assert_eq!(outline_hash(&page("{\"imports\":{}}", "c", "d", "Fruit")), first);
        assert_ne!(outline_hash(&page("{}", "a", "b", "Trees")), first);
        assert_ne!(outline_hash("<p>"), outline_hash("<h1>"));
    }

    #[test]
    fn the_script_is_first_and_its_address_depends_on_the_origins() {
        let client = Client::new(&["https://a.example".to_owned()]);
        let html = client.insert(&page("{}", "a", "b", "Fruit"), &Place { base: "/p/x/", revision: "" });
        assert!(html.starts_with(&format!("<head><script src=\"/p/x/{}\" data-page=", client.address)), "{html}");
        assert_ne!(client.address, Client::new(&["https://b.example".to_owned()]).address);
        assert!(String::from_utf8_lossy(&client.text).contains("const ORIGINS = [\"https://a.example\"];"));
        assert!(client.insert("<p>", &ROOT).starts_with("<p><script src"));
        assert!(client.insert_into_errors("<p>", &ROOT).contains(" data-errors "));
        assert_ne!(client.etag("a", &ROOT), client.etag("b", &ROOT));
    }

    #[test]
    fn a_page_of_a_revision_names_it_and_that_of_a_turn_does_not() {
        let (client, first) = (Client::new(&[]), Place { revision: "aa", ..ROOT });
        for insert in [Client::insert, Client::insert_into_errors, Client::insert_into_plain] {
            assert!(insert(&client, "<p>", &first).contains(" data-revision=\"aa\" crossorigin>"));
            assert!(!insert(&client, "<p>", &ROOT).contains("data-revision"));
        }
        // Else a browser would keep a page that names an older revision.
        assert_ne!(client.etag("a", &first), client.etag("a", &Place { revision: "bb", ..ROOT }));
    }

    #[test]
    fn the_script_of_a_plain_page_is_first_in_its_head() {
        for (html, start) in [
            ("<!DOCTYPE html>\n<!-- <head> -->\n<html lang=\"en\">\n<head>", "<title>"),
            ("<!doctype html><html>", "<header>"),
            ("\u{feff} <!doctype html>", "\n<p>"),
            ("", "<p><head>"),
            ("", "<!-- open"),
            ("", ""),
        ] {
            assert_eq!(head_start(&format!("{html}{start}")), html.len(), "{html}{start}");
        }
        let page = Client::new(&[]).insert_into_plain("<!doctype html><title>a</title>", &Place { base: "/p/", revision: "" });
        assert!(page.starts_with("<!doctype html><script src=\"/p/@b/client-") && page.ends_with(" crossorigin></script><title>a</title>"));
    }

    #[test]
    fn only_the_current_address_is_kept_for_ever() {
        let client = Client::new(&[]);
        let kept = |path: &str| client.script(path).map(|(_, is_current)| is_current);
        assert_eq!(
            (kept(&client.address), kept("@b/client-0.js"), kept("@b/client"), kept("src/x.js")),
            (Some(true), Some(false), None, None)
        );
    }
}
