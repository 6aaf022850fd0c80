//! Recognizes the modifications that a prompt asks for by a few key words.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Modification {
    Title(String),
    Dark,
    Light,
    /// A CSS colour and its name.
    Accent(&'static str, &'static str),
    Bigger,
    Smaller,
    Add {
        what: Addition,
        text: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addition {
    Footer,
    Button,
    Section,
}

const COLOURS: [(&str, &str); 10] = [
    ("red", "#dc2626"),
    ("orange", "#ea580c"),
    ("yellow", "#ca8a04"),
    ("green", "#16a34a"),
    ("teal", "#0d9488"),
    ("blue", "#2563eb"),
    ("purple", "#9333ea"),
    ("violet", "#7c3aed"),
    ("pink", "#db2777"),
    ("brown", "#92400e"),
];
/// The words before a title. The first entry that a prompt contains is used.
const TITLE_LEADS: [&str; 12] = [
    "title to ",
    "title is ",
    "title: ",
    "title ",
    "heading to ",
    "headline to ",
    "rename it to ",
    "rename it ",
    "call it ",
    "called ",
    "named ",
    "name it ",
];
const MAX_TEXT_CHARS: usize = 80;

/// The modifications that a prompt asks for, in a fixed order.
pub(super) fn parse(prompt: &str) -> Vec<Modification> {
    // ASCII lower case keeps the length, so positions are valid in both texts.
    let lower = prompt.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let mut modifications = Vec::new();
    modifications.extend(title(prompt, &lower).map(Modification::Title));
    if has(&["dark", "darker", "night", "black"]) {
        modifications.push(Modification::Dark);
    } else if has(&["light", "lighter", "bright", "brighter", "white"]) {
        modifications.push(Modification::Light);
    }
    modifications.extend(COLOURS.iter().find(|(name, _)| words.contains(name)).map(|(name, value)| Modification::Accent(value, name)));
    if has(&["bigger", "larger", "big", "large"]) {
        modifications.push(Modification::Bigger);
    } else if has(&["smaller", "small", "tiny"]) {
        modifications.push(Modification::Smaller);
    }
    modifications.extend(addition(prompt, &lower));
    modifications
}

/// The modification for a prompt without a known one: adds a section with the words of the prompt.
pub(super) fn note(prompt: &str) -> Modification {
    Modification::Add { what: Addition::Section, text: capitalized(&phrase(prompt).unwrap_or_else(|| "A small change".to_owned())) }
}

impl Modification {
    /// A clause for the answer.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Title(title) => format!("the title is now “{title}”"),
            Self::Dark => "the colours are dark".to_owned(),
            Self::Light => "the colours are light".to_owned(),
            Self::Accent(_, name) => format!("the accent colour is {name}"),
            Self::Bigger => "the text is bigger".to_owned(),
            Self::Smaller => "the text is smaller".to_owned(),
            Self::Add { what: Addition::Footer, text } => format!("there is a footer “{text}”"),
            Self::Add { what: Addition::Button, text } => format!("there is a button “{text}”"),
            Self::Add { what: Addition::Section, text } => format!("there is a new section “{text}”"),
        }
    }
}

fn title(prompt: &str, lower: &str) -> Option<String> {
    let at = TITLE_LEADS.iter().find_map(|lead| lower.find(lead).map(|at| at + lead.len()))?;
    phrase(&prompt[at..])
}

fn addition(prompt: &str, lower: &str) -> Option<Modification> {
    let at = ["add ", "insert ", "include "].iter().find_map(|lead| lower.find(lead).map(|at| at + lead.len()))?;
    let text_at = ["saying ", "that says ", "with the text ", "labelled ", "labeled "]
        .iter()
        .find_map(|lead| lower[at..].find(lead).map(|found| at + found + lead.len()));
    let what = if lower[at..].contains("footer") {
        Addition::Footer
    } else if lower[at..].contains("button") {
        Addition::Button
    } else {
        Addition::Section
    };
    let mut text = &prompt[text_at.unwrap_or(at)..];
    for article in ["a ", "an ", "the ", "some "] {
        if text_at.is_none()
            && text.len() >= article.len()
            && text.is_char_boundary(article.len())
            && text[..article.len()].eq_ignore_ascii_case(article)
        {
            text = &text[article.len()..];
        }
    }
    Some(Modification::Add { what, text: capitalized(&phrase(text)?) })
}

/// The text in quotes, or else the words up to the end of the sentence or the next modification.
fn phrase(text: &str) -> Option<String> {
    let text = text.trim_start();
    let quotes = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’'), ('«', '»'), ('`', '`')];
    let first = text.chars().next()?;
    let quoted = quotes.iter().find(|(open, _)| *open == first).and_then(|(open, close)| text[open.len_utf8()..].split_once(*close));
    let words = match quoted {
        Some((inside, _)) => inside,
        None => {
            let end = text.find(['.', '!', '?', '\n', ',', ';']).unwrap_or(text.len());
            let lower = text[..end].to_ascii_lowercase();
            let end = [" and make ", " and add ", " and change ", " and use ", " with a "]
                .iter()
                .filter_map(|next| lower.find(next))
                .min()
                .unwrap_or(end);
            &text[..end]
        }
    };
    let words: String = words.trim().chars().take(MAX_TEXT_CHARS).collect();
    (!words.is_empty()).then_some(words)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(what: Addition, text: &str) -> Modification {
        Modification::Add { what, text: text.into() }
    }

    #[test]
    fn prompts_are_parsed_to_modifications() {
        let title = |text: &str| Modification::Title(text.into());
        let blue = Modification::Accent("#2563eb", "blue");
        for (prompt, modifications) in [
            ("Make it dark", vec![Modification::Dark]),
            ("Change the title to \"Groceries, weekly\" and make it blue!", vec![title("Groceries, weekly"), blue.clone()]),
            ("change the title to My Day and make it dark. Thanks", vec![title("My Day"), Modification::Dark]),
            ("Build a todo list called Groceries.", vec![title("Groceries")]),
            ("Title: “Über uns”", vec![title("Über uns")]),
            ("add a footer saying Hello World", vec![add(Addition::Footer, "Hello World")]),
            ("Please add an export button", vec![add(Addition::Button, "Export button")]),
            ("add some about text, bigger", vec![Modification::Bigger, add(Addition::Section, "About text")]),
            ("use LIGHT colours, smaller font", vec![Modification::Light, Modification::Smaller]),
            ("title ", vec![]),
            ("", vec![]),
            ("ändere den Text", vec![]),
        ] {
            assert_eq!(parse(prompt), modifications, "{prompt}");
        }
    }

    #[test]
    fn every_prompt_has_a_note() {
        assert_eq!(note("über alles. Mehr"), add(Addition::Section, "Über alles"));
        assert_eq!(note(" \n"), add(Addition::Section, "A small change"));
        assert_eq!(note(&"x".repeat(500)), add(Addition::Section, &format!("X{}", "x".repeat(79))));
    }
}
