//! Skills: instructions for special kinds of work, each a folder with a `SKILL.md` (front matter and text) and further files. The prompt has one
//! line for each; the model reads the rest by tool. Twelve are built in. A folder (`BACKLOT_AGENTS_DIR`) and the project can add some. A skill of the
//! project replaces one of the folder with the same name, and one of the folder a built-in one.

mod of_turn;

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

pub(crate) use self::of_turn::{Missing, ProjectSkills, Reading, TurnSkills, bounded};
use crate::{
    digest::short_sha256,
    model::front_matter::{self, FrontMatter, cut_description},
};

const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/skills.rs"));
static PARSED: LazyLock<BTreeMap<String, Skill>> = LazyLock::new(|| {
    let parsed = BUILT_IN
        .iter()
        .filter_map(|(name, text)| Skill::parse(name, BTreeMap::from([(FILE.to_owned(), (*text).to_owned())]), &mut Vec::new()).ok());
    parsed.map(|skill| (skill.name.clone(), skill)).collect()
});

/// The file that makes a folder a skill.
pub(crate) const FILE: &str = "SKILL.md";
/// The longest name in bytes.
const MAX_NAME: usize = 64;
/// Bytes of a content version.
const VERSION_BYTES: usize = 16;

/// A skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skill {
    /// Lower-case letters, digits and `-`.
    pub name: String,
    /// When to use it, on one line.
    pub description: String,
    /// The text of `SKILL.md` after its front matter.
    pub body: String,
    /// Further files by their paths below the folder.
    pub files: BTreeMap<String, String>,
    /// A hash of all of it.
    pub version: String,
}

/// The files of the folder of a skill, by their paths below it.
pub(crate) type Files = BTreeMap<String, String>;

impl Skill {
    /// Reads a skill from the files of its folder, whose name is `folder`. What is ignored or guessed becomes a note.
    ///
    /// # Errors
    /// It is not a skill: `SKILL.md` is missing or has no front matter, no text, no description or an invalid name.
    pub(crate) fn parse(folder: &str, mut files: Files, notes: &mut Vec<String>) -> Result<Self, String> {
        let text = files.remove(FILE).ok_or("has no SKILL.md")?;
        front_matter::check_characters(&text)?;
        let (front, body) = front_matter::split(&text).map_err(|problem| problem.to_string())?;
        if body.is_empty() {
            return Err("has no text after its front matter".to_owned());
        }
        // Fields of other products, such as a license, mean nothing here.
        let front = FrontMatter::read(&front, &mut Vec::new());
        let name = front.name.filter(|name| !name.is_empty()).unwrap_or_else(|| folder.to_owned());
        check_name(&name)?;
        let description = front.description.filter(|description| !description.is_empty()).ok_or("has no description")?;
        let description = cut_description(description, notes);
        let mut skill = Self { name, description, body, files, version: String::new() };
        skill.version = short_sha256(serde_json::to_vec(&skill).unwrap_or_default(), VERSION_BYTES);
        Ok(skill)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_valid = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_valid) {
        return Err(format!("its name {name:?} must be 1 to {MAX_NAME} lower-case letters, digits and -"));
    }
    Ok(())
}

/// The skills of a cluster at one moment, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skills {
    skills: BTreeMap<String, Skill>,
    version: String,
}

impl Skills {
    /// The built-in skills and those of folders, each with its path. Returns also notes: a path, and a sentence. Of folders with the same name the
    /// first one counts.
    pub(crate) fn load(folders: Vec<(String, Files)>) -> (Self, Vec<(String, String)>) {
        let (mut own, mut notes) = (BTreeMap::new(), Vec::new());
        for (path, files) in folders {
            let mut more = Vec::new();
            let folder = path.rsplit('/').next().unwrap_or_default();
            match Skill::parse(folder, files, &mut more) {
                Ok(skill) if own.contains_key(&skill.name) => {
                    more.push(format!("is ignored: another skill has the name {:?}, too", skill.name))
                }
                Ok(skill) => drop(own.insert(skill.name.clone(), skill)),
                Err(problem) => more.push(format!("is not a skill: {problem}")),
            }
            notes.extend(more.into_iter().map(|note| (path.clone(), note)));
        }
        let mut skills = PARSED.clone();
        skills.extend(own);
        (Self::of(skills.into_values()), notes)
    }

    /// A set of these skills.
    pub(crate) fn of(skills: impl IntoIterator<Item = Skill>) -> Self {
        let skills: BTreeMap<_, _> = skills.into_iter().map(|skill| (skill.name.clone(), skill)).collect();
        let versions: Vec<&str> = skills.values().map(|skill| skill.version.as_str()).collect();
        Self { version: short_sha256(versions.join(" "), VERSION_BYTES), skills }
    }

    /// A hash of all skills.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// All skills, sorted by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Skill> {
        self.skills.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::front_matter::MAX_DESCRIPTION;

    fn files(text: &str) -> Files {
        Files::from([(FILE.to_owned(), text.to_owned())])
    }

    fn parse(text: &str) -> Result<Skill, String> {
        Skill::parse("folder", files(text), &mut Vec::new())
    }

    #[test]
    fn a_skill_is_its_file_and_further_files() {
        let text = "---\nname: charts\ndescription: >-\n  Draws\n  charts.\nlicense: MIT\n---\n\nBody.\n";
        let mut all = files(text);
        all.insert("more.md".to_owned(), "More.".to_owned());
        let skill = Skill::parse("x", all, &mut Vec::new()).expect("a skill");
        assert_eq!((skill.name.as_str(), skill.description.as_str(), skill.body.as_str()), ("charts", "Draws charts.", "Body."));
        assert_eq!(skill.files.into_keys().collect::<Vec<_>>(), ["more.md"]);
        assert_ne!(parse(text).expect("a skill").version, skill.version);
        assert_eq!(parse(&text.replace('\n', "\r\n")), parse(text));
        assert_eq!(parse("---\ndescription: d\n---\nx").expect("a skill").name, "folder");
    }

    #[test]
    fn a_folder_that_is_not_a_skill_is_refused() {
        for (text, problem) in [
            ("", "does not begin"),
            ("---\ndescription: d\n---\n", "no text"),
            ("---\nname: a\n---\nx", "no description"),
            ("---\nname: Not A Name\ndescription: d\n---\nx", "lower-case letters"),
            ("---\nname: ../up\ndescription: d\n---\nx", "lower-case letters"),
            ("---\nname: a\ndescription: d\n---\nx\0", "control characters"),
        ] {
            assert!(parse(text).expect_err(text).contains(problem), "{text:?}");
        }
        assert!(Skill::parse("a", Files::new(), &mut Vec::new()).is_err());
        let mut notes = Vec::new();
        let long = Skill::parse("a", files(&format!("---\ndescription: {}\n---\nx", "d".repeat(2_000))), &mut notes).expect("a skill");
        assert_eq!((long.description.len(), notes.len()), (MAX_DESCRIPTION, 1));
    }

    #[test]
    fn a_folder_adds_and_replaces_skills() {
        let (built_in, notes) = Skills::load(Vec::new());
        assert_eq!((built_in.all().count(), notes), (12, Vec::new()));
        let text = |name: &str, body: &str| files(&format!("---\nname: {name}\ndescription: d\n---\n{body}"));
        let folders = vec![
            ("a/charts".to_owned(), text("charts", "Mine.")),
            ("b/charts".to_owned(), text("charts", "Other.")),
            ("c".to_owned(), text("own", "Own.")),
            ("d".to_owned(), Files::new()),
        ];
        let (skills, notes) = Skills::load(folders);
        let body = |name: &str| skills.all().find(|skill| skill.name == name).map(|skill| skill.body.clone());
        assert_eq!((skills.all().count(), body("charts").as_deref(), body("own").as_deref()), (13, Some("Mine."), Some("Own.")));
        assert_eq!(notes.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["b/charts", "d"]);
        assert_ne!(skills.version(), built_in.version());
        assert_eq!(Skills::of(skills.all().cloned()), skills);
    }
}
