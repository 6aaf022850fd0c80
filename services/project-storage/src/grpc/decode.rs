//! From messages to domain types. Every field that is amiss is named in one answer; a change set names its first.

use proto::{
    auth::Plan,
    error::Violations,
    id::MessageId,
    project_storage::{FileChange, FileContent, OnConflict, file_change, file_content},
};

use crate::{
    error::{Error, SERVICE},
    git::{self, Content, FileRef, Oid},
    merge::MergeMode,
    model::{
        change::{Action, Change, ChangeSet},
        condition::Condition,
        limits::{FILES_PER_SAVE, NAME_CHARACTERS},
        path::FilePath,
        project::{self, Target},
    },
    read::tree::{HEAVY_BYTES, off_thread},
};

const DRAFT_CHARACTERS: usize = 128;
const REQUEST_ID_CHARACTERS: usize = 255;
const CONDITION_BYTES: usize = 1024;

/// Ends the decoding of a message: the refusal with every violation, or the value.
pub(super) fn checked<T>(violations: Violations, value: Option<T>) -> Result<T, Error> {
    violations.check(SERVICE)?;
    // Whoever has no value has recorded why; this is for those who forgot.
    value.ok_or_else(|| Error::Field { field: "request".to_owned(), problem: "is not complete".to_owned() })
}

/// Who acts.
pub(super) fn user(context: &chassis::context::Context) -> Result<project::User, Error> {
    let user = context.user()?;
    Ok(project::User { id: user.id, plan: Plan::from_claims(&user.private_claims) })
}

/// Exactly one of the two ways to name a project.
pub(super) fn target(violations: &mut Violations, project_id: &str, draft_id: &str) -> Option<Target> {
    match (project_id.is_empty(), draft_id.is_empty()) {
        (false, true) => violations.parse("project_id", project_id).map(Target::Id),
        (true, false) => draft(violations, draft_id).map(Target::Draft),
        (true, true) => {
            violations.add("project_id", "is required, or draft_id");
            None
        }
        (false, false) => {
            violations.add("draft_id", "must be empty when project_id is given");
            None
        }
    }
}

/// An id that a client made.
pub(super) fn draft(violations: &mut Violations, text: &str) -> Option<String> {
    let legal = (1..=DRAFT_CHARACTERS).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    if !legal {
        violations.add("draft_id", format!("must be 1 to {DRAFT_CHARACTERS} of A-Za-z0-9_-"));
    }
    legal.then(|| text.to_owned())
}

/// A revision's id, which may be left out.
pub(super) fn revision(violations: &mut Violations, field: &str, text: &str) -> Option<Oid> {
    if text.is_empty() { None } else { violations.parse(field, text) }
}

/// The ids of so many messages at most. Of too many none is looked at.
pub(super) fn message_ids(violations: &mut Violations, texts: &[String], most: usize) -> Vec<MessageId> {
    if texts.len() > most {
        violations.add("message_ids", format!("must be at most {most} ids"));
        return Vec::new();
    }
    let ids = texts.iter().enumerate().map(|(index, text)| violations.parse(&format!("message_ids[{index}]"), text));
    ids.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn length(violations: &mut Violations, field: &str, text: &str, characters: std::ops::RangeInclusive<usize>) {
    if !characters.contains(&text.chars().count()) {
        let (min, max) = characters.into_inner();
        violations
            .add(field, if min == 0 { format!("must be at most {max} characters") } else { format!("must be {min} to {max} characters") });
    }
}

/// A project's name of at least so many characters.
pub(super) fn name(violations: &mut Violations, text: &str, min: usize) {
    length(violations, "display_name", text, min..=NAME_CHARACTERS);
    violations.plain("display_name", text);
}

/// A text for people of so many characters.
pub(super) fn line(violations: &mut Violations, field: &str, text: &str, characters: std::ops::RangeInclusive<usize>) {
    length(violations, field, text, characters);
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        violations.add(field, "must not hold control characters");
    }
}

/// What tells a request from its repeat; may be empty.
pub(super) fn request_id(violations: &mut Violations, text: &str) {
    line(violations, "request_id", text, 0..=REQUEST_ID_CHARACTERS);
}

/// What the project must be before it is changed.
pub(super) fn condition(violations: &mut Violations, if_match: String) -> Condition {
    violations.length("if_match", &if_match, 0..=CONDITION_BYTES);
    Condition(if_match)
}

/// How far a save is merged.
pub(super) fn merge_mode(violations: &mut Violations, on_conflict: i32) -> MergeMode {
    match OnConflict::try_from(on_conflict) {
        Ok(OnConflict::Unspecified | OnConflict::Fail) => MergeMode::Paths,
        Ok(OnConflict::Merge) => MergeMode::Lines,
        Err(_) => {
            violations.add("on_conflict", "must be ON_CONFLICT_FAIL or ON_CONFLICT_MERGE");
            MergeMode::Paths
        }
    }
}

/// A text for people of so many bytes; the database takes no NUL.
pub(super) fn text(violations: &mut Violations, field: &str, text: &str, bytes: std::ops::RangeInclusive<usize>) {
    violations.length(field, text, bytes);
    if text.contains('\0') {
        violations.add(field, "must not hold NUL");
    }
}

/// A change set, hashed. The first step that is amiss is the answer.
pub(super) async fn changes(wire: Vec<FileChange>, replace: bool) -> Result<ChangeSet, Error> {
    let count = wire.len();
    if count > FILES_PER_SAVE {
        return Err(Error::TooManyChanges { count, limit: FILES_PER_SAVE });
    }
    let heavy = wire.iter().map(content_bytes).sum::<usize>() > HEAVY_BYTES;
    let decode = move || wire.into_iter().enumerate().map(|(index, step)| change(index, step)).collect::<Result<Vec<_>, _>>();
    Ok(ChangeSet { changes: off_thread(heavy, decode).await?, replace })
}

fn content_bytes(change: &FileChange) -> usize {
    use file_change::Action::{Create, Delete, Rename, Update, Write};
    match &change.action {
        Some(Write(content) | Create(content) | Update(content)) => bytes(content),
        Some(Delete(_) | Rename(_)) | None => 0,
    }
}

/// How much a content holds.
pub(super) fn bytes(content: &FileContent) -> usize {
    match &content.data {
        Some(file_content::Data::Text(text)) => text.len(),
        Some(file_content::Data::Binary(bytes)) => bytes.len(),
        None => 0,
    }
}

fn change(index: usize, wire: FileChange) -> Result<Change, Error> {
    use file_change::Action as Wire;
    let field = |name: &str| format!("changes[{index}].{name}");
    let path = path(field("path"), &wire.path)?;
    let action = match wire.action {
        Some(Wire::Write(file)) => Action::Write(content(field("write"), file)?),
        Some(Wire::Create(file)) => Action::Create(content(field("create"), file)?),
        Some(Wire::Update(file)) => Action::Update(content(field("update"), file)?),
        Some(Wire::Delete(_)) => Action::Delete,
        Some(Wire::Rename(to)) => Action::Rename(self::path(field("rename.new_path"), &to.new_path)?),
        None => {
            let problem = "must have one of write, create, update, delete, rename".to_owned();
            return Err(Error::Field { field: format!("changes[{index}]"), problem });
        }
    };
    let etag = match wire.etag.as_str() {
        "" => None,
        text => Some(Oid::from_etag(text).ok_or_else(|| {
            let problem = "must be the etag of a file, with its quotes".to_owned();
            Error::Field { field: field("etag"), problem }
        })?),
    };
    Ok(Change { path, action, etag })
}

/// A path that a file can have. Whether one may come new depends on the files that are there.
pub(super) fn path(field: String, text: &str) -> Result<FilePath, Error> {
    FilePath::parse(text).map_err(|problem| Error::invalid_path(field, text, &problem))
}

/// The bytes of a file, hashed.
pub(super) fn content(field: String, wire: FileContent) -> Result<Content, Error> {
    let bytes = match wire.data {
        Some(file_content::Data::Text(text)) => text.into(),
        Some(file_content::Data::Binary(bytes)) => bytes,
        None => return Err(Error::Field { field, problem: "must have text or binary".to_owned() }),
    };
    let oid = git::blob_id(&bytes).map_err(|problem| Error::Field { field, problem: problem.to_string() })?;
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Ok(Content { bytes, file: FileRef { oid, size } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_in_one_way() {
        let id = proto::id::ProjectId::generate().to_string();
        for (project, draft, fields) in [
            (id.as_str(), "", ""),
            ("", "d-1_Z", ""),
            ("", "", "project_id"),
            (id.as_str(), "d", "draft_id"),
            ("x", "", "project_id"),
            ("", "a b", "draft_id"),
            ("", "é", "draft_id"),
        ] {
            let mut violations = Violations::default();
            let target = target(&mut violations, project, draft);
            let found = violations.check(SERVICE).map_err(|fault| fault.violations[0].field.clone());
            assert_eq!(found.err().unwrap_or_default(), fields, "{project} {draft}");
            assert_eq!(target.is_some(), fields.is_empty());
        }
    }

    #[test]
    fn a_bad_message_id_is_named_and_so_are_too_many() {
        let good = MessageId::generate().to_string();
        let upper = good.to_uppercase();
        for (texts, fields) in [
            (vec![], ""),
            (vec![good.as_str(); 2], ""),
            (vec![good.as_str(), "x"], "message_ids[1]"),
            (vec!["", good.as_str()], "message_ids[0]"),
            (vec![upper.as_str()], "message_ids[0]"),
            (vec![good.as_str(); 3], "message_ids"),
            (vec!["x"; 3], "message_ids"),
        ] {
            let texts: Vec<_> = texts.into_iter().map(str::to_owned).collect();
            let mut violations = Violations::default();
            let ids = message_ids(&mut violations, &texts, 2);
            let found = violations.check(SERVICE).map_err(|fault| fault.violations[0].field.clone());
            assert_eq!(found.err().unwrap_or_default(), fields, "{texts:?}");
            assert!(!fields.is_empty() || ids.len() == texts.len(), "{texts:?}");
        }
    }

    #[tokio::test]
    async fn a_bad_step_is_named() {
        let write = |path: &str| FileChange {
            path: path.into(),
            action: Some(file_change::Action::Write(FileContent { data: Some(file_content::Data::Text("x".into())) })),
            etag: String::new(),
        };
        let bad = |change: FileChange| changes(vec![write("a"), change], false);
        assert!(matches!(bad(write("../x")).await, Err(Error::InvalidPath { field, .. }) if field == "changes[1].path"));
        let no_action = FileChange { action: None, ..write("b") };
        assert!(matches!(bad(no_action).await, Err(Error::Field { field, .. }) if field == "changes[1]"));
        let no_content = FileChange { action: Some(file_change::Action::Create(FileContent { data: None })), ..write("b") };
        assert!(matches!(bad(no_content).await, Err(Error::Field { field, .. }) if field == "changes[1].create"));
        let bad_etag = FileChange { etag: "abc".into(), ..write("b") };
        assert!(matches!(bad(bad_etag).await, Err(Error::Field { field, .. }) if field == "changes[1].etag"));
        assert!(changes(vec![write("a"); 200], false).await.is_ok());
        assert!(matches!(changes(vec![write("a"); 201], false).await, Err(Error::TooManyChanges { count: 201, limit: 200 })));
    }
}
