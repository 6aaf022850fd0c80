//! Attributes that name files, as Vite has them.

use std::ops::Range;

/// The attributes of an element that have one address.
const ADDRESSES: [(&str, &[&str]); 10] = [
    ("audio", &["src"]),
    ("embed", &["src"]),
    ("image", &["href", "xlink:href"]),
    ("img", &["src"]),
    ("input", &["src"]),
    ("object", &["data"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("use", &["href", "xlink:href"]),
    ("video", &["src", "poster"]),
];
/// Those that have a list of addresses with widths or densities.
const LISTS: [(&str, &str); 3] = [("img", "srcset"), ("link", "imagesrcset"), ("source", "srcset")];
/// A `<meta>` whose `content` is an address, by its `name`.
const META_NAMES: [&str; 7] = [
    "msapplication-config",
    "msapplication-square150x150logo",
    "msapplication-square310x310logo",
    "msapplication-square70x70logo",
    "msapplication-tileimage",
    "msapplication-wide310x150logo",
    "twitter:image",
];
/// The same by its `property`.
const META_PROPERTIES: [&str; 7] =
    ["og:audio", "og:audio:secure_url", "og:image", "og:image:secure_url", "og:image:url", "og:video", "og:video:secure_url"];
/// An element with this attribute stays as it is.
const IGNORED: &str = "vite-ignore";

/// The addresses of an element: attribute, number in a list, and address. `written` has the values of its attributes.
pub(super) fn of(tag: &str, written: &dyn Fn(&str) -> Option<String>) -> Vec<(&'static str, usize, String)> {
    let value = |name: &str| written(name).map(|value| value.trim().to_owned());
    if written(IGNORED).is_some() {
        return Vec::new();
    }
    let single = ADDRESSES.iter().filter(|(name, _)| *name == tag).flat_map(|(_, attributes)| attributes.iter().copied());
    let meta = (tag == "meta" && is_address(&value)).then_some("content");
    let mut found: Vec<_> = single.chain(meta).filter_map(|attribute| Some((attribute, 0, value(attribute)?))).collect();
    for (_, attribute) in LISTS.iter().filter(|(name, _)| *name == tag) {
        // As it is written: a list is changed in place.
        let list = written(attribute).unwrap_or_default();
        found.extend(split(&list).into_iter().enumerate().map(|(at, range)| (*attribute, at, list[range].to_owned())));
    }
    found
}

/// Whether the content of a `<meta>` is an address.
fn is_address(value: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_in = |attribute: &str, names: &[&str]| value(attribute).is_some_and(|name| names.contains(&name.to_ascii_lowercase().as_str()));
    // `msapplication-config` without a file is `none`.
    (is_in("name", &META_NAMES) || is_in("property", &META_PROPERTIES)) && value("content").as_deref() != Some("none")
}

/// Whether an attribute has a list of addresses.
pub(super) fn is_list(attribute: &str) -> bool {
    LISTS.iter().any(|(_, list)| *list == attribute)
}

/// The list with another address at a number.
pub(super) fn with(list: &str, at: usize, address: &str) -> String {
    let Some(range) = split(list).into_iter().nth(at) else { return list.to_owned() };
    let address = address.replace(' ', "%20").replace(',', "%2C");
    format!("{}{address}{}", &list[..range.start], &list[range.end..])
}

/// Where the addresses of a list are, as the HTML standard splits it: an address can have commas inside of it.
fn split(list: &str) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        let rest = list[at..].trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if rest.is_empty() {
            return found;
        }
        at = list.len() - rest.len();
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        let address = rest[..end].trim_end_matches(',');
        found.push(at..at + address.len());
        // A comma at its end ends the entry.
        at += if address.len() < end { end } else { end + descriptors(&rest[end..]) };
    }
}

/// The length of the descriptors of an entry, with the comma.
fn descriptors(text: &str) -> usize {
    let mut is_inside = false;
    for (at, c) in text.char_indices() {
        match c {
            '(' => is_inside = true,
            ')' => is_inside = false,
            ',' if !is_inside => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_as_browsers_split_them() {
        for (list, expected) in [
            ("/a.png", vec!["/a.png"]),
            ("/a.png 1x, /b.png 2x", vec!["/a.png", "/b.png"]),
            (" /a.png 100w ,\n\t/b,c.png 2x,/d.png", vec!["/a.png", "/b,c.png", "/d.png"]),
            ("/a.png, /b.png", vec!["/a.png", "/b.png"]),
            ("data:image/png;base64,AA== 1x, /b.png 2x", vec!["data:image/png;base64,AA==", "/b.png"]),
            ("/a.png 1x (,), /b.png", vec!["/a.png", "/b.png"]),
            ("/\u{e9}.png\u{a0} 1x", vec!["/\u{e9}.png\u{a0}"]),
            (",, ,", vec![]),
            ("", vec![]),
        ] {
            let found: Vec<_> = split(list).into_iter().map(|range| &list[range]).collect();
            assert_eq!(found, expected, "{list}");
        }
        assert_eq!(with("/a.png 1x,/b.png 2x", 1, "/x y,z"), "/a.png 1x,/x%20y%2Cz 2x");
        assert_eq!(with("/a.png", 1, "/x"), "/a.png");
    }
}
