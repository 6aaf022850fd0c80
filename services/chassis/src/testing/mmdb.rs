//! Writes small files in the format MaxMind DB (<https://maxmind.github.io/MaxMind-DB/>): the search tree, whose nodes have two records of
//! 32 bits; 16 zero bytes; the data; and the metadata. Tests of places use them, so that the repository has no data of others.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

const SEPARATOR: [u8; 16] = [0; 16];
const METADATA: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// The numbers of types in the format.
const TEXT: u8 = 2;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const U64: u8 = 9;
const ARRAY: u8 = 11;

/// What a node has for the next bit of an address.
#[derive(Clone, Copy)]
enum Next {
    Nothing,
    Node(usize),
    /// Where a record begins in the data.
    Record(usize),
}

/// The record of a city.
#[must_use]
pub fn record(city: &str, country: &str) -> Value {
    json!({"city": {"names": {"en": city}}, "country": {"names": {"en": country}}})
}

/// A file of this database type, with a record for each network. The networks do not overlap.
///
/// # Panics
/// A network does not parse, or the file becomes too large.
#[must_use]
pub fn file(database_type: &str, records: &[(&str, Value)]) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[Next::Nothing; 2]], Vec::new());
    for (network, record) in records {
        add(&mut nodes, network.parse().expect("a network"), data.len());
        data.extend(value(record));
    }
    let number = |next: &Next| match next {
        Next::Nothing => nodes.len(),
        Next::Node(at) => *at,
        Next::Record(at) => nodes.len() + SEPARATOR.len() + at,
    };
    let tree = nodes.iter().flatten().flat_map(|next| small(number(next)).to_be_bytes());
    tree.chain(SEPARATOR).chain(data).chain(METADATA.iter().copied()).chain(metadata(database_type, nodes.len())).collect()
}

/// Leads the addresses of a network to a record. The first of 128 bits is the highest one, and IPv4 is in ::/96.
fn add(nodes: &mut Vec<[Next; 2]>, network: IpNet, record: usize) {
    let (bits, length) = match network.addr() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 96 + network.prefix_len()),
        IpAddr::V6(v6) => (v6.to_bits(), network.prefix_len()),
    };
    let mut node = 0;
    for depth in 1..=length {
        let side = usize::from((bits >> (128 - depth)) & 1 == 1);
        if depth == length {
            nodes[node][side] = Next::Record(record);
        } else if let Next::Node(next) = nodes[node][side] {
            node = next;
        } else {
            nodes.push([Next::Nothing; 2]);
            let next = nodes.len() - 1;
            nodes[node][side] = Next::Node(next);
            node = next;
        }
    }
}

fn metadata(database_type: &str, nodes: usize) -> Vec<u8> {
    let fields = [
        ("binary_format_major_version", number(U16, &2_u16.to_be_bytes())),
        ("binary_format_minor_version", number(U16, &0_u16.to_be_bytes())),
        ("build_epoch", number(U64, &1_u64.to_be_bytes())),
        ("database_type", text(database_type)),
        ("description", value(&json!({"en": "places for tests"}))),
        ("ip_version", number(U16, &6_u16.to_be_bytes())),
        ("languages", value(&json!(["en"]))),
        ("node_count", number(U32, &small(nodes).to_be_bytes())),
        ("record_size", number(U16, &32_u16.to_be_bytes())),
    ];
    let count = fields.len();
    header(MAP, count).into_iter().chain(fields.into_iter().flat_map(|(name, value)| [text(name), value].concat())).collect()
}

/// Numbers become those of 32 bits.
fn value(value: &Value) -> Vec<u8> {
    match value {
        Value::String(string) => text(string),
        Value::Number(given) => number(U32, &small(given.as_u64().expect("a whole number")).to_be_bytes()),
        Value::Array(items) => [header(ARRAY, items.len()), items.iter().flat_map(self::value).collect()].concat(),
        Value::Object(fields) => {
            let bytes = fields.iter().flat_map(|(name, field)| [text(name), self::value(field)].concat());
            [header(MAP, fields.len()), bytes.collect()].concat()
        }
        Value::Null | Value::Bool(_) => panic!("no test needs {value}"),
    }
}

fn text(text: &str) -> Vec<u8> {
    [header(TEXT, text.len()).as_slice(), text.as_bytes()].concat()
}

fn number(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [header(kind, bytes.len()).as_slice(), bytes].concat()
}

/// The type and the size of a value: three bits and five bits, more bytes for types above 7, and more for sizes above 28.
fn header(kind: u8, size: usize) -> Vec<u8> {
    let byte = |size: usize| u8::try_from(size).expect("a byte");
    let (low, more) = match size {
        0..29 => (byte(size), Vec::new()),
        29..285 => (29, vec![byte(size - 29)]),
        _ => (30, u16::try_from(size - 285).expect("a short value").to_be_bytes().to_vec()),
    };
    let first = if kind > 7 { vec![low, kind - 7] } else { vec![(kind << 5) | low] };
    [first, more].concat()
}

fn small(number: impl TryInto<u32>) -> u32 {
    let Ok(number) = number.try_into() else { panic!("the number has more than 32 bits") };
    number
}
