//! Builds that differ from the last one only in the code of some modules. A replica that has made the last build and one that has not give the
//! same bytes.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use chassis::testing::{TestDatabase, compiler};

use crate::harness::{Project, Replica, database, react, replica};

/// A compiler that notes what its workers are asked.
pub(crate) struct Notes {
    folder: tempfile::TempDir,
}

impl Notes {
    pub(crate) fn new() -> Self {
        let notes = Self { folder: tempfile::tempdir().expect("a folder") };
        let script = format!("#!/bin/sh\necho \"${{1:-tree}}\" >> {}\nexec {} \"$@\"\n", notes.log().display(), compiler().display());
        fs::write(notes.executable(), script).expect("a script");
        fs::set_permissions(notes.executable(), fs::Permissions::from_mode(0o755)).expect("a program");
        notes
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn executable(&self) -> PathBuf {
        self.folder.path().join("compiler")
    }

    async fn replica(&self, database: &TestDatabase) -> Replica {
        replica(database, &[("BACKLOT_COMPILER", self.executable().to_str().expect("UTF-8"))]).await
    }

    /// What was asked since the last call, without packages and what fetches them.
    fn asked(&self) -> String {
        self.all().into_iter().filter(|line| !["packages", "fetch"].contains(&line.as_str())).collect::<Vec<_>>().join(" ")
    }

    /// What was asked since the last call.
    pub(crate) fn all(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let _ = fs::remove_file(self.log());
        text.lines().map(str::to_owned).collect()
    }
}

/// The page of a replica that knows nothing, and its findings.
async fn anew(project: &Project) -> (proto::compile::Page, Vec<proto::compile::Finding>) {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    (replica.build(project).await.expect("a page").page, replica.check(project).await.expect("findings"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_keeps_the_facts_asks_for_the_changed_module_alone() {
    let (notes, database) = (Notes::new(), database().await);
    let replica = notes.replica(&database).await;
    let mut project = react();
    replica.build(&project).await.expect("a page");
    replica.check(&project).await.expect("findings");
    notes.asked();
    for (path, text, expected) in [
        ("src/greet.ts", "export const greet = (name: string): string => `Good day, ${name}`;\n", "edit edit"),
        ("src/greet.ts", "// Again.\nexport const greet = (name: string): string => `Good night, ${name}`;\n", "edit edit"),
        ("src/style.css", "h1 { color: red }\n", "edit edit"),
        ("src/greet.ts", "export const greet = (name: string) => name;\nexport const more = 1;\n", "edit tree edit tree"),
        ("src/greet.ts", "export const greet = (name: string) => name + 1;\nexport const more = 2;\n", "edit edit"),
        ("src/greet.ts", "export const greeting = 1;\n", "edit tree edit tree"),
        ("src/greet.ts", "export const greet = () => absent;\n", "edit tree edit tree"),
        ("src/greet.ts", "export const greet = () => 1;\n", "tree tree"),
        ("package.json", r#"{"dependencies": {"react": "^19.0.0", "react-dom": "^19.0.0"}, "name": "a"}"#, "tree tree tree"),
    ] {
        project.insert(path, text.to_owned());
        let built = replica.build(&project).await.expect("a page");
        let found = replica.check(&project).await.expect("findings");
        assert_eq!((built.page.clone(), found), anew(&project).await, "{path}: {text}");
        assert_eq!(notes.asked(), expected, "{path}: {text}");
        for name in &built.page.modules {
            replica.module(name).await.expect("a module of the page");
        }
    }
    // A new file is none of the last build, and a deleted one neither.
    project.insert("src/new.ts", "export const added = 1;\n".to_owned());
    assert_eq!(replica.build(&project).await.expect("a page").page, anew(&project).await.0);
    project.remove("src/new.ts");
    project.insert("src/greet.ts", "export const greet = () => 2;\n".to_owned());
    project.insert("src/style.css", "h1 { color: green }\n".to_owned());
    assert_eq!(replica.build(&project).await.expect("a page").page, anew(&project).await.0);
    assert_eq!(notes.asked(), "tree edit", "two files at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_outputs_were_deleted_is_made_anew() {
    let (notes, database) = (Notes::new(), database().await);
    let replica = notes.replica(&database).await;
    let mut project = react();
    let page = replica.build(&project).await.expect("a page").page;
    notes.asked();
    let others = "delete from outputs where name not in (select output from facts where path = 'src/greet.ts')";
    sqlx::query(others).execute(&database.pool).await.expect("deleted");
    project.insert("src/greet.ts", "export const greet = (name: string): string => `Good day, ${name}`;\n".to_owned());
    let built = replica.build(&project).await.expect("a page").page;
    let asked = notes.asked();
    assert!(asked.starts_with("edit tree"), "{asked}");
    assert_ne!(built.modules, page.modules);
    for name in built.modules.iter().filter(|name| page.modules.contains(name)) {
        replica.module(name).await.expect("a module that was made again");
    }
}

/// The name of a release is the hash of its executable, and two notes have two executables.
#[tokio::test(flavor = "multi_thread")]
async fn another_release_makes_its_page_of_its_own_modules() {
    let (first, second, database) = (Notes::new(), Notes::new(), database().await);
    let rows = async || -> Vec<(Vec<u8>, i64)> {
        let select = sqlx::query_as("select release, count(*) from facts group by release order by min(used_at)");
        select.fetch_all(&database.pool).await.expect("numbers")
    };
    let (one, other, mut project) = (first.replica(&database).await, second.replica(&database).await, react());
    one.build(&project).await.expect("a page");
    let before = rows().await;
    let [(_, count)] = before.as_slice() else { panic!("{before:?}") };
    other.build(&project).await.expect("a page");
    let after = rows().await;
    assert!(after.len() == 2 && after.iter().all(|(_, number)| number == count), "each has made every module: {after:?}");
    project.insert("src/greet.ts", "export const greet = (name: string): string => `Good day, ${name}`;\n".to_owned());
    other.build(&project).await.expect("a page");
    one.build(&project).await.expect("a page");
    assert!(rows().await.iter().all(|(_, number)| *number == count + 1), "an edit is one module of each release");
}
