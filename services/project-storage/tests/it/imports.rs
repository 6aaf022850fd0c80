//! Imports of archives: one revision, or nothing.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use futures::stream;
use project_storage::testing::delete_unused_store;
use proto::{
    auth::Plan,
    error::Fault,
    project_storage::{Actor, ImportArchiveRequest, ImportMode, ImportResult, ImportSettings, ImportStatus},
};

use crate::harness::{Cluster, Person, answer, reason, write};

impl Person {
    /// Imports an archive in messages of `size` bytes. Returns the result and the number of messages of progress.
    async fn import_in(&self, settings: ImportSettings, archive: &[u8], size: usize) -> Result<(ImportResult, usize), Box<Fault>> {
        let first = ImportArchiveRequest { settings: Some(settings), ..Default::default() };
        let rest: Vec<_> =
            archive.chunks(size).map(|part| ImportArchiveRequest { data: part.to_vec().into(), ..Default::default() }).collect();
        let messages = stream::iter(std::iter::once(first).chain(rest));
        let mut answers = answer(self.client.clone().import_archive(self.stream_request(messages)).await)?;
        let mut progress = 0;
        loop {
            let message = answers.message().await.map_err(|status| Box::new(Fault::from_status(&status)))?.expect("a result comes last");
            match message.result {
                Some(result) => return Ok((result, progress)),
                None => progress += 1,
            }
        }
    }

    pub(crate) async fn import(&self, settings: ImportSettings, archive: &[u8]) -> Result<ImportResult, Box<Fault>> {
        self.import_in(settings, archive, 60_000).await.map(|(result, _)| result)
    }
}

fn into(project: &str) -> ImportSettings {
    ImportSettings { project_id: project.into(), ..Default::default() }
}

/// A tar file of some files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // `set_path` refuses the paths that an import has to refuse.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// A zip file that Python makes, from lines of `path content`.
fn zip(files: &str) -> Vec<u8> {
    const PYTHON: &str = "import sys, zipfile
with zipfile.ZipFile(sys.stdout.buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
    for line in sys.stdin.read().splitlines():
        archive.writestr(*line.split(' ', 1))";
    let mut python =
        Command::new("python3").args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is installed");
    python.stdin.take().expect("a pipe").write_all(files.as_bytes()).expect("written");
    let output = python.wait_with_output().expect("an output");
    assert!(output.status.success());
    output.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_becomes_one_revision() {
    let cluster = Cluster::start().await;
    let person = cluster.person();
    let project = person.create().await.id;
    person.save(&project, vec![write("old.txt", "old"), write("src/a.js", "1")]).await.expect("saved");
    let archive = zip("app/package.json {}\napp/src/a.js 2\napp/dist/a.js min\napp/node_modules/x/y.js y\napp/.DS_Store z");
    let imported = person.import(into(&project), &archive).await.expect("imported");
    assert_eq!(person.files(&project).await, ["old.txt=old", "package.json={}", "src/a.js=2"]);
    assert_eq!((imported.imported_files, imported.skipped_files, imported.more_entries), (2, 3, 0));
    let report: Vec<_> = imported.entries.iter().map(|entry| (entry.path.as_str(), entry.status())).collect();
    assert_eq!(
        report,
        [
            (".DS_Store", ImportStatus::SkippedJunk),
            ("dist", ImportStatus::SkippedBuildOutput),
            ("node_modules", ImportStatus::SkippedDependencies),
            ("package.json", ImportStatus::Imported),
            ("src/a.js", ImportStatus::Imported),
        ]
    );
    let revision = imported.revision.expect("a revision");
    assert_eq!((revision.number, revision.message.as_str(), revision.actor()), (2, "Import 2 files", Actor::Import));

    let replaced = ImportSettings { mode: ImportMode::Replace.into(), message: "All new".into(), ..into(&project) };
    person.import(replaced, &tar(&[("only.txt", b"new")])).await.expect("imported");
    assert_eq!(person.files(&project).await, ["only.txt=new"]);
    // The same files are no new revision, and the lease has ended.
    let same = person.import(into(&project), &tar(&[("only.txt", b"new")])).await.expect("imported");
    assert_eq!(same.revision.expect("the head").number, 3);
    assert_eq!(cluster.count("SELECT count(*) FROM pending_writes").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_is_made_with_its_files_or_not_at_all() {
    let cluster = Cluster::start().await;
    let person = cluster.person();
    let settings = || ImportSettings { display_name: "Shop".into(), ..Default::default() };
    let refused = person.import(settings(), &tar(&[("a", b"1"), ("../b", b"2")])).await.expect_err("refused");
    assert_eq!((refused.reason.as_str(), refused.metadata["path"].as_str()), ("ARCHIVE_ENTRY_REFUSED", "../b"));
    for what in ["projects", "stores", "objects", "pending_writes"] {
        assert_eq!(cluster.rows_of_projects(what).await, 0, "{what}");
    }
    let made = person.import(settings(), &tar(&[("a", b"1")])).await.expect("imported").project.expect("a project");
    assert_eq!((made.display_name.as_str(), person.files(&made.id).await), ("Shop", vec!["a=1".to_owned()]));
    let draft = ImportSettings { draft_id: "d".into(), ..Default::default() };
    let first = person.import(draft.clone(), &tar(&[("a", b"1")])).await.expect("imported").project.expect("a project");
    let second = person.import(draft, &tar(&[("b", b"2")])).await.expect("imported").project.expect("a project");
    assert_eq!((first.id == second.id, person.files(&first.id).await), (true, vec!["a=1".to_owned(), "b=2".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_has_the_same_result() {
    let cluster = Cluster::start().await;
    let person = cluster.person();
    let settings = || ImportSettings { request_id: "k".into(), ..Default::default() };
    let archive = tar(&[("a", b"1")]);
    let first = person.import(settings(), &archive).await.expect("imported");
    let again = person.import_in(settings(), &archive, 100).await.expect("imported").0;
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!((first.project, first.revision, first.entries), (again.project, again.revision, again.entries));
    let stored = cluster.rows_of_projects("objects").await;
    assert_eq!(reason(person.import(settings(), &tar(&[("a", b"2")])).await), "KEY_REUSED");
    assert_eq!(cluster.rows_of_projects("objects").await, stored, "nothing of it was written");
    assert_eq!(cluster.rows_of_projects("stores").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_what_is_wrong_and_change_nothing() {
    let cluster = Cluster::start().await;
    let (person, stranger) = (cluster.person(), cluster.person());
    let project = person.create().await.id;
    person.save(&project, vec![write("folder/a", "1")]).await.expect("saved");
    let good = tar(&[("a", b"1")]);
    let size = Some(good.len() as u64 + 1);
    let rows: Vec<(&str, ImportSettings, Vec<u8>, &str)> = vec![
        ("not an archive", into(&project), b"hello".to_vec(), "ARCHIVE_INVALID"),
        ("cut", into(&project), good[..700].to_vec(), "ARCHIVE_INVALID"),
        ("no file", into(&project), tar(&[("node_modules/a", b"1")]), "ARCHIVE_INVALID"),
        ("another size", ImportSettings { size_bytes: size, ..into(&project) }, good.clone(), "INVALID_FIELD"),
        ("too large", ImportSettings { size_bytes: Some(1 << 40), ..into(&project) }, good.clone(), "ARCHIVE_TOO_LARGE"),
        ("a file where a folder is", into(&project), tar(&[("folder", b"1"), ("x", b"2")]), "INVALID_PATH"),
        ("another case", into(&project), tar(&[("FOLDER/b", b"1"), ("x", b"2")]), "INVALID_PATH"),
        ("a large file", into(&project), tar(&[("x", &vec![7; 6 << 20])]), "ARCHIVE_TOO_LARGE"),
        ("a bad condition", ImportSettings { if_match: "\"0000\"".into(), ..into(&project) }, good.clone(), "ETAG_MISMATCH"),
        ("an unknown project", into(&uuid::Uuid::now_v7().to_string()), good.clone(), "PROJECT_NOT_FOUND"),
    ];
    for (what, settings, archive, expected) in rows {
        assert_eq!(reason(person.import(settings, &archive).await), expected, "{what}");
    }
    assert_eq!(reason(stranger.import(into(&project), &good).await), "PROJECT_NOT_FOUND");
    assert_eq!(person.files(&project).await, ["folder/a=1"]);
    assert_eq!(cluster.count("SELECT count(*) FROM pending_writes").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_files_and_large_ones_are_one_revision() {
    let cluster = Cluster::start().await;
    let person = cluster.person_on(Plan::Team);
    let files: Vec<(String, Vec<u8>)> = (0..3000).map(|n| (format!("f{}/{n}.txt", n % 40), format!("file {n}").into_bytes())).collect();
    let mut refs: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    let large: Vec<u8> = (0..700_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    refs.push(("large.bin", &large));
    let imported = person.import(ImportSettings::default(), &tar(&refs)).await.expect("imported");
    assert_eq!((imported.imported_files, imported.revision.as_ref().map(|revision| revision.number)), (3001, Some(1)));
    let project = imported.project.expect("a project").id;
    let (_, first) = person.export(&project, "zip", "").await.expect("an export");
    let copy = person.import(ImportSettings::default(), &first).await.expect("imported").project.expect("a project").id;
    for format in ["zip", "tar.gz"] {
        let (one, two) = (person.export(&project, format, "").await.expect("one"), person.export(&copy, format, "").await.expect("two"));
        assert!(one.1 == two.1 && one.0.etag == two.0.etag, "{format}");
    }
}

/// The stores of imports whose process died, more of them than one statement deletes.
#[tokio::test]
async fn what_dead_imports_have_stored_is_deleted() {
    let cluster = Cluster::start().await;
    cluster.person().create().await;
    for sql in [
        "INSERT INTO stores (id, unused_since) SELECT gen_random_uuid(), now() FROM generate_series(1, 12)",
        "INSERT INTO pending_writes (id, store_id, expires_at)
         SELECT gen_random_uuid(), id, now() + interval '1 minute' FROM stores WHERE unused_since IS NOT NULL",
        "INSERT INTO objects (store_id, oid, tag, size, data)
         SELECT id, sha256(n::text::bytea), 3, 1, 'x' FROM stores, generate_series(1, 2500) n WHERE unused_since IS NOT NULL",
    ] {
        sqlx::query(sql).execute(&cluster.database.pool).await.expect("written");
    }
    while delete_unused_store(&cluster.database.pool).await.expect("swept") > 0 {}
    assert_eq!(cluster.rows_of_projects("stores").await, 13, "their leases are valid");
    cluster.delete_unused_stores().await;
    assert_eq!((cluster.rows_of_projects("stores").await, cluster.rows_of_projects("objects").await), (1, 0));
    assert_eq!(cluster.count("SELECT count(*) FROM pending_writes").await, 0);
}

/// `make test` downloads the packages of tests/archives/packages.txt.
#[tokio::test(flavor = "multi_thread")]
async fn published_packages_are_imported() {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_ARCHIVES");
    let folder = named.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/archives"), PathBuf::from);
    let cluster = Cluster::start().await;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder of packages") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if ![".tgz", ".gz", ".zip"].iter().any(|end| name.ends_with(end)) {
            continue;
        }
        // An account of its own, so that the quota holds for each package.
        let person = cluster.person_on(Plan::Team);
        let archive = std::fs::read(&path).expect("a package");
        let imported = person.import(ImportSettings::default(), &archive).await.unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        let project = imported.project.expect("a project").id;
        let (_, exported) = person.export(&project, "tar.gz", "").await.expect("an export");
        let copy = person.import(ImportSettings::default(), &exported).await.unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        let copied = person.export(&copy.project.expect("a project").id, "tar.gz", "").await.expect("an export").1;
        assert!(exported == copied && copy.skipped_files == 0, "{name}: the round trip has the same files");
        found.insert(name, imported.imported_files);
    }
    assert!(found.len() >= 30, "{found:?}");
    assert!(found.values().all(|files| *files > 0), "{found:?}");
}
