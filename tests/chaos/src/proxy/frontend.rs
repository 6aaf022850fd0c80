//! Parses the messages of a PostgreSQL client, as far as needed to detect commits and statements outside a transaction.

use std::collections::HashMap;

/// The protocol version in a start-up message. Other numbers request encryption or a cancel. None of these messages has a type byte.
const PROTOCOL: u32 = 3 << 16;

/// A message whose effect is durable when it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Commit,
    /// The text of a statement outside a transaction.
    Statement(String),
}

impl Operation {
    /// Whether the text contains `part`. A commit only matches `COMMIT`.
    #[must_use]
    pub fn matches(&self, part: &str) -> bool {
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
    /// The start-up message was read, so the next messages have a type byte.
    started: bool,
    in_transaction: bool,
    statements: HashMap<String, String>,
    bound: String,
    executed: Option<String>,
}

impl Frontend {
    /// Parses the next bytes. Returns the executed statements and commits that they complete.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Operation> {
        self.unread.extend_from_slice(bytes);
        let mut operations = Vec::new();
        let mut at = 0;
        while let Some((kind, body, end)) = message(&self.unread[at..], self.started) {
            let body = self.unread[at + body..at + end].to_vec();
            at += end;
            match kind {
                None => self.started = body.get(..4).is_some_and(|version| version == PROTOCOL.to_be_bytes()),
                Some(kind) => operations.extend(self.message(kind, &body)),
            }
        }
        self.unread.drain(..at);
        operations
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Option<Operation> {
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
            b'S' => return self.executed.take().filter(|_| !self.in_transaction).map(Operation::Statement),
            b'Q' => return self.simple(&text(body)),
            _ => {}
        }
        None
    }

    fn simple(&mut self, sql: &str) -> Option<Operation> {
        match sql.split([' ', ';']).next()?.to_ascii_uppercase().as_str() {
            "BEGIN" => self.in_transaction = true,
            "COMMIT" => {
                self.in_transaction = false;
                return Some(Operation::Commit);
            }
            "ROLLBACK" if !sql.to_ascii_uppercase().contains(" TO ") => self.in_transaction = false,
            _ => {}
        }
        None
    }
}

/// Parses the first message if it is complete: its type, and the start and the end of its body.
fn message(bytes: &[u8], started: bool) -> Option<(Option<u8>, usize, usize)> {
    let head = usize::from(started);
    let length = bytes.get(head..head + 4)?;
    let end = head + usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?.max(4);
    (bytes.len() >= end).then_some((started.then(|| bytes[0]), head + 4, end))
}

/// The text before the terminating zero.
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
        bytes.extend([0, 0, 0, 8, 4, 210, 22, 47]); // A request for TLS.
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
    fn messages_are_parsed_wherever_the_bytes_are_split() {
        let expected = [Operation::Statement("INSERT INTO x VALUES ($1)".into()), Operation::Commit];
        let bytes = conversation();
        for size in 1..bytes.len() {
            let mut frontend = Frontend::default();
            let operations: Vec<_> = bytes.chunks(size).flat_map(|chunk| frontend.read(chunk)).collect();
            assert_eq!(operations, expected, "in pieces of {size}");
        }
        assert!(expected[0].matches("INSERT INTO x") && !expected[0].matches("COMMIT") && expected[1].matches("COMMIT"));
    }
}
