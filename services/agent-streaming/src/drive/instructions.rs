//! What a turn is told besides its agent: its mode, the guidance of the project, and skills. All of it is fixed when the turn starts: the project's
//! part is read from the base revision, and the rest is stored with the turn.

use std::collections::BTreeMap;

use proto::project_storage::{File, FileEntry, FileKind, file_content::Data};

use super::base::TurnFiles;
use crate::{
    model::{
        agents::Agent,
        guidance::{self, Guidance},
        message::ToolSpec,
        mode,
        prompt::SystemParts,
        skills::{self, Missing, ProjectSkills, Reading, Skills, TurnSkills},
    },
    turn::{Failure, Reason, Turn, mode::Mode},
    upstream::failure_of,
    workspace::{
        overlay::{BaseError, BaseFiles, Refusal},
        tools::{self, ToolOutcome, catalogue::READ_SKILL, policy},
    },
};

/// The instructions of a turn.
pub(crate) struct Instructions {
    /// The part of the prompt with the guidance of the project.
    guidance: String,
    skills: TurnSkills,
    /// The part of the prompt that lists the skills.
    skill_lines: String,
    /// The names of the turn's tools.
    tools: Vec<String>,
    mode_rules: &'static str,
}

/// What decides the instructions besides the files of the project.
pub(crate) struct Given<'a> {
    pub(crate) mode: Mode,
    /// The names of the tools that agent, mode and operator allow.
    pub(crate) tools: Vec<String>,
    /// The skills of the cluster.
    pub(crate) mounted: Option<&'a Skills>,
}

/// Reads the instructions of a turn that works on a tree, with the skills of the cluster.
pub(super) async fn of_turn(
    turn: &Turn,
    (agent, mounted): (&Agent, Option<&Skills>),
    base: &TurnFiles,
    tree: &[FileEntry],
) -> Result<Instructions, Failure> {
    // A turn that the release before has accepted has no skills.
    if turn.skills.is_some() && mounted.is_none() {
        return Err(Failure::new(Reason::Internal, "this cluster no longer has the skills of the turn"));
    }
    let tools = turn.tools.clone().unwrap_or_else(|| policy::of_turn(&agent.tools, turn.mode, &[]));
    let given = Given { mode: turn.mode, tools, mounted };
    read(given, base, tree).await.map_err(|BaseError(fault)| failure_of(&fault))
}

/// Reads the instructions for the files of a revision.
///
/// # Errors
/// A file could not be read.
pub(crate) async fn read(given: Given<'_>, base: &dyn BaseFiles, tree: &[FileEntry]) -> Result<Instructions, BaseError> {
    let project = ProjectSkills::find(tree.iter().map(|entry| entry.path.as_str()));
    let listed = tree.iter().find(|entry| entry.path == guidance::FILE && entry.kind() != FileKind::Folder);
    let mut paths = project.files();
    paths.extend(listed.map(|entry| entry.path.clone()));
    let files = if paths.is_empty() { Vec::new() } else { base.read(&paths).await? };
    let mut texts: BTreeMap<_, _> = files.into_iter().filter_map(|file| Some((file.path.clone(), text(file)?))).collect();
    let guidance = match (listed, texts.remove(guidance::FILE)) {
        (None, _) => Guidance::default(),
        (Some(_), Some(text)) => Guidance::read(&text),
        // It may be above the limit of texts.
        (Some(entry), None) => match base.read_large(guidance::FILE).await?.and_then(text) {
            Some(text) => Guidance::read(&text),
            None => Guidance::unreadable(entry.size_bytes),
        },
    };
    let skills = TurnSkills::new(given.mounted, &project, &texts);
    let mut tools = guidance.narrow(given.tools);
    tools.retain(|tool| tool != READ_SKILL || !skills.is_empty());
    let skill_lines = if tools.iter().any(|tool| tool == READ_SKILL) { skills.section() } else { String::new() };
    Ok(Instructions { guidance: guidance.section(), skills, skill_lines, tools, mode_rules: mode::rules(given.mode) })
}

/// The text of a file. `None` if it has another content.
fn text(file: File) -> Option<String> {
    match file.content.and_then(|content| content.data) {
        Some(Data::Text(text)) => Some(text),
        None if file.size_bytes == 0 => Some(String::new()),
        Some(Data::Binary(_)) | None => None,
    }
}

impl Instructions {
    /// The system prompt.
    pub(crate) fn system(&self, agent: &Agent) -> String {
        SystemParts { agent: &agent.body, mode: self.mode_rules, guidance: &self.guidance, skills: &self.skill_lines }.text()
    }

    /// The tools of the turn.
    pub(crate) fn tools(&self) -> Vec<&'static ToolSpec> {
        tools::specs(&self.tools)
    }

    /// The result of a valid call of `read_skill`.
    pub(super) async fn read_skill(&self, base: &TurnFiles, name: &str, file: Option<&str>) -> Result<ToolOutcome, Failure> {
        let summary = file.map_or_else(|| format!("the skill {name}"), |file| format!("{file} of the skill {name}"));
        let refused = |refusal: Refusal| Ok(ToolOutcome::refused(refusal));
        let path = match self.skills.read(name, file) {
            Ok(Reading::Text(text)) => return Ok(ToolOutcome::read(text, summary)),
            Ok(Reading::Path(path)) => path,
            Err(Missing::Skill(text)) => return refused(Refusal::new("SKILL_NOT_FOUND", text)),
            Err(Missing::File(text)) => return refused(Refusal::new("FILE_NOT_FOUND", text)),
        };
        let found = base.read(std::slice::from_ref(&path)).await.map_err(|BaseError(fault)| failure_of(&fault))?.pop();
        match found.and_then(text) {
            Some(text) => Ok(ToolOutcome::read(skills::bounded(&text), summary)),
            None => refused(Refusal::new("FILE_IS_ASSET", format!("{path} is no text, or too large for one"))),
        }
    }
}
