//! What storage and the agent's tools must refuse alike in the paths of files.

/// Whether a checkout would write into the repository itself, which git clients refuse: a file system without case takes
/// `.GIT` for `.git`, NTFS also `git~1` and anything with dots, blanks or a stream behind it, HFS+ also what has invisible
/// characters in it.
#[must_use]
pub fn is_git_folder(part: &str) -> bool {
    let visible: String = part.chars().filter(|c| !is_ignored_by_hfs(*c)).collect();
    let name = visible.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name.eq_ignore_ascii_case(".git") || name.eq_ignore_ascii_case("git~1")
}

/// As git's `utf8.c` lists them.
fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_repository_is_known() {
        for part in [".git", ".GIT", ".git.", ".git ", "git~1", "GIT~1", ".git::$DATA", ".g\u{200c}it"] {
            assert!(is_git_folder(part), "{part:?}");
        }
        for part in [".gitignore", ".github", "git", "git~2", "a.git", ""] {
            assert!(!is_git_folder(part), "{part:?}");
        }
    }
}
