//! Paths and specifiers. A path has no `/` at its start; an absolute specifier has one.

/// The folder of a path; empty for the root.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The extension in lower case, without the dot.
pub(crate) fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or_else(String::new, |(_, extension)| extension.to_ascii_lowercase())
}

/// Whether a specifier is relative to its file.
pub(crate) fn is_relative(specifier: &str) -> bool {
    specifier == "." || specifier == ".." || specifier.starts_with("./") || specifier.starts_with("../")
}

/// Whether a specifier is an address outside of the tree.
pub(crate) fn is_foreign(specifier: &str) -> bool {
    let scheme = specifier.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !["node", "bun"].contains(&scheme)
    });
    scheme || specifier.starts_with("//")
}

/// A specifier and its query with the `?`. A fragment is dropped.
pub(crate) fn split_query(specifier: &str) -> (&str, &str) {
    let end = specifier.find('?').unwrap_or(specifier.len());
    let (name, query) = specifier.split_at(end);
    let name = match name.find('#') {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    };
    (name, query.split('#').next().unwrap_or_default())
}

/// The byte that the two digits at the start of a text stand for, behind a `%`.
fn encoded_byte(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// What stands for the path of the page's folder in a page of Vite. Its first letters are hexadecimal digits.
pub(crate) const BASE_URL: &str = "%BASE_URL%";

/// Whether every `%` begins an encoded byte. In a template such as `%DEV%` one does not.
pub(crate) fn is_encoded(address: &str) -> bool {
    !address.contains(BASE_URL) && address.split('%').skip(1).all(|part| encoded_byte(part).is_some())
}

/// The name that a percent-encoded address has: `a%20b.png` is `a b.png`. `None` if nothing is encoded, or if the result is no text.
pub(crate) fn decoded(address: &str) -> Option<String> {
    let mut parts = address.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    let mut is_changed = false;
    for part in parts {
        let byte = encoded_byte(part);
        is_changed |= byte.is_some();
        // Browsers leave a `%` without two digits as it is.
        bytes.push(byte.unwrap_or(b'%'));
        bytes.extend_from_slice(&part.as_bytes()[if byte.is_some() { 2 } else { 0 }..]);
    }
    if is_changed { String::from_utf8(bytes).ok() } else { None }
}

/// An absolute specifier for a path relative to a folder. Steps above the root stay at the root.
pub(crate) fn join(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The specifier in the code for one in a file: a relative one becomes absolute, and keeps its query.
pub(crate) fn stable(path: &str, specifier: &str) -> String {
    if !is_relative(specifier) {
        return specifier.to_owned();
    }
    let (name, query) = split_query(specifier);
    join(folder(path), name) + query
}

/// A path relative to a folder, which begins with `./` or `../`.
pub(crate) fn relative(folder: &str, path: &str) -> String {
    let from: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = "../".repeat(from.len() - shared);
    format!("{}{}", if up.is_empty() { "./" } else { &up }, to[shared..].join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_become_absolute() {
        let cases = [
            ("src/a/b.ts", "./c", "/src/a/c"),
            ("src/a/b.ts", "../c.svg?url", "/src/c.svg?url"),
            ("src/a/b.ts", "..", "/src"),
            ("b.ts", "../../../etc/passwd", "/etc/passwd"),
            ("src/b.ts", "/src/x", "/src/x"),
            ("src/b.ts", "react", "react"),
            ("src/b.ts", "@/x", "@/x"),
        ];
        for (path, specifier, expected) in cases {
            assert_eq!(stable(path, specifier), expected, "{specifier} in {path}");
        }
    }

    #[test]
    fn encoded_addresses_are_decoded() {
        for (address, expected) in [
            ("a%20b.png", Some("a b.png")),
            ("%C3%BC%2fx", Some("ü/x")),
            ("100%25.png", Some("100%.png")),
            ("a%2520b", Some("a%20b")),
            ("50%-%20", Some("50%- ")),
            ("a b.png", None),
            ("50%", None),
            ("%zz%+1%é", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(address).as_deref(), expected, "{address}");
        }
        for (address, expected) in
            [("a%20b", true), ("a", true), ("%BASE_URL%x", false), ("%BASE_URL%favicon.svg", false), ("%DEV%", false), ("50%", false)]
        {
            assert_eq!(is_encoded(address), expected, "{address}");
        }
    }

    #[test]
    fn relative_is_the_inverse_of_join() {
        for (folder, path) in [("src/pages", "src/pages/a.tsx"), ("src/pages", "src/b/c.ts"), ("", "x.ts"), ("a/b/c", "d")] {
            assert_eq!(join(folder, &relative(folder, path)), format!("/{path}"));
        }
    }

    #[test]
    fn addresses_are_foreign_and_specifiers_are_not() {
        for foreign in ["https://a.b/c.js", "//a.b/c", "data:text/css,", "blob:x", "mailto:a@b"] {
            assert!(is_foreign(foreign), "{foreign}");
        }
        for own in ["./a", "/a", "react", "node:fs", "@scope/x", "#utils", "a.png?x=y:z"] {
            assert!(!is_foreign(own), "{own}");
        }
        assert_eq!(split_query("/a.svg?url#x"), ("/a.svg", "?url"));
        assert_eq!(split_query("/a.svg#x"), ("/a.svg", ""));
    }
}
