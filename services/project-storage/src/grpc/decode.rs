//! From messages to domain types. The answer names every invalid field; of a change set it names the first invalid change.

use std::{fmt::Display, str::FromStr};

use chassis::clock::{Timestamp, from_timestamp};
use prost::Message;
use proto::{
    auth::Plan,
    error::Violations,
    id::{MessageId, ProjectId},
    project_storage::{FileChange, FileContent, OnConflict, file_change, file_content},
};
use ring::digest::{Context as Digest, SHA256};

use time::OffsetDateTime;

use super::text;
use crate::{
    blocking,
    commit::request::RequestKey,
    error::{Error, SERVICE},
    git::{self, Content, FileRef, Oid},
    merge::MergeMode,
    model::{
        change::{Action, Change, ChangeSet, FileCondition},
        condition::Condition,
        limits::FILES_PER_SAVE,
        path::FilePath,
        project::{self, Target},
    },
};

const DRAFT_ID_CHARACTERS: usize = 128;

/// Ends the decoding of a message: an error with all violations, or the value.
pub(super) fn checked<T>(violations: Violations, value: Option<T>) -> Result<T, Error> {
    violations.check(SERVICE)?;
    // A missing value has a violation, so this is not reached.
    value.ok_or_else(|| Error::Field { field: "request".to_owned(), problem: "is not complete".to_owned() })
}

/// The user of the access token.
pub(super) fn user(context: &chassis::context::Context) -> Result<project::User, Error> {
    let user = context.user()?;
    Ok(project::User { id: user.id, plan: Plan::from_claims(&user.private_claims) })
}

/// The only projects that the access token reaches; `None` for all of the user.
pub(super) fn only(context: &chassis::context::Context) -> Result<Option<Vec<ProjectId>>, Error> {
    Ok(context.user()?.projects().map(<[ProjectId]>::to_vec))
}

/// A project, named by exactly one of its two ids.
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

/// A project id that the client chose.
pub(super) fn draft(violations: &mut Violations, text: &str) -> Option<String> {
    let legal =
        (1..=DRAFT_ID_CHARACTERS).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    if !legal {
        violations.add("draft_id", format!("must be 1 to {DRAFT_ID_CHARACTERS} of A-Za-z0-9_-"));
    }
    legal.then(|| text.to_owned())
}

/// The id of a revision; empty for none.
pub(super) fn revision(violations: &mut Violations, field: &str, text: &str) -> Option<Oid> {
    if text.is_empty() { None } else { violations.parse(field, text) }
}

/// An id; empty for none.
pub(super) fn optional_id<T: FromStr<Err: Display>>(violations: &mut Violations, field: &str, text: &str) -> Option<T> {
    if text.is_empty() { None } else { violations.parse(field, text) }
}

/// The path of a file that exists; empty for none.
pub(super) fn optional_path(field: &str, text: &str) -> Result<Option<FilePath>, Error> {
    if text.is_empty() { Ok(None) } else { path(field.to_owned(), text).map(Some) }
}

/// A time that the database can compare with.
pub(super) fn time(violations: &mut Violations, field: &str, wire: Option<&Timestamp>) -> Option<OffsetDateTime> {
    let wire = wire?;
    let time = from_timestamp(wire).filter(|time| (1..=9999).contains(&time.year()));
    if time.is_none() {
        violations.add(field, "must be a time of the years 1 to 9999");
    }
    time
}

/// The ids of at most `max` messages. If there are more, none is checked.
pub(super) fn message_ids(violations: &mut Violations, texts: &[String], max: usize) -> Vec<MessageId> {
    if texts.len() > max {
        violations.add("message_ids", format!("must be at most {max} ids"));
        return Vec::new();
    }
    let ids = texts.iter().enumerate().map(|(index, text)| violations.parse(&format!("message_ids[{index}]"), text));
    ids.collect::<Vec<_>>().into_iter().flatten().collect()
}

/// The id of a project.
pub(super) fn project_id(violations: &mut Violations, text: &str) -> Option<ProjectId> {
    violations.parse("project_id", text)
}

/// The id of an idempotent request with its fingerprint; `None` without an id.
pub(super) fn request_key(id: String, fingerprint: impl FnOnce() -> Vec<u8>) -> Option<RequestKey> {
    (!id.is_empty()).then(|| RequestKey { id, fingerprint: fingerprint() })
}

/// The fingerprint of a request. It differs from that of another RPC with the same bytes.
pub(super) fn fingerprint(rpc: &str, wire: &impl Message) -> Vec<u8> {
    let mut digest = Digest::new(&SHA256);
    digest.update(rpc.as_bytes());
    digest.update(&wire.encode_to_vec());
    digest.finish().as_ref().to_vec()
}

/// The condition that the project must meet.
pub(super) fn condition(violations: &mut Violations, if_match: String) -> Condition {
    text::IF_MATCH.check(violations, &if_match);
    Condition(if_match)
}

/// What a save does with paths that the head has changed as well.
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

/// A change set with the ids of its contents.
///
/// # Errors
/// The first invalid change.
pub(super) async fn changes(wire: Vec<FileChange>, replace: bool) -> Result<ChangeSet, Error> {
    let count = wire.len();
    if count > FILES_PER_SAVE {
        return Err(Error::TooManyChanges { count, limit: FILES_PER_SAVE });
    }
    let bytes = wire.iter().map(content_bytes).sum();
    let decode = move || wire.into_iter().enumerate().map(|(index, wire)| change(index, wire)).collect::<Result<Vec<_>, _>>();
    Ok(ChangeSet { changes: blocking::run(bytes, decode).await?, replace })
}

fn content_bytes(change: &FileChange) -> usize {
    use file_change::Action::{Copy, Create, Delete, Rename, Update, Write};
    match &change.action {
        Some(Write(content) | Create(content) | Update(content)) => bytes(content),
        Some(Delete(_) | Rename(_) | Copy(_)) | None => 0,
    }
}

/// The size of a content in bytes.
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
        Some(Wire::Copy(to)) => Action::Copy(self::path(field("copy.new_path"), &to.new_path)?),
        None => {
            let problem = "must have one of write, create, update, delete, rename and copy".to_owned();
            return Err(Error::Field { field: format!("changes[{index}]"), problem });
        }
    };
    let condition = match wire.etag.as_str() {
        "" => FileCondition::Any,
        text => FileCondition::Etag(Oid::from_etag(text).ok_or_else(|| {
            let problem = "must be the etag of a file, with its quotes".to_owned();
            Error::Field { field: field("etag"), problem }
        })?),
    };
    Ok(Change { path, action, condition })
}

/// The condition of a request that changes one file, by the values of `If-Match` and `If-None-Match`.
pub(super) fn file_condition(violations: &mut Violations, if_match: &str, if_none_match: &str) -> FileCondition {
    text::IF_MATCH.check(violations, if_match);
    match (if_match.trim(), if_none_match.trim()) {
        ("", "") => FileCondition::Any,
        ("", "*") => FileCondition::Absent,
        ("*", "") => FileCondition::Present,
        // The comparison is strong: an ETag that begins with W/ never matches.
        (list, "") => {
            FileCondition::Match(list.split(',').map(str::trim).filter(|etag| !etag.starts_with("W/")).filter_map(Oid::from_etag).collect())
        }
        ("", _) => {
            violations.add("if_none_match", "must be *");
            FileCondition::Any
        }
        _ => {
            violations.add("if_none_match", "must be empty if if_match is given");
            FileCondition::Any
        }
    }
}

/// The path of a file. Whether a new file may have it depends on the files of the project.
pub(super) fn path(field: String, text: &str) -> Result<FilePath, Error> {
    FilePath::parse(text).map_err(|problem| Error::invalid_path(field, text, &problem))
}

/// The content of a file with its id.
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
    fn a_project_is_named_by_one_id() {
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
    fn an_invalid_message_id_is_named() {
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
    async fn an_invalid_change_is_named() {
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
