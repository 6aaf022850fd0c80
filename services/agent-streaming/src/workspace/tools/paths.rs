//! Resolves paths that a model writes in another form than the project.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

use super::Stage;
use crate::workspace::overlay::Refusal;

/// The path without leading `./` and in Unicode form NFC. All paths of a project have this form, so this is always correct.
pub(super) fn certain(path: &str) -> Cow<'_, str> {
    let mut rest = path;
    while let Some(after) = rest.strip_prefix("./") {
        rest = after;
    }
    if unicode_normalization::is_nfc(rest) { Cow::Borrowed(rest) } else { Cow::Owned(rest.nfc().collect()) }
}

/// The path without surrounding white space, with `/` as separator and without leading or trailing separators. It is used only if there is
/// such a file.
fn likely(path: &str) -> String {
    let path = path.trim().replace('\\', "/");
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    certain(&parts.join("/")).into_owned()
}

/// Whether the path can only mean one file.
pub(super) fn is_unambiguous(path: &str) -> bool {
    certain(path) == likely(path)
}

/// The staged file that a path means. If there is none, the path in its normal form.
pub(super) fn resolve(stage: &Stage<'_>, path: &str) -> String {
    let (certain, likely) = (certain(path), likely(path));
    let known = [path, &certain, &likely].into_iter().find(|path| stage.overlay.size(path).is_some());
    known.unwrap_or(&certain).to_owned()
}

/// The staged file that a path means.
///
/// # Errors
/// There is no such file. The message contains the violated rule if the path is invalid.
pub(super) fn existing(stage: &Stage<'_>, path: &str) -> Result<String, Refusal> {
    let path = resolve(stage, path);
    if stage.overlay.size(&path).is_some() {
        return Ok(path);
    }
    let refusal = stage.overlay.not_found(&path);
    let problem = proto::path::check(&path).err().map_or_else(String::new, |problem| format!("; {problem}"));
    Err(Refusal { message: format!("{}{problem}", refusal.message), ..refusal })
}

/// The prefix of staged paths that a model means. A prefix without any path stays unchanged.
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
