//! The projects that are measured: the shop of the journeys, and generated ones.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use chassis::git_id::{blob_id, tree_id};
use proto::compile::TreeFile;
use serde_json::Value;
use test_support::projects;

/// The packages that both sides use, with pinned versions.
const MANIFEST: &str = include_str!("../../vite/package.json");
const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../journeys/projects/shop");

/// A file with its git id.
#[derive(Clone)]
struct File {
    content: Bytes,
    id: String,
}

/// A project in Vite's layout.
#[derive(Clone)]
pub(crate) struct Project {
    files: BTreeMap<String, File>,
    /// The path of the file that is edited.
    pub(crate) edited: &'static str,
    /// A text in this file that the page shows.
    pub(crate) marker: &'static str,
    /// The content of the file before all edits.
    pub(crate) original: String,
}

impl Project {
    fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>, edited: &'static str, marker: &'static str) -> Result<Self> {
        let file = |content: Vec<u8>| File { id: blob_id(&content), content: content.into() };
        let files: BTreeMap<_, _> = files.into_iter().map(|(path, content)| (path, file(content))).collect();
        let original = String::from_utf8(files.get(edited).context("the edited file is missing")?.content.to_vec())?;
        ensure!(original.contains(marker), "{edited} has no {marker}");
        Ok(Self { files, edited, marker, original })
    }

    /// A shop with React, Tailwind, Radix, a router, icons, aliases and CSS modules.
    pub(crate) fn shop() -> Result<Self> {
        let mut files = Vec::new();
        for change in projects::changes(Path::new(SHOP))?.as_array().context("changes")? {
            let (path, write) = (change["path"].as_str().context("a path")?, &change["write"]);
            let content = match write["binary"].as_str() {
                Some(binary) => BASE64_STANDARD.decode(binary)?,
                None => write["text"].as_str().context("a text")?.into(),
            };
            files.push((path.to_owned(), if path == "package.json" { MANIFEST.into() } else { content }));
        }
        Self::of(files, "src/components/hero.tsx", "Light for every evening")
    }

    /// A React project with so many components. Each one imports up to three others, some of them in circles.
    pub(crate) fn generated(components: usize) -> Result<Self> {
        let mut files: Vec<(String, Vec<u8>)> = [
            ("index.html", INDEX),
            ("package.json", MANIFEST),
            ("vite.config.ts", CONFIG),
            ("tsconfig.json", TSCONFIG),
            ("src/main.tsx", MAIN),
        ]
        .map(|(path, text)| (path.to_owned(), text.into()))
        .into();
        files.extend((0..components).map(|number| (path_of(number), component(number, components).into_bytes())));
        Self::of(files, "src/parts/part-0.tsx", "Part number 0")
    }

    /// The next version of the edited file.
    pub(crate) fn edit(&mut self, number: usize) {
        let text = self.original.replace(self.marker, &format!("{} {number}", self.marker));
        self.put(self.edited.to_owned(), text);
    }

    /// As [`Project::edit`], with one more export, whose text is a class of Tailwind.
    pub(crate) fn extend(&mut self, number: usize) {
        let text = self.original.replace(self.marker, &format!("{} {number}", self.marker));
        self.put(self.edited.to_owned(), format!("{text}\nexport const added{number} = \"mt-[{number}px]\";\n"));
    }

    /// As [`Project::edit`], with an import of another component. Only for generated projects of at least a hundred components.
    pub(crate) fn import(&mut self, number: usize) {
        let text = self.original.replace(self.marker, &format!("{} {number}", self.marker));
        let part = 3 + number % 90;
        self.put(
            self.edited.to_owned(),
            format!("import {{ Part{part} as Added }} from \"./part-{part}\";\n{text}\nconsole.log(Added);\n"),
        );
    }

    /// Changes every module and style sheet.
    pub(crate) fn change_all(&mut self, number: usize) -> Result<()> {
        let sources: Vec<String> = self.files.keys().filter(|path| path.starts_with("src/")).cloned().collect();
        for path in sources {
            let comment = match path.rsplit_once('.').map(|(_, extension)| extension) {
                Some("ts" | "tsx") => format!("\n// {number}\n"),
                Some("css") => format!("\n/* {number} */\n"),
                _ => continue,
            };
            let text = format!("{}{comment}", std::str::from_utf8(self.content(&path)?)?);
            self.put(path, text);
        }
        Ok(())
    }

    fn put(&mut self, path: String, text: String) {
        self.files.insert(path, File { id: blob_id(text.as_bytes()), content: text.into() });
    }

    /// The content of the edited file.
    pub(crate) fn edited_text(&self) -> Result<&[u8]> {
        self.content(self.edited).map(|content| &content[..])
    }

    pub(crate) fn content(&self, path: &str) -> Result<&Bytes> {
        Ok(&self.files.get(path).with_context(|| format!("no file {path}"))?.content)
    }

    /// The content with a git id.
    pub(crate) fn blob(&self, id: &str) -> Result<Bytes> {
        Ok(self.files.values().find(|file| file.id == id).context("no such content")?.content.clone())
    }

    pub(crate) fn tree_id(&self) -> Result<String> {
        tree_id(self.files.iter().map(|(path, file)| (path.as_str(), file.id.as_str()))).context("no tree")
    }

    pub(crate) fn list(&self) -> Vec<TreeFile> {
        let file =
            |(path, file): (&String, &File)| TreeFile { path: path.clone(), blob_id: file.id.clone(), size: file.content.len() as u64 };
        self.files.iter().map(file).collect()
    }

    /// Writes the files into a folder, with a link to the packages.
    pub(crate) fn write(&self, root: &Path, modules: &Path) -> Result<()> {
        for (path, file) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(path, &file.content)?;
        }
        Ok(std::os::unix::fs::symlink(modules.join("node_modules"), root.join("node_modules"))?)
    }

    /// The changes of a save that make the project.
    pub(crate) fn changes(&self) -> Value {
        let content = |file: &File| match std::str::from_utf8(&file.content) {
            Ok(text) => serde_json::json!({ "text": text }),
            Err(_) => serde_json::json!({ "binary": BASE64_STANDARD.encode(&file.content) }),
        };
        self.files.iter().map(|(path, file)| serde_json::json!({ "path": path, "write": content(file) })).collect()
    }
}

const INDEX: &str = "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Parts</title></head>\n<body>\n<div id=\"root\"></div>\n\
                     <script type=\"module\" src=\"/src/main.tsx\"></script>\n</body>\n</html>\n";
const CONFIG: &str = "import react from \"@vitejs/plugin-react\";\nimport { defineConfig } from \"vite\";\n\n\
                      export default defineConfig({ plugins: [react()] });\n";
const TSCONFIG: &str = "{ \"compilerOptions\": { \"jsx\": \"react-jsx\", \"module\": \"ESNext\", \"moduleResolution\": \"bundler\" } }\n";
const MAIN: &str = "import { createRoot } from \"react-dom/client\";\nimport { Part0 } from \"./parts/part-0\";\n\n\
                    createRoot(document.getElementById(\"root\")!).render(<Part0 depth={2} />);\n";

fn path_of(number: usize) -> String {
    format!("src/parts/part-{number}.tsx")
}

/// A component of about 1.5 KB. Part n imports the parts 2n + 1 and 2n + 2, so that the page reaches all, and every tenth one its parent.
fn component(number: usize, components: usize) -> String {
    let mut imported: Vec<usize> = [2 * number + 1, 2 * number + 2].into_iter().filter(|next| *next < components).collect();
    if number % 10 == 1 {
        imported.push((number - 1) / 2);
    }
    let mut text = String::from("import { useMemo, useState } from \"react\";\n");
    for next in &imported {
        let _ = writeln!(text, "import {{ Part{next} }} from \"./part-{next}\";");
    }
    let _ = write!(text, "\ninterface Row {{\n  id: number;\n  name: string;\n  isOpen: boolean;\n}}\n\nconst rows: Row[] = [\n");
    for row in 0..8 {
        let _ = writeln!(text, "  {{ id: {row}, name: \"Row {row} of part {number}\", isOpen: {} }},", (row + number).is_multiple_of(3));
    }
    let _ = write!(
        text,
        "];\n\nexport function Part{number}({{ depth }}: {{ depth: number }}) {{\n  const [query, setQuery] = useState<string>(\"\");\n  \
         const found = useMemo(() => rows.filter((row) => row.name.includes(query) || row.isOpen), [query]);\n  \
         const total = found.reduce<number>((sum, row) => sum + row.id, 0);\n  return (\n    <section className=\"part\">\n      \
         <h2>Part number {number}</h2>\n      <input value={{query}} onChange={{(event) => setQuery(event.target.value)}} />\n      <ul>\n        \
         {{found.map((row) => (\n          <li key={{row.id}}>\n            {{row.name}}: {{total as number}}\n          </li>\n        ))}}\n      </ul>\n"
    );
    for next in &imported {
        let _ = writeln!(text, "      {{depth > 0 && <Part{next} depth={{depth - 1}} />}}");
    }
    text.push_str("    </section>\n  );\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_one_file_and_a_revision_all_sources() -> Result<()> {
        for mut project in [Project::shop()?, Project::generated(30)?] {
            let ids = |project: &Project| project.files.values().map(|file| file.id.clone()).collect::<Vec<_>>();
            let changed = |a: &[String], b: &[String]| a.iter().zip(b).filter(|(a, b)| a != b).count();
            let first = ids(&project);
            project.extend(1);
            assert_eq!(changed(&first, &ids(&project)), 1);
            assert!(std::str::from_utf8(project.edited_text()?)?.contains("export const added1 = \"mt-[1px]\";"));
            project.edit(1);
            let second = ids(&project);
            assert_eq!(changed(&first, &second), 1);
            assert!(!std::str::from_utf8(project.edited_text()?)?.contains("added1"));
            project.change_all(1)?;
            let sources =
                project.files.keys().filter(|path| path.starts_with("src/") && !path.ends_with(".svg") && !path.ends_with(".json"));
            assert_eq!(changed(&second, &ids(&project)), sources.count());
        }
        Ok(())
    }

    #[test]
    fn an_import_is_added_to_one_file() -> Result<()> {
        let mut project = Project::generated(100)?;
        project.import(91);
        let text = std::str::from_utf8(project.edited_text()?)?;
        assert!(text.starts_with("import { Part4 as Added } from \"./part-4\";\n") && text.contains("Part number 0 91"), "{text}");
        project.content("src/parts/part-4.tsx").map(drop)
    }

    #[test]
    fn the_page_reaches_all_generated_components() {
        let all: String = (0..50).map(|number| component(number, 50)).collect();
        assert!((1..50).all(|number| all.contains(&format!("from \"./part-{number}\""))));
        assert!(component(11, 50).contains("./part-5\""), "a circle");
    }
}
