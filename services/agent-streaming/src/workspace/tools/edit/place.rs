//! Searches a text that a file does not contain exactly.

use std::{collections::BTreeMap, ops::Range};

use super::form::{Form, NormalizedText, Variation};

/// The result of a search.
pub(super) enum Search<'a> {
    None,
    One(SimilarPlace<'a>),
    /// The byte ranges of several places.
    Many(Vec<Range<usize>>),
}

/// A place that equals the text in a normal form.
pub(super) struct SimilarPlace<'a> {
    pub(super) form: Form,
    /// The whole file.
    pub(super) file: NormalizedText<'a>,
    pub(super) units: Range<usize>,
    pub(super) indentation: Indentation,
}

/// How the indentation of a place differs from that of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Indentation {
    Same,
    /// The file has tabs where the text has spaces.
    Tabs,
    /// The file has spaces where the text has tabs.
    Spaces,
}

impl SimilarPlace<'_> {
    /// The byte range in the file.
    pub(super) fn bytes(&self) -> Range<usize> {
        self.file.bytes(self.units.start, self.units.end)
    }

    pub(super) fn text(&self) -> &str {
        &self.file.source[self.bytes()]
    }

    /// Whether the place starts at the beginning of a line.
    pub(super) fn begins_a_line(&self) -> bool {
        self.file.begins_a_line(self.units.start)
    }

    /// The differences that were ignored, as the end of a sentence.
    pub(super) fn note(&self, old_text: &str) -> String {
        let has_end = self.bytes().end == self.file.source.len() && !self.text().ends_with(['\n', '\r']);
        let differs = |variation: &Variation| {
            let form = self.form.without(*variation);
            let (mut place, mut text) = (NormalizedText::new(self.text(), form, true), NormalizedText::new(old_text, form, true));
            if has_end {
                place.close();
                text.close();
            }
            self.form.has(*variation) && place.text != text.text
        };
        let differ: Vec<_> = Variation::ALL.into_iter().filter(differs).map(Variation::words).collect();
        match &differ[..] {
            [] => "; matched although the file does not end with a line break".to_owned(),
            [one] => format!("; matched although the {one} differ"),
            [more @ .., last] => format!("; matched although the {} and {last} differ", more.join(", ")),
        }
    }
}

/// Searches a text in the normal forms. The first level with a match decides.
pub(super) fn search<'a>(file: &'a str, old_text: &str) -> Search<'a> {
    for forms in Form::levels() {
        let (mut places, mut first) = (BTreeMap::new(), None);
        for form in forms {
            let (file, found) = in_form(file, old_text, form);
            places.extend(found.iter().map(|(units, _)| file.bytes(units.start, units.end)).map(|bytes| (bytes.start, bytes.end)));
            let near = found.into_iter().next().map(|(units, indentation)| SimilarPlace { form, file, units, indentation });
            first = first.or(near);
        }
        match (first, places.len()) {
            (Some(near), 1) => return Search::One(near),
            (None, _) => {}
            (Some(_), _) => return Search::Many(places.into_iter().map(|(from, to)| from..to).collect()),
        }
    }
    Search::None
}

/// The file in a form, and the matches in it.
fn in_form<'a>(file: &'a str, old_text: &str, form: Form) -> (NormalizedText<'a>, Vec<(Range<usize>, Indentation)>) {
    let (mut file, wanted) = (NormalizedText::new(file, form, true), NormalizedText::new(old_text, form, true));
    if form.has(Variation::Blanks) {
        file.close();
    }
    if wanted.text.trim().is_empty() {
        return (file, Vec::new());
    }
    let places = file.text.match_indices(&wanted.text).map(|(at, found)| file.unit_at(at)..file.unit_at(at + found.len()));
    let found = places.filter_map(|units| fits(&file, &units, &wanted, form).map(|indentation| (units, indentation))).collect();
    (file, found)
}

/// Whether a match can be replaced, and how its indentation differs.
fn fits(file: &NormalizedText<'_>, units: &Range<usize>, wanted: &NormalizedText<'_>, form: Form) -> Option<Indentation> {
    let ends_a_line = units.end >= file.len() || file.form_of(units.end, units.end + 1) == "\n";
    let bytes = file.bytes(units.start, units.end);
    let cuts = file.is_cut(units.start) && file.is_cut(units.end) && [bytes.start, bytes.end].iter().all(|at| file.is_between_letters(*at));
    let whole = cuts && (ends_a_line || !wanted.ends_a_line);
    let indented = wanted.source.starts_with([' ', '\t']);
    match form.has(Variation::Tabs) {
        false => whole.then_some(Indentation::Same),
        true if indented && !file.begins_a_line(units.start) => None,
        true => indentation(&file.source[bytes], wanted.source).filter(|_| whole),
    }
}

/// How the indentation differs. `None` if lines differ in different ways.
fn indentation(place: &str, wanted: &str) -> Option<Indentation> {
    let indents = |text: &str| {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let lines = text.split('\n').map(|line| line[..line.len() - line.trim_start_matches([' ', '\t']).len()].to_owned());
        lines.collect::<Vec<_>>()
    };
    let blank = |line: &str| line.trim().is_empty();
    let texts = wanted.replace("\r\n", "\n").replace('\r', "\n");
    let mut found = Indentation::Same;
    for ((actual, expected), line) in indents(place).iter().zip(&indents(wanted)).zip(texts.split('\n')) {
        if actual == expected || blank(line) {
            continue;
        }
        let this = match (actual.contains('\t'), expected.contains('\t')) {
            (true, false) => Indentation::Tabs,
            (false, true) => Indentation::Spaces,
            _ => return None,
        };
        if found != Indentation::Same && found != this {
            return None;
        }
        found = this;
    }
    Some(found)
}
