//! Range requests for a part of a file (RFC 9110, section 14), as media elements send them. Pure.

use std::ops::Range;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use proto::error::ErrorCode;

use crate::error::{Failure, fault};

/// The part of a file that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// All of it: there is no range, or none that is supported.
    Whole,
    Part(Range<usize>),
    /// The file has none of the requested bytes.
    Unsatisfiable,
}

/// The range of a request. Several ranges, or a range of another version, are answered with the whole file, as the RFC allows.
pub(crate) fn requested(headers: &HeaderMap, etag: &str, length: usize) -> ByteRange {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return ByteRange::Whole };
    // Strong comparison: a weak ETag never matches, and neither does a date, since files have none here.
    if text(header::IF_RANGE).is_some_and(|version| version.trim() != etag) {
        return ByteRange::Whole;
    }
    let Some((unit, set)) = range.split_once('=') else { return ByteRange::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return ByteRange::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return ByteRange::Whole };
    match (number(first), number(last)) {
        (Some(None), Some(Some(suffix))) if suffix == 0 || length == 0 => ByteRange::Unsatisfiable,
        (Some(None), Some(Some(suffix))) => ByteRange::Part(length.saturating_sub(suffix)..length),
        (Some(Some(first)), Some(last)) if last.is_none_or(|last| first <= last) => {
            if first >= length {
                return ByteRange::Unsatisfiable;
            }
            ByteRange::Part(first..last.map_or(length, |last| last.saturating_add(1).min(length)))
        }
        _ => ByteRange::Whole,
    }
}

/// The header of a part of a file.
pub(crate) fn content_range(part: &Range<usize>, length: usize) -> HeaderMap {
    place(&format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1)))
}

/// The answer for [`ByteRange::Unsatisfiable`].
pub(crate) fn unsatisfiable(length: usize) -> Response {
    let text = format!("the file has {length} bytes, and none of them is in the requested range");
    let failure = Failure::from(fault(ErrorCode::InvalidArgument, "RANGE_NOT_SATISFIABLE", text));
    (place(&format!("bytes */{length}")), failure).into_response()
}

fn place(text: &str) -> HeaderMap {
    HeaderValue::try_from(text).into_iter().map(|value| (header::CONTENT_RANGE, value)).collect()
}

/// Digits or an empty text. A number that is too large counts as the largest.
fn number(text: &str) -> Option<Option<usize>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(range: &str, if_range: Option<&str>, length: usize) -> ByteRange {
        let mut headers = HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]);
        if let Some(version) = if_range {
            headers.insert(header::IF_RANGE, version.parse().unwrap());
        }
        requested(&headers, "\"v1\"", length)
    }

    #[test]
    fn a_requested_range_is_cut_to_the_length_of_the_file() {
        use ByteRange::{Part, Unsatisfiable, Whole};
        assert_eq!(requested(&HeaderMap::new(), "\"v1\"", 10), Whole);
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
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-12", Unsatisfiable),
            ("bytes=18446744073709551616-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=3-1", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=0-1,4-5", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("lines=0-3", Whole),
        ];
        for (range, expected) in rows {
            assert_eq!(parse(range, None, 10), expected, "{range}");
        }
        for range in ["bytes=0-", "bytes=-1"] {
            assert_eq!(parse(range, None, 0), Unsatisfiable, "{range} of an empty file");
        }
    }

    #[test]
    fn a_range_of_another_version_is_the_whole_file() {
        assert_eq!(parse("bytes=0-3", Some("\"v1\""), 10), ByteRange::Part(0..4));
        for version in ["\"v2\"", "W/\"v1\"", "Fri, 27 Nov 2026 12:00:00 GMT"] {
            assert_eq!(parse("bytes=0-3", Some(version), 10), ByteRange::Whole, "{version}");
        }
    }
}
