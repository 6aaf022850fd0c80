//! A client's side of the PostgreSQL protocol: only what is needed to see the end of a transaction or of a single statement.

use std::collections::HashMap;

/// The protocol version in a start-up message. Other numbers there ask for encryption or a cancel; these messages have no type either.
const PROTOCOL: u32 = 3 << 16;

/// Something that is durable once it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    Commit,
    /// A statement outside of a transaction, with its text.
    Statement(String),
}

impl Passed {
    /// Whether its text contains this part.
    #[must_use]
    pub fn is(&self, part: &str) -> bool {
        match self {
            Self::Commit => part == "COMMIT",
            Self::Statement(text) => text.contains(part),
        }
    }
}

/// Parses a client's messages.
#[derive(Debug, Default)]
pub struct Frontend {
    unread: Vec<u8>,
    /// Messages have a type now.
    started: bool,
    in_transaction: bool,
    statements: HashMap<String, String>,
    bound: String,
    executed: Option<String>,
}

impl Frontend {
    /// Takes bytes as they arrive and returns what they complete.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Passed> {
        self.unread.extend_from_slice(bytes);
        let mut passed = Vec::new();
        let mut at = 0;
        while let Some((kind, body, end)) = message(&self.unread[at..], self.started) {
            let body = self.unread[at + body..at + end].to_vec();
            at += end;
            match kind {
                None => self.started = body.get(..4).is_some_and(|version| version == PROTOCOL.to_be_bytes()),
                Some(kind) => passed.extend(self.message(kind, &body)),
            }
        }
        self.unread.drain(..at);
        passed
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Option<Passed> {
        match kind {
            b'P' => {
                let (name, text) = (text(body), text(body.get(text(body).len() + 1..)?));
                self.statements.insert(name, text);
            }
            b'B' => {
                let name = text(body.get(text(body).len() + 1..)?);
                self.bound = self.statements.get(&name).cloned().unwrap_or_default();
            }
            b'E' => self.executed = Some(self.bound.clone()),
            b'S' => return self.executed.take().filter(|_| !self.in_transaction).map(Passed::Statement),
            b'Q' => return self.simple(&text(body)),
            _ => {}
        }
        None
    }

    fn simple(&mut self, sql: &str) -> Option<Passed> {
        match sql.split([' ', ';']).next()?.to_ascii_uppercase().as_str() {
            "BEGIN" => self.in_transaction = true,
            "COMMIT" => {
                self.in_transaction = false;
                return Some(Passed::Commit);
            }
            "ROLLBACK" if !sql.to_ascii_uppercase().contains(" TO ") => self.in_transaction = false,
            _ => {}
        }
        None
    }
}

/// The first message, if it is complete: its type, and where its body begins and ends.
fn message(bytes: &[u8], started: bool) -> Option<(Option<u8>, usize, usize)> {
    let head = usize::from(started);
    let length = bytes.get(head..head + 4)?;
    let end = head + usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?.max(4);
    (bytes.len() >= end).then_some((started.then(|| bytes[0]), head + 4, end))
}

/// A text up to its closing zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn conversation() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend([0, 0, 0, 8, 4, 210, 22, 47]); // asks for TLS
        bytes.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
        bytes.extend(message(b'P', b"s1\0INSERT INTO x VALUES ($1)\0\0\0"));
        bytes.extend(message(b'S', b""));
        bytes.extend([message(b'B', b"\0s1\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat());
        bytes.extend(message(b'Q', b"BEGIN\0"));
        bytes.extend([message(b'B', b"\0s1\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat());
        bytes.extend(message(b'Q', b"COMMIT\0"));
        bytes
    }

    #[test]
    fn ends_are_seen_wherever_the_bytes_are_split() {
        let expected = [Passed::Statement("INSERT INTO x VALUES ($1)".into()), Passed::Commit];
        let bytes = conversation();
        for size in 1..bytes.len() {
            let mut frontend = Frontend::default();
            let passed: Vec<_> = bytes.chunks(size).flat_map(|chunk| frontend.read(chunk)).collect();
            assert_eq!(passed, expected, "in pieces of {size}");
        }
        assert!(expected[0].is("INSERT INTO x") && !expected[0].is("COMMIT") && expected[1].is("COMMIT"));
    }
}
