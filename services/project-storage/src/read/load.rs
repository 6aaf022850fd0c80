//! Which files of a tree a page holds. Pure.

use crate::git::FileRef;

/// Bytes of the largest page; with one more file it is still smaller than the 4 MiB that a gRPC client takes by itself.
pub(crate) const LARGEST_PAGE: usize = 3 * 1024 * 1024;
/// What a file has on the wire besides its content and its path.
const FILE_BYTES: usize = 256;

/// A page of files and, unless it is the last, the path after which the next one begins.
pub(crate) struct Page {
    pub(crate) files: Vec<(String, FileRef)>,
    pub(crate) next: Option<String>,
}

/// The page of at most so many bytes, or of one file, that begins after a path. `files` are sorted by path, as git sorts.
#[must_use]
pub(crate) fn page(files: Vec<(String, FileRef)>, after: Option<&str>, bytes: usize) -> Page {
    let start = after.map_or(0, |after| files.iter().position(|(path, _)| path == after).map_or(files.len(), |at| at + 1));
    let mut files = files.into_iter().skip(start);
    let (mut page, mut held) = (Vec::new(), 0_usize);
    for (path, file) in files.by_ref() {
        let size = usize::try_from(file.size).unwrap_or(usize::MAX).saturating_add(path.len() + FILE_BYTES);
        if !page.is_empty() && held.saturating_add(size) > bytes {
            let next = page.last().map(|(path, _): &(String, FileRef)| path.clone());
            return Page { files: page, next };
        }
        held = held.saturating_add(size);
        page.push((path, file));
    }
    Page { files: page, next: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;

    fn tree(sizes: &[u32]) -> Vec<(String, FileRef)> {
        sizes.iter().enumerate().map(|(at, size)| (format!("f{at}"), FileRef { oid: Oid::EMPTY_TREE, size: *size })).collect()
    }

    #[test]
    fn the_pages_are_all_files_in_order_and_none_is_empty() {
        for (sizes, bytes, pages) in [
            (vec![], 1, vec![0]),
            (vec![10], 1, vec![1]),
            (vec![10, 10, 10], 1, vec![1, 1, 1]),
            (vec![100, 100, 100], 800, vec![2, 1]),
            (vec![10_000, 1, 1], 800, vec![1, 2]),
            (vec![1, 10_000, 1], 800, vec![1, 1, 1]),
            (vec![0; 7], 1_000_000, vec![7]),
        ] {
            let (mut after, mut seen, mut counts) = (None, Vec::new(), Vec::new());
            loop {
                let page = page(tree(&sizes), after.as_deref(), bytes);
                counts.push(page.files.len());
                seen.extend(page.files);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let paths = |files: Vec<(String, FileRef)>| files.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
            assert_eq!((paths(seen), counts), (paths(tree(&sizes)), pages), "{sizes:?}");
        }
    }

    #[test]
    fn a_path_that_is_not_there_is_the_end() {
        assert!(page(tree(&[1, 1]), Some("gone"), 10).files.is_empty());
    }
}
