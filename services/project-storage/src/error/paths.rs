//! Lists of paths in errors.

use proto::path::shown;

use crate::merge::MergeMode;

/// Bytes of the paths in an error's metadata. An error is sent in headers, whose size is limited.
const MAX_PATHS_BYTES: usize = 2048;
/// Paths that the text of a conflict names. Its metadata has more.
const MAX_NAMED_PATHS: usize = 5;

/// Why a change does not apply to the head.
pub(super) fn conflict_text(paths: &[String], mode: MergeMode) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let mut named = paths.iter().take(MAX_NAMED_PATHS).map(|path| format!("`{}`", shown(path))).collect::<Vec<_>>().join(", ");
    if paths.len() > MAX_NAMED_PATHS {
        named.push_str(&format!(" and {} more", paths.len() - MAX_NAMED_PATHS));
    }
    match mode {
        MergeMode::Paths => format!(", and both sides changed {named}"),
        MergeMode::Lines => format!("; a merge was tried, but the changes of both sides overlap in {named}"),
    }
}

/// As many of the first paths as fit, one per line.
pub(super) fn join_paths(paths: &[String]) -> String {
    let mut bytes = 0;
    let fits = |path: &&String| {
        bytes += path.len() + 1;
        bytes <= MAX_PATHS_BYTES
    };
    paths.iter().take_while(fits).map(String::as_str).collect::<Vec<_>>().join("\n")
}
