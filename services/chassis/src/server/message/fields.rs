//! Counts the fields of an encoded message. An element that is encoded in two bytes takes more than a hundred when decoded, so a message
//! within its size limit could otherwise exhaust the memory.

use std::collections::HashMap;

use bytes::Buf;
use prost_reflect::{DescriptorError, DescriptorPool, Kind, MessageDescriptor, MethodDescriptor};

/// The recursion limit of prost.
const MAX_DEPTH: usize = 100;

/// The RPCs of a server, by their path.
#[derive(Default)]
pub(in crate::server) struct Methods(HashMap<String, MethodDescriptor>);

/// A message that is being scanned.
struct Frame {
    kind: MessageDescriptor,
    /// The offset of its end.
    end: usize,
    /// The path of the field that contains it, with a dot at the end.
    path: String,
}

impl Methods {
    pub(in crate::server) fn of(services: &[&str]) -> Result<Self, DescriptorError> {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
        let services = pool.services().filter(|service| services.contains(&service.full_name()));
        let methods = services.flat_map(|service| {
            let path = |rpc: &str| format!("{}/{rpc}", service.full_name());
            service.methods().map(|method| (path(method.name()), method)).collect::<Vec<_>>()
        });
        Ok(Self(methods.collect()))
    }

    /// Whether the response of the RPC is a stream.
    pub(in crate::server) fn is_stream(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(MethodDescriptor::is_server_streaming)
    }

    /// The path of the first field beyond `most` fields. All fields count, at any depth, including unknown ones, so that the count also
    /// limits the work. Each byte of a packed number field counts. Scanning stops at invalid bytes, which the decoder reports.
    pub(super) fn first_excess_field(&self, most: usize, path: &str, mut bytes: impl Buf) -> Option<String> {
        let all = bytes.remaining();
        let mut left = most;
        let mut stack = vec![Frame { kind: self.0.get(path)?.input(), end: all, path: String::new() }];
        while stack.len() <= MAX_DEPTH {
            let at = all - bytes.remaining();
            while stack.last().is_some_and(|message| message.end <= at) {
                stack.pop();
            }
            let message = stack.last()?;
            let key = varint(&mut bytes).filter(|key| key >> 3 > 0)?;
            let field = message.kind.get_field(u32::try_from(key >> 3).ok()?);
            let mut count = 1;
            let mut inner = None;
            match key & 7 {
                0 => _ = varint(&mut bytes)?,
                1 => skip(&mut bytes, 8)?,
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    match field.as_ref().map(|field| (field.kind(), field.is_list())) {
                        Some((Kind::Message(kind), _)) => {
                            let end = (all - bytes.remaining()).checked_add(length).filter(|end| *end <= message.end)?;
                            inner = Some((kind, end));
                        }
                        Some((Kind::String | Kind::Bytes, _) | (_, false)) | None => skip(&mut bytes, length)?,
                        Some((_, true)) => {
                            count += length;
                            skip(&mut bytes, length)?;
                        }
                    }
                }
                // The start or the end of a group, whose fields are unknown.
                3 | 4 => {}
                5 => skip(&mut bytes, 4)?,
                _ => return None,
            }
            let name = || field.as_ref().map_or_else(|| (key >> 3).to_string(), |field| field.name().to_owned());
            if count > left {
                return Some(format!("{}{}", message.path, name()));
            }
            left -= count;
            if let Some((kind, end)) = inner {
                let path = format!("{}{}.", message.path, name());
                stack.push(Frame { kind, end, path });
            }
        }
        None
    }
}

fn varint(bytes: &mut impl Buf) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn skip(bytes: &mut impl Buf, count: usize) -> Option<()> {
    (count <= bytes.remaining()).then(|| bytes.advance(count))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use proto::project_storage::{FileChange, FileContent, SaveProjectRequest, file_change::Action, file_content::Data};

    use super::*;

    const SAVE: &str = "backlot.project_storage.v1.ProjectStorageService/SaveProject";

    fn excess(most: usize, bytes: &[u8]) -> Option<String> {
        let types = Methods::of(&["backlot.project_storage.v1.ProjectStorageService"]).expect("descriptors");
        types.first_excess_field(most, SAVE, bytes)
    }

    /// A save with this number of changes. Each change counts as five fields: itself and four in it.
    fn save(changes: usize) -> Vec<u8> {
        let write = || Action::Write(FileContent { data: Some(Data::Text("\u{a}\0".repeat(100))) });
        let change = |at: usize| FileChange { path: format!("f{at}"), etag: "e".to_owned(), action: Some(write()) };
        SaveProjectRequest { project_id: "p".to_owned(), changes: (0..changes).map(change).collect(), ..SaveProjectRequest::default() }
            .encode_to_vec()
    }

    #[test]
    fn every_field_is_counted_at_any_depth() {
        for (most, expected) in
            [(11, None), (10, Some("changes.etag")), (9, Some("changes.write.text")), (6, Some("changes")), (0, Some("project_id"))]
        {
            assert_eq!(excess(most, &save(2)).as_deref(), expected, "{most}");
        }
        let changes = |count: usize| [0x22, 0].repeat(count);
        assert_eq!(excess(1_000, &changes(1_000)), None);
        assert_eq!(excess(1_000, &changes(1_001)).as_deref(), Some("changes"));
        // Unknown fields: a number, a string, and a group with one field.
        let unknown = [0xf8, 0x7f, 1, 0xfa, 0x7f, 1, 9, 0xfb, 0x7f, 0x08, 1, 0xfc, 0x7f];
        assert_eq!((excess(5, &unknown), excess(4, &unknown).as_deref()), (None, Some("2047")));
    }

    #[test]
    fn invalid_bytes_are_left_to_the_decoder() {
        for bytes in [&[0][..], &[0x22], &[0x22, 9], &[0xff; 20], &[0x22, 2, 0x0a, 9], &[0x27], &[0x80; 9]] {
            assert_eq!(excess(10, bytes), None, "{bytes:?}");
            assert!(SaveProjectRequest::decode(bytes).is_err(), "{bytes:?}");
        }
        // Nested deeper than the recursion limit.
        let deep = (0..200_u32).fold(Vec::new(), |inner, _| [&[0x22, u8::try_from(inner.len().min(127)).unwrap()], &inner[..]].concat());
        assert_eq!(excess(1_000, &deep), None);
    }
}
