//! A project with as many files as the plan `free` has: plain TypeScript, whose page loads almost all of them as modules at once.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use test_support::Person;

/// The files that one save may name.
const SAVE: usize = 200;
/// Modules of a folder, besides the one that imports them.
const FOLDER: usize = 100;
/// Modules that export a number. With those that import them, the page and its icon there are 2,000 files.
const NUMBERS: usize = 1_977;
/// What a page has beside its modules.
const PLAIN: [(&str, &str); 2] = [
    (
        "index.html",
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Sum</title><link rel=\"icon\" href=\"/icon.svg\"></head>\n\
         <body><script type=\"module\" src=\"/src/main.ts\"></script></body>\n</html>\n",
    ),
    ("public/icon.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n"),
];

/// A preview of the project.
pub(crate) struct ManyModules {
    pub(crate) preview: String,
    /// The heading that the page shows when all modules have run.
    pub(crate) heading: String,
    /// The modules that the page loads.
    pub(crate) modules: usize,
}

/// Saves the project in parts.
pub(crate) async fn open(person: &Person) -> Result<ManyModules> {
    let files = files();
    let modules = files.len() - PLAIN.len();
    let changes: Vec<Value> = files.into_iter().map(|(path, text)| json!({ "path": path, "write": { "text": text } })).collect();
    let mut project = None;
    for part in changes.chunks(SAVE) {
        let body = match &project {
            None => json!({ "draftId": "many-modules", "changes": part }),
            Some(id) => json!({ "projectId": id, "changes": part }),
        };
        let saved = person.post("/api/projects/save", body).await?;
        project = Some(saved["project"]["id"].as_str().context("no project")?.to_owned());
    }
    let project = project.context("no save")?;
    let made = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let preview = made["url"].as_str().context("no preview")?.to_owned();
    Ok(ManyModules { preview, heading: format!("The sum is {}", NUMBERS * (NUMBERS + 1) / 2), modules })
}

/// The page first, and a folder for each hundred numbers.
fn files() -> Vec<(String, String)> {
    let numbers: Vec<usize> = (1..=NUMBERS).collect();
    let folders: Vec<&[usize]> = numbers.chunks(FOLDER).collect();
    let mut files: Vec<_> = PLAIN.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    files.push(("src/main.ts".to_owned(), main(folders.len())));
    for (at, numbers) in folders.into_iter().enumerate() {
        files.push((format!("src/part{at}/index.ts"), index(numbers)));
        files.extend(numbers.iter().map(|n| (format!("src/part{at}/m{n:04}.ts"), format!("export const m{n}: number = {n};\n"))));
    }
    files
}

fn main(folders: usize) -> String {
    let imports: String = (0..folders).map(|at| format!("import {{ sum as sum{at} }} from './part{at}/index';\n")).collect();
    let sums: Vec<String> = (0..folders).map(|at| format!("sum{at}")).collect();
    format!(
        "{imports}const sums: number[] = [{}];\nconst title: HTMLElement = document.createElement('h1');\n\
         title.textContent = `The sum is ${{sums.reduce((a, b) => a + b)}}`;\ndocument.body.append(title);\n",
        sums.join(", ")
    )
}

fn index(numbers: &[usize]) -> String {
    let imports: String = numbers.iter().map(|n| format!("import {{ m{n} }} from './m{n:04}';\n")).collect();
    let terms: Vec<String> = numbers.iter().map(|n| format!("m{n}")).collect();
    format!("{imports}export const sum: number = {};\n", terms.join(" + "))
}

#[test]
fn the_project_has_as_many_files_as_the_plan() {
    let files = files();
    assert_eq!(files.len(), 2_000);
    let of = |path: &str| files.iter().find(|(own, _)| own == path).map(|(_, text)| text.as_str()).unwrap_or_default();
    assert!(of("src/part19/index.ts").ends_with(" + m1976 + m1977;\n") && of("src/part0/m0001.ts") == "export const m1: number = 1;\n");
    assert!(
        of("src/main.ts").contains("sum as sum19 }") && of("src/main.ts").contains("`The sum is ${sums.reduce("),
        "{}",
        of("src/main.ts")
    );
}
