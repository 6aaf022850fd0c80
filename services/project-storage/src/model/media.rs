//! Media types of files.

use mime_guess::mime;

/// Bytes of the beginning of a content that its type is found by.
pub(crate) const HEAD_BYTES: usize = 8192;

/// The media type by the name of the file only.
pub(crate) fn by_name(path: &str) -> String {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "js" | "mjs" | "cjs" => return "text/javascript; charset=utf-8".to_owned(),
        // `mime_guess` takes `.ts` for a video. Browsers show these as text.
        "ts" | "tsx" | "jsx" | "mts" | "cts" | "vue" | "svelte" => return "text/plain; charset=utf-8".to_owned(),
        "webmanifest" => return "application/manifest+json".to_owned(),
        _ => {}
    }
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    let is_text = guess.type_() == mime::TEXT || ["json", "xml", "javascript"].iter().any(|t| guess.subtype() == *t);
    if is_text { format!("{}; charset=utf-8", guess.essence_str()) } else { guess.essence_str().to_owned() }
}

/// The media type by the content, whose beginning is known, and by the name if the content does not tell: most formats of text have no mark.
/// A name that says text is not believed for a content that is none, and neither is one that says something else for a text.
pub(crate) fn by_content(path: &str, head: Option<&[u8]>) -> String {
    let Some(head) = head else { return by_name(path) };
    let head = &head[..head.len().min(HEAD_BYTES)];
    let by_name = by_name(path);
    // The marks of markup and of scripts are texts, for which the name knows more.
    let is_text = is_text(head);
    if let Some(kind) = infer::get(head)
        && !is_text
    {
        return kind.mime_type().to_owned();
    }
    let named_text = by_name.ends_with("charset=utf-8") || by_name == "image/svg+xml" || by_name == "application/manifest+json";
    match (is_text, named_text) {
        (true, true) => by_name,
        (true, false) => "text/plain; charset=utf-8".to_owned(),
        (false, true) => mime::APPLICATION_OCTET_STREAM.essence_str().to_owned(),
        (false, false) => by_name,
    }
}

/// Whether the beginning of a content is UTF-8 without NUL. Its last character may be cut.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() >= HEAD_BYTES,
    };
    text && !head.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_a_type() {
        for (path, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("App.tsx", "text/plain; charset=utf-8"),
            ("data.json", "application/json; charset=utf-8"),
            ("logo.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("font.woff2", "font/woff2"),
            ("app.wasm", "application/wasm"),
            ("Makefile", "application/octet-stream"),
        ] {
            assert_eq!(by_name(path), expected, "{path}");
        }
    }

    #[test]
    fn the_content_tells_more_than_the_name() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        for (path, head, expected) in [
            ("a.png", &png[..], "image/png"),
            ("a.html", &png[..], "image/png"),
            ("a", &png[..], "image/png"),
            ("a.html", b"<!doctype html><p>x", "text/html; charset=utf-8"),
            ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
            ("a.png", b"<script>alert(1)</script>", "text/plain; charset=utf-8"),
            ("Makefile", b"all:\n\tls\n", "text/plain; charset=utf-8"),
            ("a.js", b"\xff\xfe\x00", "application/octet-stream"),
            ("a.wasm", b"\0asm\x01\0\0\0", "application/wasm"),
            ("empty.css", b"", "text/css; charset=utf-8"),
        ] {
            assert_eq!(by_content(path, Some(head)), expected, "{path}");
        }
        let mut cut = "é".repeat(HEAD_BYTES).into_bytes();
        cut.insert(0, b'x');
        assert_eq!(by_content("a.txt", Some(&cut)), "text/plain; charset=utf-8");
        assert_eq!(by_content("a.png", None), "image/png");
    }
}
