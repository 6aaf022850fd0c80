//! A part of a file (RFC 9110, section 14): what a media element asks for when somebody moves its slider. Pure.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What a `Range` asks of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: nothing else is asked for, or not in a way that is understood.
    Whole,
    Part(Range<usize>),
    /// Nothing of what is asked for is there.
    Nothing,
}

/// One range of bytes. Several at once are answered with the whole file, as the RFC allows; so is a range of another version.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, length: usize) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::Whole };
    // The comparison is the strong one: a weak ETag never matches, and neither does a date, which files do not have here.
    if text(header::IF_RANGE).is_some_and(|version| version.trim() != etag) {
        return Wanted::Whole;
    }
    let Some((unit, set)) = range.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Some(None), Some(Some(suffix))) if suffix == 0 || length == 0 => Wanted::Nothing,
        (Some(None), Some(Some(suffix))) => Wanted::Part(length.saturating_sub(suffix)..length),
        (Some(Some(first)), Some(last)) if last.is_none_or(|last| first <= last) => {
            if first >= length {
                return Wanted::Nothing;
            }
            Wanted::Part(first..last.map_or(length, |last| last.saturating_add(1).min(length)))
        }
        _ => Wanted::Whole,
    }
}

/// Digits, or nothing at all. A number that is too large is as good as the largest.
fn number(text: &str) -> Option<Option<usize>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, if_range: Option<&str>, length: usize) -> Wanted {
        let mut headers = HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]);
        if let Some(version) = if_range {
            headers.insert(header::IF_RANGE, version.parse().unwrap());
        }
        wanted(&headers, "\"v1\"", length)
    }

    #[test]
    fn ranges() {
        use Wanted::{Nothing, Part, Whole};
        assert_eq!(wanted(&HeaderMap::new(), "\"v1\"", 10), Whole);
        let rows = [
            ("bytes=0-3", Part(0..4)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=4-", Part(4..10)),
            ("bytes=4-99", Part(4..10)),
            ("bytes=9-9", Part(9..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-10", Part(0..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=0-18446744073709551616", Part(0..10)),
            ("BYTES=0-3", Part(0..4)),
            ("bytes=10-", Nothing),
            ("bytes=10-12", Nothing),
            ("bytes=18446744073709551616-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=3-1", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=0-1,4-5", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("lines=0-3", Whole),
        ];
        for (range, wanted) in rows {
            assert_eq!(asked(range, None, 10), wanted, "{range}");
        }
        for range in ["bytes=0-", "bytes=-1"] {
            assert_eq!(asked(range, None, 0), Nothing, "{range} of an empty file");
        }
    }

    #[test]
    fn a_part_is_of_the_version_that_is_named() {
        assert_eq!(asked("bytes=0-3", Some("\"v1\""), 10), Wanted::Part(0..4));
        for version in ["\"v2\"", "W/\"v1\"", "Fri, 27 Nov 2026 12:00:00 GMT"] {
            assert_eq!(asked("bytes=0-3", Some(version), 10), Wanted::Whole, "{version}");
        }
    }
}
