//! Addresses in the page: files that are not there, and style sheets that are not compiled where it names them.

use compiler_client::message::{Finding, finding::code};

use super::{Graph, walk};
use crate::{
    page::{Item, Outline, Role},
    text,
    tree::path,
};

/// What is wrong with the addresses of a page.
pub(crate) fn check(graph: &Graph, page: &str, outline: &Outline) -> Vec<Finding> {
    let is_checked = |item: &&Item| item.role != Role::InlineModule && crate::page::is_own(&item.value);
    let (there, missing): (Vec<_>, Vec<_>) =
        outline.items.iter().filter(is_checked).partition(|item| walk::resolve_in_page(graph, page, &item.value).is_some());
    let links = there.into_iter().filter(|item| item.role == Role::Sheet && is_uncompiled_link(&item.value)).map(|item| {
        let message = format!("<link href=\"{}\"> is not compiled, so a browser cannot read it", item.value);
        let found = text::finding(code::UNSUPPORTED, page, &item.place, &message);
        Finding { is_warning: true, help: "Import the style sheet in a script of the page instead.".to_owned(), ..found }
    });
    missing
        .into_iter()
        .map(|item| {
            let message = format!("<{} {}=\"{}\">: there is no such file", item.tag, item.attribute, item.value);
            let found = text::finding(code::MISSING_FILE, page, &item.place, &message);
            // A page without its icon works.
            Finding { is_warning: item.role == Role::File, ..found }
        })
        .chain(links)
        .collect()
}

/// Whether the address is that of a style sheet that only a module can import.
fn is_uncompiled_link(address: &str) -> bool {
    ["scss", "sass"].contains(&path::extension(path::split_query(address).0).as_str())
}
