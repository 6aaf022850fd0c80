//! What a prompt asks to be different, as far as a few words can tell.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Title(String),
    Dark,
    Light,
    /// A colour that CSS knows what to do with, and its name.
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
/// What stands before a title. The first one that a prompt has counts.
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

/// Everything that a prompt asks for, in a fixed order.
pub(super) fn parse(prompt: &str) -> Vec<Wish> {
    // Of the same length as the prompt, so that places in one are places in the other.
    let lower = prompt.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let mut wishes = Vec::new();
    wishes.extend(title(prompt, &lower).map(Wish::Title));
    if has(&["dark", "darker", "night", "black"]) {
        wishes.push(Wish::Dark);
    } else if has(&["light", "lighter", "bright", "brighter", "white"]) {
        wishes.push(Wish::Light);
    }
    wishes.extend(COLOURS.iter().find(|(name, _)| words.contains(name)).map(|(name, value)| Wish::Accent(value, name)));
    if has(&["bigger", "larger", "big", "large"]) {
        wishes.push(Wish::Bigger);
    } else if has(&["smaller", "small", "tiny"]) {
        wishes.push(Wish::Smaller);
    }
    wishes.extend(addition(prompt, &lower));
    wishes
}

/// The wish that stands for a prompt without one: its own words become part of the page.
pub(super) fn note(prompt: &str) -> Wish {
    Wish::Add { what: Addition::Section, text: capital(&phrase(prompt).unwrap_or_else(|| "A small change".to_owned())) }
}

impl Wish {
    /// What was done, for the answer.
    pub(super) fn done(&self) -> String {
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

fn addition(prompt: &str, lower: &str) -> Option<Wish> {
    let at = ["add ", "insert ", "include "].iter().find_map(|lead| lower.find(lead).map(|at| at + lead.len()))?;
    let said = ["saying ", "that says ", "with the text ", "labelled ", "labeled "]
        .iter()
        .find_map(|lead| lower[at..].find(lead).map(|found| at + found + lead.len()));
    let what = if lower[at..].contains("footer") {
        Addition::Footer
    } else if lower[at..].contains("button") {
        Addition::Button
    } else {
        Addition::Section
    };
    let mut wanted = &prompt[said.unwrap_or(at)..];
    for article in ["a ", "an ", "the ", "some "] {
        if said.is_none()
            && wanted.len() >= article.len()
            && wanted.is_char_boundary(article.len())
            && wanted[..article.len()].eq_ignore_ascii_case(article)
        {
            wanted = &wanted[article.len()..];
        }
    }
    Some(Wish::Add { what, text: capital(&phrase(wanted)?) })
}

/// What is in quotes, else the words up to the end of the sentence or the next wish.
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

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(what: Addition, text: &str) -> Wish {
        Wish::Add { what, text: text.into() }
    }

    #[test]
    fn words_become_wishes() {
        let title = |text: &str| Wish::Title(text.into());
        let blue = Wish::Accent("#2563eb", "blue");
        for (prompt, wishes) in [
            ("Make it dark", vec![Wish::Dark]),
            ("Change the title to \"Groceries, weekly\" and make it blue!", vec![title("Groceries, weekly"), blue.clone()]),
            ("change the title to My Day and make it dark. Thanks", vec![title("My Day"), Wish::Dark]),
            ("Build a todo list called Groceries.", vec![title("Groceries")]),
            ("Title: “Über uns”", vec![title("Über uns")]),
            ("add a footer saying Hello World", vec![add(Addition::Footer, "Hello World")]),
            ("Please add an export button", vec![add(Addition::Button, "Export button")]),
            ("add some about text, bigger", vec![Wish::Bigger, add(Addition::Section, "About text")]),
            ("use LIGHT colours, smaller font", vec![Wish::Light, Wish::Smaller]),
            ("title ", vec![]),
            ("", vec![]),
            ("ändere den Text", vec![]),
        ] {
            assert_eq!(parse(prompt), wishes, "{prompt}");
        }
    }

    #[test]
    fn any_prompt_can_become_a_note() {
        assert_eq!(note("über alles. Mehr"), add(Addition::Section, "Über alles"));
        assert_eq!(note(" \n"), add(Addition::Section, "A small change"));
        assert_eq!(note(&"x".repeat(500)), add(Addition::Section, &format!("X{}", "x".repeat(79))));
    }
}
