//! The places of networks, from a file in the format MaxMind DB, such as GeoLite2 or DB-IP. The operator chooses the file; it is in memory,
//! and nobody else is asked.

use std::{net::IpAddr, sync::Arc};

use chassis::outbound::is_public;
use maxminddb::{MaxMindDbError, PathElement::Key, Reader};
use proto::text::{is_blank, is_misleading};

/// What the type of a usable file contains, such as `GeoLite2-City` or `DBIP-Country-Lite`.
const TYPES: [&str; 2] = ["City", "Country"];
/// Characters of the name of a city, of a country or of a type.
const MAX_NAME: usize = 80;

/// The places of a file, or none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Option<Arc<Reader<Vec<u8>>>>);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("is damaged or no MaxMind DB file")]
    Damaged(#[from] MaxMindDbError),
    #[error("is a database of the type {0:?}; the type must contain City or Country, such as GeoLite2-City or DBIP-Country-Lite")]
    Type(String),
}

impl Places {
    /// Takes the bytes of a file. Its records are not checked: a damaged one has no place.
    ///
    /// # Errors
    /// The file is damaged, or has another type.
    pub(crate) fn of_file(bytes: Vec<u8>) -> Result<Self, Unusable> {
        let reader = Reader::from_source(bytes)?;
        let found = &reader.metadata().database_type;
        if !TYPES.iter().any(|part| found.contains(part)) {
            return Err(Unusable::Type(found.chars().take(MAX_NAME).collect()));
        }
        Ok(Self(Some(Arc::new(reader))))
    }

    /// The place of an address, or of a network by its first address, such as `Berlin, Germany` or `Germany`: names in English, at most 162
    /// characters. `None` if it is not known, or if the network is not of the public internet.
    pub(crate) fn of(&self, network: &str) -> Option<String> {
        let reader = self.0.as_deref()?;
        let address = network.split_once('/').map_or(network, |(first, _)| first).parse().ok()?;
        if is_public(address) { find(reader, address).ok()? } else { None }
    }
}

fn find(reader: &Reader<Vec<u8>>, address: IpAddr) -> Result<Option<String>, MaxMindDbError> {
    let record = reader.lookup(address)?;
    let name = |of| record.decode_path::<&str>(&[Key(of), Key("names"), Key("en")]);
    let names = [name("city")?, name("country")?];
    let mut names: Vec<_> = names.into_iter().flatten().map(cut).filter(|name| !is_blank(name)).collect();
    // Singapore is both.
    names.dedup();
    Ok((!names.is_empty()).then(|| names.join(", ")))
}

/// A name as it may be shown.
fn cut(name: &str) -> String {
    let shown: String = name.trim().chars().filter(|c| !is_misleading(*c)).take(MAX_NAME).collect();
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use chassis::testing::mmdb;
    use serde_json::json;

    use super::*;

    fn places(records: &[(&str, serde_json::Value)]) -> Places {
        Places::of_file(mmdb::file("GeoLite2-City", records)).expect("usable")
    }

    #[test]
    fn a_public_network_has_the_place_of_its_first_address() {
        let places = places(&[
            ("1.1.1.0/24", mmdb::record("Berlin", "Germany")),
            ("8.8.8.0/25", mmdb::record("Paris", "France")),
            ("9.0.0.0/8", json!({"country": {"names": {"de": "Deutschland", "en": "Germany"}}})),
            ("11.0.0.0/8", mmdb::record("Singapore", "Singapore")),
            ("12.0.0.0/8", json!({"city": {"names": {"en": "Rome"}}, "country": {"iso_code": "IT", "names": {"fr": "Italie"}}})),
            ("13.0.0.0/8", json!({"continent": {"names": {"en": "Asia"}}})),
            ("10.0.0.0/8", mmdb::record("Inside", "Nowhere")),
            ("192.0.2.0/24", mmdb::record("Inside", "Nowhere")),
            ("2a00:1::/32", mmdb::record("Oslo", "Norway")),
            ("fd00::/8", mmdb::record("Inside", "Nowhere")),
        ]);
        for (network, place) in [
            ("1.1.1.0/24", Some("Berlin, Germany")),
            ("1.1.1.77", Some("Berlin, Germany")),
            ("8.8.8.0/24", Some("Paris, France")),
            ("8.8.8.200", None),
            ("9.9.9.0/24", Some("Germany")),
            ("11.1.1.0/24", Some("Singapore")),
            ("12.1.1.0/24", Some("Rome")),
            ("13.1.1.0/24", None),
            ("14.1.1.0/24", None),
            ("10.1.1.0/24", None),
            ("192.0.2.0/24", None),
            ("127.0.0.0/24", None),
            ("2a00:1:2::/48", Some("Oslo, Norway")),
            ("2a00:1:2:3::/64", Some("Oslo, Norway")),
            ("fd00:1:2::/48", None),
            ("::/48", None),
            ("", None),
            ("unknown", None),
            ("1.1.1.0/24/", Some("Berlin, Germany")),
        ] {
            assert_eq!(places.of(network).as_deref(), place, "{network}");
        }
        assert_eq!(Places::default().of("1.1.1.0/24"), None);
    }

    #[test]
    fn names_are_cut_and_a_damaged_record_has_no_place() {
        let long = "x".repeat(MAX_NAME + 1);
        let mut file = mmdb::file(
            "DBIP-City-Lite",
            &[
                ("1.0.0.0/24", mmdb::record(" Ber\u{202e}lin\r\n\u{1b}[2J ", "\u{200b}")),
                ("2.0.0.0/24", mmdb::record(&long, &long.replace('x', "é"))),
                ("3.0.0.0/24", json!({"city": {"names": {"en": 7}}, "country": {"names": {"en": "Germany"}}})),
                ("4.0.0.0/24", json!({"city": ["Berlin"], "country": {"names": {"en": "Germany"}}})),
                ("5.0.0.0/24", json!("Berlin")),
                ("6.0.0.0/24", mmdb::record("no text", "Germany")),
                ("7.0.0.0/24", mmdb::record("<b>Bonn</b>", "Germany")),
            ],
        );
        let at = file.windows(7).position(|part| part == b"no text").expect("the name");
        file[at] = 0xff;
        let places = Places::of_file(file).expect("usable");
        let cut = format!("{}, {}", "x".repeat(MAX_NAME), "é".repeat(MAX_NAME));
        for (network, place) in [
            ("1.0.0.0/24", Some("Berlin[2J")),
            ("2.0.0.0/24", Some(cut.as_str())),
            ("3.0.0.0/24", None),
            ("4.0.0.0/24", None),
            ("5.0.0.0/24", None),
            ("6.0.0.0/24", None),
            // What shows it escapes it.
            ("7.0.0.0/24", Some("<b>Bonn</b>, Germany")),
        ] {
            assert_eq!(places.of(network).as_deref(), place, "{network}");
        }
        assert_eq!(cut.chars().count(), 162);
    }

    #[test]
    fn a_file_has_a_known_type() {
        let file = |kind| Places::of_file(mmdb::file(kind, &[])).map(drop);
        for kind in
            ["GeoLite2-City", "GeoLite2-Country", "GeoIP2-City-Europe", "DBIP-City-Lite", "DBIP-Country", "DBIP-Location (compat=City)"]
        {
            file(kind).expect(kind);
        }
        for kind in ["GeoLite2-ASN", "DBIP-ASN-Lite", "GeoIP2-Anonymous-IP", "city", ""] {
            assert!(matches!(file(kind).expect_err(kind), Unusable::Type(found) if found == kind), "{kind}");
        }
    }
}
