//! `write_file`, `delete_file`, `rename_file`.

use serde::Deserialize;
use serde_json::Value;

use super::{Stage, Stop, ToolSuccess, arguments::typed, count, paths};

#[derive(Deserialize)]
struct Write {
    path: String,
    content: String,
}

pub(super) async fn write(stage: &mut Stage<'_>, input: &Value) -> Result<ToolSuccess, Stop> {
    let Write { path, content } = typed(input)?;
    let path = paths::resolve(stage, &path);
    let verb = if stage.overlay.size(&path).is_some() { "replaced" } else { "created" };
    stage.overlay.write(stage.base, &path, &content).await??;
    let summary = format!("{verb} {path}: {}, {} bytes", count(content.lines().count(), "line"), content.len());
    Ok(ToolSuccess::from_summary(summary, size(stage, &path)))
}

#[derive(Deserialize)]
struct Delete {
    path: String,
}

pub(super) fn delete(stage: &mut Stage<'_>, input: &Value) -> Result<ToolSuccess, Stop> {
    let path = paths::existing(stage, &typed::<Delete>(input)?.path)?;
    stage.overlay.delete(&path)?;
    Ok(ToolSuccess::from_summary(format!("deleted {path}"), 0))
}

#[derive(Deserialize)]
struct Rename {
    path: String,
    new_path: String,
}

pub(super) async fn rename(stage: &mut Stage<'_>, input: &Value) -> Result<ToolSuccess, Stop> {
    let Rename { path, new_path } = typed(input)?;
    let (path, new_path) = (paths::existing(stage, &path)?, paths::resolve(stage, &new_path));
    stage.overlay.rename(stage.base, &path, &new_path).await??;
    Ok(ToolSuccess::from_summary(format!("renamed {path} to {new_path}"), size(stage, &new_path)))
}

/// The size of a staged file that a tool has just written.
pub(super) fn size(stage: &Stage<'_>, path: &str) -> u32 {
    stage.overlay.size(path).unwrap_or_default()
}
