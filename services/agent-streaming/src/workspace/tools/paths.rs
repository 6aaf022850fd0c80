//! Which file a model means by a path that is not written as the project writes it.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

use super::Stage;
use crate::workspace::overlay::Refusal;

/// A path without `./` before it, in Unicode form NFC. No file of a project is called otherwise, so nothing else can be meant.
pub(super) fn certain(path: &str) -> Cow<'_, str> {
    let mut rest = path;
    while let Some(after) = rest.strip_prefix("./") {
        rest = after;
    }
    if unicode_normalization::is_nfc(rest) { Cow::Borrowed(rest) } else { Cow::Owned(rest.nfc().collect()) }
}

/// What a path means if there is such a file: without blanks around it, with `/` between its parts and none before or after.
fn likely(path: &str) -> String {
    let path = path.trim().replace('\\', "/");
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    certain(&parts.join("/")).into_owned()
}

/// Whether a path can only mean the file that it names.
pub(super) fn is_plain(path: &str) -> bool {
    certain(path) == likely(path)
}

/// The staged file that a path means; a path that means none as it can only be meant.
pub(super) fn resolve(stage: &Stage<'_>, path: &str) -> String {
    let (certain, likely) = (certain(path), likely(path));
    let known = [path, &certain, &likely].into_iter().find(|path| stage.overlay.size(path).is_some());
    known.unwrap_or(&certain).to_owned()
}

/// The staged file that a path means.
///
/// # Errors
/// There is none; with what is wrong with the path if no file can have it.
pub(super) fn existing(stage: &Stage<'_>, path: &str) -> Result<String, Refusal> {
    let path = resolve(stage, path);
    if stage.overlay.size(&path).is_some() {
        return Ok(path);
    }
    let refusal = stage.overlay.not_found(&path);
    let problem = proto::path::check(&path).err().map_or_else(String::new, |problem| format!("; {problem}"));
    Err(Refusal { message: format!("{}{problem}", refusal.message), ..refusal })
}

/// What staged paths have to begin with, for a prefix that a model gave. One that no path begins with stays as it is.
pub(super) fn prefix(stage: &Stage<'_>, prefix: Option<String>) -> String {
    let prefix = prefix.unwrap_or_default();
    if matches!(prefix.trim(), "." | "./" | "/" | "\\" | ".\\") {
        return String::new();
    }
    let mut likely = likely(&prefix);
    if prefix.trim_end().ends_with(['/', '\\']) && !likely.is_empty() {
        likely.push('/');
    }
    let any = |prefix: &str| stage.overlay.files().any(|(path, _)| path.starts_with(prefix));
    if any(&prefix) || !any(&likely) { prefix } else { likely }
}
