//! The files of a folder of agents and skills.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Note;
use crate::model::{front_matter::check_characters, skills};

const MAX_FILE_BYTES: u64 = 256 * 1024;
const MAX_DEPTH: usize = 4;
/// More files, and more bytes in all, are not read.
const MAX_FILES: usize = 2_000;
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Files that describe a folder.
const DESCRIPTIONS: [&str; 6] = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE.md", "CLAUDE.md", "AGENTS.md"];
/// The most skills, and the most files and the depth of one.
const MAX_SKILLS: usize = 64;
const MAX_SKILL_FILES: usize = 32;
const MAX_SKILL_DEPTH: usize = 3;

/// What tells whether a folder has changed: path, size and time of the last change of each file.
pub(super) type Fingerprint = Vec<(PathBuf, Option<FileState>)>;

/// What changes with each write of a file, also of one that keeps its time and its size: size, inode, and the times of content and inode.
type FileState = (u64, u64, [(i64, i64); 2]);

/// The texts of a folder.
pub(super) struct Texts {
    /// The files of agents, sorted by path: the path below the folder, and the text.
    pub agents: Vec<(String, String)>,
    /// The folders of skills, sorted by path: the path below the folder, and the files by their paths below that.
    pub skills: Vec<(String, skills::Files)>,
}

/// The paths of a folder.
#[derive(Default)]
struct Paths {
    agents: Vec<PathBuf>,
    /// The folder of each skill with its files.
    skills: Vec<(PathBuf, Vec<PathBuf>)>,
}

/// The `.md` files in a folder and its subfolders, and the folders of skills.
///
/// # Errors
/// The folder itself cannot be read.
pub(super) fn read(dir: &Path, notes: &mut Vec<Note>) -> io::Result<Texts> {
    let mut budget = MAX_BYTES;
    let root = fs::canonicalize(dir)?;
    let paths = paths(dir, notes)?;
    let mut text_of = |path: &Path, what: &str, notes: &mut Vec<Note>| {
        let note = match text(&root, path) {
            Ok(text) if text.len() <= budget => {
                budget -= text.len();
                return Some(text);
            }
            Ok(_) => format!("is not read: the files have more than {MAX_BYTES} bytes"),
            Err(problem) => format!("is not {what}: {problem}"),
        };
        notes.push(Note { file: name(dir, path), note });
        None
    };
    let agents = paths.agents.iter().filter_map(|path| Some((name(dir, path), text_of(path, "an agent", notes)?))).collect();
    let mut skills = Vec::new();
    for (folder, files) in &paths.skills {
        let texts = files.iter().filter_map(|path| Some((name(folder, path), text_of(path, "a file of the skill", notes)?)));
        let texts = texts.collect();
        let whole = if folder == dir { dir.file_name().unwrap_or_default().display().to_string() } else { name(dir, folder) };
        skills.push((whole, texts));
    }
    Ok(Texts { agents, skills })
}

/// The state of the files that [`read`] reads.
///
/// # Errors
/// The folder itself cannot be read.
pub(super) fn fingerprint(dir: &Path) -> io::Result<Fingerprint> {
    let paths = paths(dir, &mut Vec::new())?;
    let state = |path: PathBuf| {
        let state = |file: fs::Metadata| (file.len(), file.ino(), [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())]);
        let state = fs::metadata(&path).ok().map(state);
        (path, state)
    };
    Ok(paths.agents.into_iter().chain(paths.skills.into_iter().flat_map(|(_, files)| files)).map(state).collect())
}

/// Skips hidden files, and files that describe the folder.
fn paths(dir: &Path, notes: &mut Vec<Note>) -> io::Result<Paths> {
    let mut paths = Paths::default();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match entries(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(error) => {
                notes.push(Note { file: name(dir, &folder), note: format!("cannot be read: {error}") });
                continue;
            }
        };
        if entries.iter().any(|path| path.file_name().is_some_and(|name| name == skills::FILE)) {
            let files = skill_files(dir, &folder, notes);
            paths.skills.push((folder, files));
            continue;
        }
        for path in entries {
            if path.is_dir() {
                if depth < MAX_DEPTH && is_followed(dir, &path, notes) {
                    folders.push((path, depth + 1));
                }
            } else if path.extension().is_some_and(|end| end == "md") && !DESCRIPTIONS.iter().any(|name| path.ends_with(name)) {
                paths.agents.push(path);
            }
        }
    }
    paths.agents.sort();
    paths.skills.sort();
    limit(&mut paths.agents, MAX_FILES, "files", notes);
    limit(&mut paths.skills, MAX_SKILLS, "skills", notes);
    Ok(paths)
}

fn limit<T>(found: &mut Vec<T>, max: usize, what: &str, notes: &mut Vec<Note>) {
    if found.len() > max {
        notes.push(Note { file: String::new(), note: format!("only the first {max} of {} {what} are read", found.len()) });
        found.truncate(max);
    }
}

/// The paths in a folder that are not hidden.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let is_hidden = |name: Option<&str>| name.is_none_or(|name| name.starts_with('.'));
    Ok(entries.into_iter().filter(|entry| !is_hidden(entry.file_name().to_str())).map(|entry| entry.path()).collect())
}

/// Whether a folder is not a link, which could lead back to itself.
fn is_followed(dir: &Path, folder: &Path, notes: &mut Vec<Note>) -> bool {
    let is_link = folder.is_symlink();
    if is_link {
        notes.push(Note { file: name(dir, folder), note: "is ignored: links to folders are not followed".to_owned() });
    }
    !is_link
}

/// The files of a skill, `SKILL.md` first.
fn skill_files(dir: &Path, skill: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![(skill.to_owned(), 1)]);
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder).unwrap_or_default() {
            if !path.is_dir() {
                files.push(path);
            } else if depth < MAX_SKILL_DEPTH && is_followed(dir, &path, notes) {
                folders.push((path, depth + 1));
            }
        }
    }
    files.sort_by_key(|path| (path.strip_prefix(skill).is_ok_and(|path| path != Path::new(skills::FILE)), path.clone()));
    if files.len() > MAX_SKILL_FILES {
        notes
            .push(Note { file: name(dir, skill), note: format!("only the first {MAX_SKILL_FILES} of its {} files are read", files.len()) });
        files.truncate(MAX_SKILL_FILES);
    }
    files
}

fn name(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

/// The text of a file below `root`, whose path has no links.
fn text(root: &Path, file: &Path) -> Result<String, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    // Users see these texts, and a link may lead to any file that this process can read.
    let file = fs::canonicalize(file).map_err(unreadable)?;
    if !file.starts_with(root) {
        return Err("is a link to a file outside of the folder".to_owned());
    }
    // To open a pipe could wait for ever.
    if !fs::metadata(&file).map_err(unreadable)?.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    fs::File::open(file).map_err(unreadable)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("has more than {MAX_FILE_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    check_characters(&text)?;
    Ok(text)
}
