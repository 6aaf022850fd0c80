//! The terms of a text: its words in their basic form, and pairs of them that follow each other. Words that say nothing are left out before.

use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Words that say nothing about the work, and end no pair.
const STOP_WORDS: &str = "a about after again all also am an and any are as at be because been before being but by can cannot could did do \
    does doing don down during each few for from further get had has have having he her here hers him his how i if in into is isn it its \
    itself just let me more most my no nor not now of off on once only or other our out over own same she should so some such than that \
    the their them then there these they this those through to too under until up us very was we were what when where which while who \
    whom why will with would you your";
/// The same of other languages that people write in, without words that are English nouns or verbs, too.
const FOREIGN_STOP_WORDS: &str = "ich du er sie es wir ihr mein meine meinen meiner dein der das den dem des ein eine einen einem einer und oder aber \
    nicht kein keine mit auf im zu zum zur von vom fur aus bei nach uber unter wenn dass ob wie was wer wo ist sind wird werden \
    kann konnen soll sollen will wollen mochte bitte mir mich dir noch nur auch schon mal so sich habe haben da dann yo tu \
    el ella lo la los las un una unos unas y o pero no en de del al por para que como si ser esta estan mi mis su sus te se le les \
    ya muy mas cuando donde quiero necesito puedo puede hay todos este eso esa hacer haz je il elle on nous vous ils elles d et ou \
    mais ne pas avec dans sur qui quoi comme sont etre mon ma mes ta tes sa ses ce cette ces tout tous tres quand \
    j l c qu veux voudrais peux peut faut au aux fais";
/// Words of most requests.
const REQUEST_WORDS: &str = "please want need like make add build create help get use using thing things something really";
/// A longer text has no further terms. A request of this size is searched within the time that selection has.
const MAX_WORDS: usize = 400;

static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));
static STOP: LazyLock<std::collections::HashSet<&'static str>> =
    LazyLock::new(|| [STOP_WORDS, FOREIGN_STOP_WORDS, REQUEST_WORDS].into_iter().flat_map(str::split_whitespace).collect());

/// The terms of a text in their order, with repetitions. A pair is its two words with a space between them.
pub(crate) fn of(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut last: Option<String> = None;
    for word in words(text).take(MAX_WORDS) {
        if STOP.contains(word.as_str()) {
            continue;
        }
        let stem = STEMMER.stem(&word).into_owned();
        if let Some(last) = &last {
            terms.push(format!("{last} {stem}"));
        }
        terms.push(stem.clone());
        last = Some(stem);
    }
    terms
}

/// The words of a text, and their basic forms.
pub(super) fn words_and_stems(text: &str) -> Vec<(String, String)> {
    words(text).map(|word| (STEMMER.stem(&word).into_owned(), word)).map(|(stem, word)| (word, stem)).collect()
}

/// Spellings of a word that would be several words, or none.
const SPELLINGS: [(&str, &str); 8] = [
    ("ß", "ss"),
    ("c++", "cpp"),
    ("c#", "csharp"),
    (".net", " dotnet"),
    ("to-do", "todo"),
    ("to do list", "todo list"),
    ("to do app", "todo app"),
    ("to dos", "todos"),
];

/// The words of a text in lower case, without accents. `C++`, `C#` and `.NET` keep their signs, and `e-mail` is one word.
fn words(text: &str) -> impl Iterator<Item = String> {
    let folded: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
    let folded = SPELLINGS.iter().fold(folded, |text, (spelling, word)| text.replace(spelling, word));
    let words: Vec<String> = join_letters(&folded)
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '\u{2019}')
        .map(|word| word.split(['\'', '\u{2019}']).next().unwrap_or_default().to_owned())
        .filter(|word| !word.is_empty())
        .collect();
    words.into_iter()
}

/// The text without the hyphens after single letters, as in `e-mail` and `x-axis`.
fn join_letters(text: &str) -> String {
    let (mut joined, mut word) = (String::with_capacity(text.len()), 0);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_inside = word == 1 && joined.ends_with(char::is_alphabetic) && rest.peek().is_some_and(|next| next.is_alphabetic());
        if c == '-' && is_inside {
            continue;
        }
        word = if c.is_alphanumeric() { word + 1 } else { 0 };
        joined.push(c);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_stems_and_pairs() {
        assert_eq!(
            of("Draggable cards!"),
            ["draggabl", "card"].map(str::to_owned).into_iter().fold(vec![], |mut all: Vec<String>, stem| {
                if let Some(last) = all.last() {
                    let pair = format!("{last} {stem}");
                    all.push(pair);
                }
                all.push(stem);
                all
            })
        );
        for (text, terms) in [
            ("", &[][..]),
            ("the and of", &[]),
            ("Dark mode", &["dark", "dark mode", "mode"]),
            ("It's the buttons\u{2019} colour", &["button", "button colour", "colour"]),
            ("Menü für Größen", &["menu", "menu grossen", "grossen"]),
            ("a to-do list", &["todo", "todo list", "list"]),
            ("my to do list", &["todo", "todo list", "list"]),
            ("an e-commerce T-shirt", &["ecommerc", "ecommerc tshirt", "tshirt"]),
            ("a - b x-1 - y", &["b", "b x", "x", "x 1", "1"]),
            ("C++ / C# / .NET", &["cpp", "cpp csharp", "csharp", "csharp dotnet", "dotnet"]),
        ] {
            assert_eq!(of(text), terms, "{text}");
        }
        assert!(of(&"word ".repeat(100_000)).len() < 2 * MAX_WORDS);
    }
}
