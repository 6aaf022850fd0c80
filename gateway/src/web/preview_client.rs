//! The script that compiled pages get: it reports errors to the page that frames the preview, and updates the preview after a commit.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

const CODE: &str = include_str!("preview_client.js");
/// Replaced by the origins of the first page.
const ORIGINS: &str = "/* origins */";
/// Where the address begins, below the base of a preview.
const ADDRESS: &str = "@b/client-";
/// What the compiler puts at the start of the head.
const IMPORT_MAP: &str = "<script type=\"importmap\">";
const PRELOAD: &str = "<link rel=\"modulepreload\" href=\"";
const MODULES: &str = "@m/";

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
        let text = CODE.replacen(ORIGINS, &origins.join(", "), 1);
        Self { address: format!("{ADDRESS}{}.js", hash(&[&text])), text: text.into() }
    }

    /// The script, if the path is an address of it, and whether the address has the hash of this text. A replica of another release may have
    /// written the page; it gets this script.
    pub(crate) fn script(&self, path: &str) -> Option<(Bytes, bool)> {
        let is_script = path.starts_with(ADDRESS) && path.ends_with(".js");
        is_script.then(|| (self.text.clone(), path == self.address))
    }

    /// The page with the script before everything else that it loads. `base` is the path of the preview's root.
    pub(crate) fn insert(&self, html: &str, base: &str) -> String {
        let tag = format!("<script src=\"{base}{}\" data-page=\"{}\" crossorigin></script>", self.address, outline_hash(html));
        match html.split_once(IMPORT_MAP) {
            Some((start, rest)) => format!("{start}{tag}{IMPORT_MAP}{rest}"),
            None => format!("{html}{tag}"),
        }
    }

    /// The page of errors with the script, which loads the page again once it changes.
    pub(crate) fn insert_into_errors(&self, html: &str, base: &str) -> String {
        format!("{html}<script src=\"{base}{}\" data-page=\"{}\" data-errors crossorigin></script>", self.address, hash(&[html]))
    }

    /// The tag of a page that has the script.
    pub(crate) fn etag(&self, page: &str) -> String {
        format!("\"{}\"", hash(&[page, &self.address]))
    }
}

/// A hash of the page without what the script can exchange: the import map, what is loaded early, and the names of style sheets.
fn outline_hash(html: &str) -> String {
    let (start, rest) = html.split_once(IMPORT_MAP).unwrap_or((html, ""));
    let mut rest = rest.split_once("</script>").map_or(rest, |(_, rest)| rest);
    while let Some((_, next)) = rest.strip_prefix(PRELOAD).and_then(|link| link.split_once("\">")) {
        rest = next;
    }
    let mut parts = vec![start];
    for (at, part) in rest.split(MODULES).enumerate() {
        let name = part.find('"').unwrap_or(part.len());
        parts.push(if at > 0 && part[..name].ends_with(".css") { &part[name..] } else { part });
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
            "<head><script type=\"importmap\">{map}</script><link rel=\"modulepreload\" href=\"/@m/{preload}.js\">\
             <title>{title}</title><link rel=stylesheet href=\"/@m/{sheet}.css\"></head>"
        )
    }

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
        let html = client.insert(&page("{}", "a", "b", "Fruit"), "/p/x/");
        assert!(html.starts_with(&format!("<head><script src=\"/p/x/{}\" data-page=", client.address)), "{html}");
        assert_ne!(client.address, Client::new(&["https://b.example".to_owned()]).address);
        assert!(String::from_utf8_lossy(&client.text).contains("const ORIGINS = [\"https://a.example\"];"));
        assert!(client.insert("<p>", "/").starts_with("<p><script src"));
        assert!(client.insert_into_errors("<p>", "/").contains(" data-errors "));
        assert_ne!(client.etag("a"), client.etag("b"));
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
