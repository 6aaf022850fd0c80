//! Hashes of contents and keys.

pub use chassis::git_id::blob_id;
use chassis::task;
use ring::digest::{Context, SHA256, SHA512, digest};

/// A content with so many bytes is hashed on a thread of its own: other requests would wait for it.
const LARGE: usize = 256 << 10;

/// The content with its git id.
pub(crate) async fn with_blob_id(content: Vec<u8>) -> (Vec<u8>, String) {
    let is_large = content.len() >= LARGE;
    let hashed = move || {
        let id = blob_id(&content);
        (content, id)
    };
    if is_large { task::blocking_and_wait(hashed).await } else { hashed() }
}

/// The SHA-256 of parts, each with its length before it.
pub(crate) fn of_parts(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// The SHA-256 of bytes that come in parts.
pub(crate) struct Sum(Context);

impl Default for Sum {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Sum {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> impl AsRef<[u8]> {
    digest(&SHA256, bytes)
}

/// The SHA-512 in hexadecimal digits.
pub(crate) fn sha512(bytes: &[u8]) -> String {
    hex(digest(&SHA512, bytes))
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text is a git id: 40 lower-case hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    is_hex(text, 40)
}

/// Whether a text has so many lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn contents_of_any_size_have_their_id() {
        for content in [Vec::new(), vec![b'a'; LARGE - 1], vec![b'a'; LARGE]] {
            let id = blob_id(&content);
            assert_eq!(with_blob_id(content.clone()).await, (content, id));
        }
    }

    #[test]
    fn ids_and_parts_are_told_apart() {
        assert!(is_id(&blob_id(b"")) && !is_id("E69de29bb2d1d6434b8b29ae775ad8c2e48c5391") && !is_id("ab"));
        assert_ne!(of_parts(&[b"ab", b"c"]), of_parts(&[b"a", b"bc"]));
    }
}
