//! Prompts, and the answers of the model to each. The number of a turn determines all of its files and texts.

use serde_json::{Value, json};

/// The number of words in the text of a step.
const WORDS: usize = 24;
/// The number of lines in a file.
const LINES: usize = 12;
/// The file that all turns of a project write.
pub const SHARED: &str = "shared.txt";
/// The module of a compiled project that [`Task::Module`] writes.
pub const MODULE: &str = "src/greet.ts";

/// What each prompt has between its number and its task.
pub const VERB: &str = " does ";

/// What a turn does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Writes a file of its own and edits it.
    Write,
    /// Like [`Task::Write`], and then moves the file.
    Move,
    /// Like [`Task::Write`], and then writes the module of a compiled project, with a pause before its end.
    Module,
    /// Writes the file that all turns of the project write.
    Shared,
    /// Writes that file and one of its own, with a pause. A save of that file during the pause causes a conflict.
    Conflict,
    /// Answers without writing files.
    Answer,
    /// Is asked a question in mode ask. The model tries to write a file, which must be refused.
    Ask,
    /// Like [`Task::Answer`], with a pause that is longer than a lease.
    SlowAnswer,
    /// Like [`Task::Write`], but each of its workers is killed.
    Poison,
}

const TASKS: [(Task, &str); 9] = [
    (Task::Write, "write"),
    (Task::Move, "move"),
    (Task::Module, "module"),
    (Task::Shared, "shared"),
    (Task::Conflict, "conflict"),
    (Task::Answer, "answer"),
    (Task::Ask, "ask"),
    (Task::SlowAnswer, "slow-answer"),
    (Task::Poison, "poison"),
];

/// The prompt of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    /// Unique within a run.
    pub number: u64,
    pub task: Task,
}

/// One answer of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub text: String,
    pub calls: Vec<(&'static str, Value)>,
}

impl Prompt {
    /// The text of the prompt.
    #[must_use]
    pub fn text(&self) -> String {
        let name = TASKS.iter().find(|(task, _)| *task == self.task).map_or("", |(_, name)| name);
        format!("turn {}{VERB}{name}", self.number)
    }

    /// Parses a prompt at the end of a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once("turn ")?;
        let (number, name) = rest.split_once(VERB)?;
        let (task, _) = TASKS.iter().find(|(_, known)| *known == name.trim())?;
        Some(Self { number: number.parse().ok()?, task: *task })
    }

    /// The model of the turn. Turns alternate between the two providers.
    #[must_use]
    pub fn model(&self) -> &'static str {
        if self.number.is_multiple_of(2) { "openai/test" } else { "anthropic/test" }
    }

    /// The mode of the turn, as in its request.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        if self.task == Task::Ask { "TURN_MODE_ASK" } else { "TURN_MODE_BUILD" }
    }

    /// The answers of the model, one per step. The last one calls no tool.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut calls: Vec<Vec<(&'static str, Value)>> = Vec::new();
        let path = self.path();
        let write = |path: &str, content: String| ("write_file", json!({"path": path, "content": content}));
        match self.task {
            Task::Write | Task::Move | Task::Module | Task::Poison => {
                calls.push(vec![write(&path, self.content())]);
                let edit = json!({"path": path, "old_text": self.line(3), "new_text": format!("{} edited", self.line(3))});
                calls.push(vec![("edit_file", edit), write(SHARED, format!("last written by {}\n", self.number))]);
                if self.task == Task::Move {
                    calls.push(vec![("rename_file", json!({"path": path, "new_path": self.moved()}))]);
                }
                if self.task == Task::Module {
                    calls.push(vec![write(MODULE, self.module())]);
                }
            }
            Task::Shared | Task::Conflict => {
                let other = if self.task == Task::Shared { "list.txt" } else { &path };
                calls.push(vec![write(SHARED, format!("last written by {}\n", self.number)), write(other, self.content())]);
            }
            Task::Ask => calls.push(vec![write(&path, self.content())]),
            Task::Answer | Task::SlowAnswer => {}
        }
        calls.push(Vec::new());
        (1..).zip(calls).map(|(step, calls)| Step { text: self.step_text(step), calls }).collect()
    }

    /// The path and the content of the turn's own file after the turn; `None` if it writes none.
    #[must_use]
    pub fn own_file(&self) -> Option<(String, String)> {
        let content = self.content().replacen(&self.line(3), &format!("{} edited", self.line(3)), 1);
        match self.task {
            Task::Write | Task::Module | Task::Poison => Some((self.path(), content)),
            Task::Move => Some((self.moved(), content)),
            Task::Shared | Task::Conflict | Task::Ask | Task::Answer | Task::SlowAnswer => None,
        }
    }

    fn path(&self) -> String {
        format!("turns/{}.txt", self.number)
    }

    fn moved(&self) -> String {
        format!("moved/{}.txt", self.number)
    }

    fn module(&self) -> String {
        format!("export const greet = (name: string): string => `greeting {}, ${{name}}`;\n", self.number)
    }

    fn content(&self) -> String {
        (1..=LINES).map(|line| self.line(line) + "\n").collect()
    }

    fn line(&self, line: usize) -> String {
        format!("line {line} of turn {}.", self.number)
    }

    fn step_text(&self, step: usize) -> String {
        (1..=WORDS).map(|word| format!("{}.{step}.{word} ", self.number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_parsed_from_its_text() {
        for (task, _) in TASKS {
            let prompt = Prompt { number: 17, task };
            assert_eq!(Prompt::parse(&format!("<project_files count=\"0\">\n</project_files>\n\n{}", prompt.text())), Some(prompt));
            assert!(prompt.steps().iter().rev().skip(1).all(|step| !step.calls.is_empty()));
            assert!(prompt.steps().last().is_some_and(|step| step.calls.is_empty()));
        }
        assert_eq!(Prompt::parse("make it dark"), None);
    }
}
