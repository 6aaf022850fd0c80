//! The tokens of a prompt with all files, which a plan saves.

use std::sync::{Arc, LazyLock};

use chassis::task::blocking_and_wait;
use proto::project_storage::{FileEntry, FileKind};

use super::{Material, texts};
use crate::{
    context::{choose, rank, tokens::count},
    workspace::overlay::{BaseError, Overlay},
};

/// The tokens of all files are counted only in smaller projects.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The contents whose tokens are remembered.
const COUNTED_FILES: usize = 50_000;

/// The tokens of texts, by their ids. Whether a file is a text of its project depends on the project, so nothing else is remembered.
static COUNTED: LazyLock<quick_cache::sync::Cache<String, u32>> = LazyLock::new(|| quick_cache::sync::Cache::new(COUNTED_FILES));

/// The tokens of all text files with their paths. `None` for a large project.
pub(super) async fn tokens(material: &Arc<Material>, overlay: &mut Overlay) -> Result<Option<u32>, BaseError> {
    let files: Vec<&FileEntry> =
        material.files.iter().filter(|file| file.kind() != FileKind::Folder && choose::is_readable(&file.path)).collect();
    if files.iter().map(|file| u64::from(file.size_bytes)).sum::<u64>() > MAX_BYTES {
        return Ok(None);
    }
    let (mut known, mut missing) = (0_u32, Vec::new());
    for file in files.iter().filter(|file| !choose::is_asset(file.size_bytes, material.limits.file_bytes)) {
        match COUNTED.get(rank::blob(file)) {
            Some(tokens) => known = known.saturating_add(tokens),
            None => missing.push((*file).clone()),
        }
    }
    let paths: Vec<String> = missing.iter().map(|file| file.path.clone()).collect();
    let mut read = texts(overlay, &*material.base, &paths).await?;
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let counted = blocking_and_wait(move || {
        let of_texts = missing.iter().filter_map(|file| {
            let tokens = count(&read.remove(&file.path)?);
            COUNTED.insert(rank::blob(file).to_owned(), tokens);
            Some(tokens)
        });
        let sum = of_texts.fold(known, u32::saturating_add);
        paths.iter().map(|path| count(path)).fold(sum, u32::saturating_add)
    });
    Ok(Some(counted.await))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proto::{id::UserId, project_storage::ProjectLimits};

    use super::*;
    use crate::{
        model::conversation::Conversation,
        workspace::overlay::{BaseFiles, tests::Memory},
    };

    /// The tokens of a project with a limit of texts, and the paths that were read.
    async fn of(files: &[(&str, &str)], file_bytes: u32) -> (Option<u32>, Vec<String>) {
        let base = Arc::new(Memory::new(files).with_binary("data.bin", b"\xff"));
        let limits = ProjectLimits { file_bytes, ..ProjectLimits::default() };
        let mut overlay = Overlay::new(base.entries(), limits);
        let material = Material {
            user: UserId::generate(),
            project: None,
            files: base.entries(),
            limits,
            base: Arc::clone(&base) as Arc<dyn BaseFiles>,
            conversation: Conversation::default(),
            system: String::new(),
            tools: Vec::new(),
            prompt: "x".into(),
            plan: None,
            pinned: Vec::new(),
            excluded: Vec::new(),
        };
        let tokens = tokens(&Arc::new(material), &mut overlay).await.unwrap();
        let reads = std::mem::take(&mut *base.reads.lock().unwrap());
        (tokens, reads)
    }

    #[tokio::test]
    async fn the_count_does_not_depend_on_what_was_counted_before() {
        let long = "a text that only this test has ".repeat(9);
        let files = [("a.txt", long.as_str()), ("b.txt", "another text of this test")];
        let paths = count("a.txt") + count("b.txt") + count("data.bin");
        let texts: BTreeMap<&str, u32> = files.iter().map(|(path, text)| (*path, count(text))).collect();
        let small = of(&files, 100).await;
        assert_eq!(small, (Some(paths + texts["b.txt"]), vec!["b.txt".to_owned(), "data.bin".to_owned()]), "an asset is not counted");
        let large = of(&files, 1_000).await;
        assert_eq!(large, (Some(paths + texts["a.txt"] + texts["b.txt"]), vec!["a.txt".to_owned(), "data.bin".to_owned()]));
        assert_eq!(of(&files, 100).await.0, small.0, "after a project in which it is a text");
        assert_eq!(of(&files, 0).await.0, large.0);
    }
}
