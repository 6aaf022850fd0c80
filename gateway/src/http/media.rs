//! Which media type a client prefers (RFC 9110, section 12.5.1). Pure.

use axum::http::{HeaderMap, header};

/// How much a client prefers a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preference {
    /// In thousandths. 0 means that the type is not acceptable.
    pub(crate) weight: u16,
    /// The type itself is named, not only a range that contains it.
    pub(crate) named: bool,
}

impl Preference {
    /// Whether the client names the type and accepts it.
    pub(crate) fn is_named(self) -> bool {
        self.named && self.weight > 0
    }
}

/// The precision of the type itself.
const EXACT: u8 = 3;

/// The preference for a type, by the most precise range in `Accept`. Without the header every type is acceptable.
pub(crate) fn preference(headers: &HeaderMap, kind: &str) -> Preference {
    let lines = headers.get_all(header::ACCEPT);
    let ranges = lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let best = ranges.filter_map(|range| match_range(range, kind)).max();
    let is_absent = !headers.contains_key(header::ACCEPT);
    let (precision, weight) = best.unwrap_or((0, if is_absent { 1000 } else { 0 }));
    Preference { weight, named: precision == EXACT }
}

/// How precisely a range names the type, and its weight.
fn match_range(range: &str, kind: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let named = parts.next()?;
    let precision = if named.eq_ignore_ascii_case(kind) {
        EXACT
    } else if named == "*/*" {
        1
    } else {
        let (main, sub) = named.split_once('/')?;
        (sub == "*" && main.eq_ignore_ascii_case(kind.split('/').next()?)).then_some(2)?
    };
    let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    Some((precision, weight.map_or(1000, |(_, text)| thousandths(text.trim()))))
}

/// `0.5` as 500. An invalid weight is ignored, which means 1.
pub(crate) fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<3}");
    match (whole, digits.parse::<u16>()) {
        ("0", Ok(weight)) if digits.len() == 3 => weight,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &[&str], kind: &str) -> (u16, bool) {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append(header::ACCEPT, line.parse().unwrap());
        }
        let Preference { weight, named } = preference(&headers, kind);
        (weight, named)
    }

    #[test]
    fn the_most_precise_range_decides() {
        const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let rows: [(&[&str], &str, (u16, bool)); 14] = [
            (&[], "text/html", (1000, false)),
            (&["*/*"], "text/html", (1000, false)),
            (&[BROWSER], "text/html", (1000, true)),
            (&[BROWSER], "application/json", (800, false)),
            (&["text/*;q=0.3, text/html;q=0.7"], "text/html", (700, true)),
            (&["text/*;q=0.3"], "text/html", (300, false)),
            (&["text/html;q=0"], "text/html", (0, true)),
            (&["*/*, text/html;q=0.001"], "text/html", (1, true)),
            (&["application/json"], "text/html", (0, false)),
            (&["application/json", "text/html"], "text/html", (1000, true)),
            (&["TEXT/HTML;Q=0.5"], "text/html", (500, true)),
            (&["text/html; level=1; q=0.25"], "text/html", (250, true)),
            (&["text/html;q=nonsense"], "text/html", (1000, true)),
            (&["nonsense, ,;q=1"], "text/html", (0, false)),
        ];
        for (accept, kind, expected) in rows {
            assert_eq!(of(accept, kind), expected, "{accept:?} {kind}");
        }
    }
}
