//! Prompts, and the steps of the model for each. A turn's number determines every file and every word of it.

use serde_json::{Value, json};

/// Numbered words in a step's text.
const WORDS: usize = 24;
/// Lines in a file.
const LINES: usize = 12;
/// What a turn should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A file of its own, written and then edited.
    File,
    /// The same, and then moved.
    Move,
    /// The file that every turn of the project writes.
    Shared,
    /// That file and one of its own, slowly. Whoever writes that file meanwhile causes a conflict.
    Clash,
    /// An answer without files.
    Talk,
    /// The same, with a pause that is longer than a lease.
    Think,
    /// Like [`Wish::File`], but each of its workers is killed.
    Poison,
}

const WISHES: [(Wish, &str); 7] = [
    (Wish::File, "file"),
    (Wish::Move, "move"),
    (Wish::Shared, "shared"),
    (Wish::Clash, "clash"),
    (Wish::Talk, "talk"),
    (Wish::Think, "think"),
    (Wish::Poison, "poison"),
];

/// One turn as it is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Unique within a run.
    pub number: u64,
    pub wish: Wish,
}

/// One answer of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub text: String,
    pub calls: Vec<(&'static str, Value)>,
}

impl Ask {
    /// What is sent as the prompt.
    #[must_use]
    pub fn prompt(&self) -> String {
        let name = WISHES.iter().find(|(wish, _)| *wish == self.wish).map_or("", |(_, name)| name);
        format!("turn {} does {name}", self.number)
    }

    /// Finds the turn of a prompt anywhere in a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once("turn ")?;
        let (number, name) = rest.split_once(" does ")?;
        let (wish, _) = WISHES.iter().find(|(_, known)| *known == name.trim())?;
        Some(Self { number: number.parse().ok()?, wish: *wish })
    }

    /// Both providers are in use.
    #[must_use]
    pub fn model(&self) -> &'static str {
        if self.number.is_multiple_of(2) { "openai/test" } else { "anthropic/test" }
    }

    /// All answers to it, in order. The last one calls no tool.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut calls: Vec<Vec<(&'static str, Value)>> = Vec::new();
        let path = self.path();
        let write = |path: &str, content: String| ("write_file", json!({"path": path, "content": content}));
        match self.wish {
            Wish::File | Wish::Move | Wish::Poison => {
                calls.push(vec![write(&path, self.content())]);
                let edit = json!({"path": path, "old_text": self.line(3), "new_text": format!("{} edited", self.line(3))});
                calls.push(vec![("edit_file", edit), write(SHARED, format!("last written by {}\n", self.number))]);
                if self.wish == Wish::Move {
                    calls.push(vec![("rename_file", json!({"path": path, "new_path": self.moved()}))]);
                }
            }
            Wish::Shared | Wish::Clash => {
                let other = if self.wish == Wish::Shared { "list.txt" } else { &path };
                calls.push(vec![write(SHARED, format!("last written by {}\n", self.number)), write(other, self.content())]);
            }
            Wish::Talk | Wish::Think => {}
        }
        calls.push(Vec::new());
        (1..).zip(calls).map(|(step, calls)| Step { text: self.text(step), calls }).collect()
    }

    /// The content of its own file after the turn; `None` if it has none.
    #[must_use]
    pub fn own_file(&self) -> Option<(String, String)> {
        let content = self.content().replacen(&self.line(3), &format!("{} edited", self.line(3)), 1);
        match self.wish {
            Wish::File | Wish::Poison => Some((self.path(), content)),
            Wish::Move => Some((self.moved(), content)),
            Wish::Shared | Wish::Clash | Wish::Talk | Wish::Think => None,
        }
    }

    fn path(&self) -> String {
        format!("turns/{}.txt", self.number)
    }

    fn moved(&self) -> String {
        format!("moved/{}.txt", self.number)
    }

    fn content(&self) -> String {
        (1..=LINES).map(|line| self.line(line) + "\n").collect()
    }

    fn line(&self, line: usize) -> String {
        format!("line {line} of turn {}.", self.number)
    }

    fn text(&self, step: usize) -> String {
        (1..=WORDS).map(|word| format!("{}.{step}.{word} ", self.number)).collect()
    }
}

/// The file that everybody writes.
pub const SHARED: &str = "shared.txt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_known_by_its_prompt() {
        for (wish, _) in WISHES {
            let ask = Ask { number: 17, wish };
            assert_eq!(Ask::parse(&format!("<project_files count=\"0\">\n</project_files>\n\n{}", ask.prompt())), Some(ask));
            assert!(ask.steps().iter().rev().skip(1).all(|step| !step.calls.is_empty()));
            assert!(ask.steps().last().is_some_and(|step| step.calls.is_empty()));
        }
        assert_eq!(Ask::parse("make it dark"), None);
    }
}
