//! How many fields a message has, counted in its bytes. An element of two bytes takes a hundred and more once it is decoded, so a
//! message within its size could else fill the memory of the machine.

use std::collections::HashMap;

use bytes::Buf;
use prost_reflect::{DescriptorError, DescriptorPool, Kind, MessageDescriptor};

/// As deep as prost decodes.
const DEEPEST: usize = 100;

/// What the requests of a server are, by the path of their RPC.
#[derive(Default)]
pub(in crate::server) struct Contract(HashMap<String, MessageDescriptor>);

/// A message that is being counted.
struct Open {
    kind: MessageDescriptor,
    /// Where it ends.
    end: usize,
    name: String,
}

impl Contract {
    pub(in crate::server) fn of(services: &[&str]) -> Result<Self, DescriptorError> {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
        let services = pool.services().filter(|service| services.contains(&service.full_name()));
        let requests = services.flat_map(|service| {
            let path = |rpc: &str| format!("{}/{rpc}", service.full_name());
            service.methods().map(|method| (path(method.name()), method.input())).collect::<Vec<_>>()
        });
        Ok(Self(requests.collect()))
    }

    /// The field that is one too many. Each field is counted wherever it stands, known or not, since the count also bounds the work;
    /// of numbers that are packed together, each of their bytes is. What is no message is judged by the decoder, which stops there too.
    pub(super) fn first_beyond(&self, most: usize, path: &str, mut bytes: impl Buf) -> Option<String> {
        let all = bytes.remaining();
        let mut left = most;
        let mut open = vec![Open { kind: self.0.get(path)?.clone(), end: all, name: String::new() }];
        while open.len() <= DEEPEST {
            let at = all - bytes.remaining();
            while open.last().is_some_and(|message| message.end <= at) {
                open.pop();
            }
            let message = open.last()?;
            let key = varint(&mut bytes).filter(|key| key >> 3 > 0)?;
            let field = message.kind.get_field(u32::try_from(key >> 3).ok()?);
            let mut taken = 1;
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
                            taken += length;
                            skip(&mut bytes, length)?;
                        }
                    }
                }
                // The ends of a group, whose fields are unknown ones.
                3 | 4 => {}
                5 => skip(&mut bytes, 4)?,
                _ => return None,
            }
            let name = || field.as_ref().map_or_else(|| (key >> 3).to_string(), |field| field.name().to_owned());
            if taken > left {
                return Some(format!("{}{}", message.name, name()));
            }
            left -= taken;
            if let Some((kind, end)) = inner {
                let name = format!("{}{}.", message.name, name());
                open.push(Open { kind, end, name });
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

    fn beyond(most: usize, bytes: &[u8]) -> Option<String> {
        let contract = Contract::of(&["backlot.project_storage.v1.ProjectStorageService"]).expect("descriptors");
        contract.first_beyond(most, SAVE, bytes)
    }

    /// A save of so many steps, each of which is a field and has four.
    fn save(steps: usize) -> Vec<u8> {
        let write = || Action::Write(FileContent { data: Some(Data::Text("\u{a}\0".repeat(100))) });
        let step = |at: usize| FileChange { path: format!("f{at}"), etag: "e".to_owned(), action: Some(write()) };
        SaveProjectRequest { project_id: "p".to_owned(), changes: (0..steps).map(step).collect(), ..SaveProjectRequest::default() }
            .encode_to_vec()
    }

    #[test]
    fn every_field_is_counted_at_any_depth() {
        for (most, beyond_it) in
            [(11, None), (10, Some("changes.etag")), (9, Some("changes.write.text")), (6, Some("changes")), (0, Some("project_id"))]
        {
            assert_eq!(beyond(most, &save(2)).as_deref(), beyond_it, "{most}");
        }
        let steps = |count: usize| [0x22, 0].repeat(count);
        assert_eq!(beyond(1_000, &steps(1_000)), None);
        assert_eq!(beyond(1_000, &steps(1_001)).as_deref(), Some("changes"));
        // Fields that nobody knows: a number, a text, a group with one in it.
        let unknown = [0xf8, 0x7f, 1, 0xfa, 0x7f, 1, 9, 0xfb, 0x7f, 0x08, 1, 0xfc, 0x7f];
        assert_eq!((beyond(5, &unknown), beyond(4, &unknown).as_deref()), (None, Some("2047")));
    }

    #[test]
    fn what_is_no_message_is_left_to_the_decoder() {
        for bytes in [&[0][..], &[0x22], &[0x22, 9], &[0xff; 20], &[0x22, 2, 0x0a, 9], &[0x27], &[0x80; 9]] {
            assert_eq!(beyond(10, bytes), None, "{bytes:?}");
            assert!(SaveProjectRequest::decode(bytes).is_err(), "{bytes:?}");
        }
        // It holds itself, deeper than anything is decoded.
        let deep = (0..200_u32).fold(Vec::new(), |inner, _| [&[0x22, u8::try_from(inner.len().min(127)).unwrap()], &inner[..]].concat());
        assert_eq!(beyond(1_000, &deep), None);
    }
}
