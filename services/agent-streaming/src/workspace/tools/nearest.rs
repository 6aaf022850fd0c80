//! Finds the lines of a file that are most similar to a text that the file does not contain, so that a model sees its mistake.

use std::collections::{HashMap, HashSet};

const MAX_LINES: usize = 12;
const MAX_BYTES: usize = 2_000;
/// How many lines of the searched text are compared.
const MAX_COMPARED_LINES: usize = 64;
/// How much of a line is compared.
const MAX_COMPARED_CHARS: usize = 200;
/// Lines with a smaller share of equal letter pairs do not count as similar.
const MIN_LIKENESS: f64 = 0.4;

/// The lines of `text` that are most similar to `wanted`, with the number of the first one, from 1.
pub(super) fn region(text: &str, wanted: &str) -> Option<(u32, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let wanted: Vec<&str> = wanted.lines().collect();
    let start = by_equal_lines(&lines, &wanted).or_else(|| by_likeness(&lines, &wanted))?;
    let end = (start + wanted.len().clamp(1, MAX_LINES)).min(lines.len());
    Some((u32::try_from(start + 1).ok()?, clip(&lines[start..end].join("\n"))))
}

/// Cuts a region to the size that is shown.
pub(super) fn clip(text: &str) -> String {
    let lines: Vec<&str> = text.lines().take(MAX_LINES).collect();
    let text = lines.join("\n");
    text[..text.floor_char_boundary(MAX_BYTES)].to_owned()
}

/// The start with the most equal lines, ignoring surrounding white space. Each pair of equal lines votes for the start that it implies,
/// and long lines have more weight.
fn by_equal_lines(lines: &[&str], wanted: &[&str]) -> Option<usize> {
    let mut at: HashMap<&str, Vec<usize>> = HashMap::new();
    for (number, line) in wanted.iter().take(MAX_COMPARED_LINES).enumerate() {
        let line = line.trim();
        if line.len() > 2 {
            at.entry(line).or_default().push(number);
        }
    }
    let mut votes: HashMap<usize, usize> = HashMap::new();
    for (number, line) in lines.iter().enumerate() {
        let line = line.trim();
        for wanted in at.get(line).into_iter().flatten() {
            *votes.entry(number.saturating_sub(*wanted)).or_default() += line.len().min(40);
        }
    }
    votes.into_iter().max_by_key(|(start, weight)| (*weight, usize::MAX - start)).map(|(start, _)| start)
}

/// The start that the line most similar to the longest wanted line implies.
fn by_likeness(lines: &[&str], wanted: &[&str]) -> Option<usize> {
    let (offset, anchor) = wanted.iter().enumerate().max_by_key(|(number, line)| (line.trim().len(), usize::MAX - number))?;
    let anchor = pairs(anchor);
    let likeness = |line: &str| {
        let line = pairs(line);
        let both = line.intersection(&anchor).count();
        #[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
        let share = 2.0 * both as f64 / (line.len() + anchor.len()).max(1) as f64;
        share
    };
    let best = lines.iter().enumerate().map(|(number, line)| (number, likeness(line))).reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    (best.1 >= MIN_LIKENESS).then(|| best.0.saturating_sub(offset))
}

/// The pairs of adjacent letters of a line.
fn pairs(line: &str) -> HashSet<(char, char)> {
    let letters: Vec<char> = line.trim().chars().take(MAX_COMPARED_CHARS).flat_map(char::to_lowercase).collect();
    letters.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "function add(a, b) {\n  return a + b;\n}\n\nfunction sub(a, b) {\n  return a - b;\n}\n\nexport { add, sub };\n";

    #[test]
    fn the_most_similar_lines_are_found() {
        for (wanted, line, first) in [
            ("function sub(a, b) {\n    return a - b;\n}", 5, "function sub(a, b) {"),
            ("function sub(x, y) {\n  return a - b;\n}", 5, "function sub(a, b) {"),
            ("export { add, sub, mul };", 9, "export { add, sub };"),
            ("  return a+b;", 2, "  return a + b;"),
        ] {
            let (number, region) = region(FILE, wanted).expect(wanted);
            assert_eq!((number, region.lines().next()), (line, Some(first)), "{wanted}");
        }
    }

    #[test]
    fn lines_without_similarity_are_not_found() {
        for (text, wanted) in [(FILE, "zzzz qqqq"), (FILE, "}"), ("", "x"), (FILE, "\n\n")] {
            assert_eq!(region(text, wanted), None, "{wanted:?}");
        }
    }

    #[test]
    fn a_region_is_bounded() {
        let text = format!("start of it\n{}", "x\n".repeat(1_000));
        let (_, shown) = region(&text, &text.replace("start of it", " start of it")).expect("near");
        assert_eq!(shown.lines().count(), MAX_LINES);
        assert!(region(&"é".repeat(5_000), &"é".repeat(5_001)).expect("near").1.len() <= MAX_BYTES);
    }

    #[test]
    fn a_large_file_of_equal_lines_takes_little_time() {
        let text = "same line\n".repeat(20_000);
        assert_eq!(region(&text, &format!("{}end", "same line\n".repeat(200))).map(|(line, _)| line), Some(1));
    }
}
