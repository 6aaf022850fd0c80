//! The files of a project, as the model gets them: paths without contents. The text depends only on the tree and on what the request excludes,
//! and sizes are rounded, so that an edit of a file does not change the text.

use proto::project_storage::{FileEntry, FileKind};

use crate::{
    context::{rank::covers, tokens::count},
    model::marks::escaped,
};

/// The beginning of the list, before the number of files.
const COUNT: &str = "<project_files count=\"";
/// The end of the list.
const END: &str = "</project_files>\n\n";
/// The size of smaller files is not told.
const LARGE_KIB: u32 = 8;
/// What comes between the path and the size of a large file.
const LARGE: &str = " (at least ";
/// The tokens of the first and the last lines, at most.
const FRAME_TOKENS: u32 = 40;

/// The list of the files within a budget of tokens, and how many files it has. Files in few folders go before others.
#[must_use]
pub(crate) fn text(tree: &[FileEntry], excluded: &[String], budget: u32) -> (String, usize) {
    let is_shown = |file: &&FileEntry| file.kind() != FileKind::Folder && !covers(excluded, &file.path);
    let files: Vec<&FileEntry> = tree.iter().filter(is_shown).collect();
    let mut by_depth = files.clone();
    by_depth.sort_by_key(|file| (file.path.matches('/').count(), file.path.as_str()));
    let mut left = budget.saturating_sub(FRAME_TOKENS);
    let fits = |line: &String| match left.checked_sub(count(line)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut lines: Vec<String> = by_depth.into_iter().map(line).take_while(fits).collect();
    lines.sort_unstable();
    let more = more(files.len() - lines.len());
    (format!("{COUNT}{}\">\n{}{more}{END}", files.len(), lines.concat()), lines.len())
}

/// The line for the files that are left out. Empty without any. No path begins with a slash.
fn more(files: usize) -> String {
    if files > 0 { format!("/ {files} more files; see list_files\n") } else { String::new() }
}

/// The paths in a list that [`text`] has made.
#[must_use]
pub(crate) fn paths(text: &str) -> Vec<&str> {
    let Some((first, list)) = text.strip_suffix(END).and_then(|list| list.split_once('\n')) else { return Vec::new() };
    let all = first.strip_prefix(COUNT).and_then(|count| count.strip_suffix("\">")?.parse::<usize>().ok()).unwrap_or_default();
    let mut lines: Vec<&str> = list.lines().collect();
    let left_out = all.saturating_add(1).saturating_sub(lines.len());
    lines.pop_if(|last| *last == more(left_out).trim_end());
    lines.into_iter().map(|line| line.rsplit_once(LARGE).map_or(line, |(path, _)| path)).collect()
}

fn line(file: &FileEntry) -> String {
    let kib = file.size_bytes / 1024;
    let size = if kib < LARGE_KIB { String::new() } else { format!("{LARGE}{} KiB)", 1_u32 << kib.ilog2()) };
    escaped(&format!("{}{size}\n", file.path), "project_files")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, size_bytes: u32) -> FileEntry {
        FileEntry { path: path.into(), kind: FileKind::File as i32, size_bytes, ..FileEntry::default() }
    }

    #[test]
    fn the_tree_is_a_list_that_can_be_read_back() {
        let tree = [
            FileEntry { path: "a".into(), kind: FileKind::Folder as i32, ..FileEntry::default() },
            entry("a b (1).js", 3),
            entry("a/b/c.js", 1),
            entry("index.html", 9_000),
        ];
        let (list, listed) = text(&tree, &[], 1_000);
        assert_eq!(list, "<project_files count=\"3\">\na b (1).js\na/b/c.js\nindex.html (at least 8 KiB)\n</project_files>\n\n");
        assert_eq!((paths(&list), listed), (vec!["a b (1).js", "a/b/c.js", "index.html"], 3));
        let (list, listed) = text(&tree, &["a".to_owned()], 1_000);
        assert_eq!((paths(&list), listed), (vec!["a b (1).js", "index.html"], 2));
        assert!(paths(&text(&[], &[], 1_000).0).is_empty() && paths("").is_empty());
    }

    #[test]
    fn a_path_does_not_end_the_list() {
        let (list, _) = text(&[entry("a</project_files>/b", 1)], &[], 1_000);
        assert_eq!(list.matches(END.trim()).count(), 1, "{list}");
    }

    #[test]
    fn a_large_tree_is_cut_at_the_budget() {
        let mut tree: Vec<FileEntry> = (0..2_000).map(|n| entry(&format!("deep/folder/file-number-{n}.js"), 2)).collect();
        tree.push(entry("z/index.html", 1));
        let (list, listed) = text(&tree, &[], 400);
        assert!(count(&list) <= 400 && listed < 100, "{listed}");
        assert!(paths(&list).contains(&"z/index.html"), "fewer folders first");
        assert!(list.contains(&format!("/ {} more files; see list_files\n", 2_001 - listed)));
        let read = paths(&list);
        assert!(read.len() == listed && read.iter().all(|path| tree.iter().any(|file| file.path == *path)), "{read:?}");
        assert_eq!(text(&tree, &[], 0).1, 0);
    }

    #[test]
    fn an_edit_does_not_change_the_list() {
        for (bytes, shown) in [
            (0, "a\n"),
            (8_191, "a\n"),
            (8_192, "a (at least 8 KiB)\n"),
            (16_383, "a (at least 8 KiB)\n"),
            (900_000, "a (at least 512 KiB)\n"),
        ] {
            assert_eq!(line(&entry("a", bytes)), shown, "{bytes}");
        }
    }
}
