//! Exports: archives that other programs read, and that depend on the files only.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use proto::{
    error::Fault,
    project_storage::{ExportProjectRequest, ExportedArchive, UpdateProjectRequest},
};

use crate::harness::{Cluster, Person, answer, delete, reason, write};

impl Person {
    /// A whole archive with what is known before its bytes.
    pub(crate) async fn export(&self, project: &str, format: &str, revision: &str) -> Result<(ExportedArchive, Vec<u8>), Box<Fault>> {
        let request = ExportProjectRequest { project_id: project.into(), format: format.into(), revision: revision.into() };
        let mut parts = answer(self.client.clone().export_project(self.stream_request(request)).await)?;
        let mut next = async || parts.message().await.map_err(|status| Box::new(Fault::from_status(&status)));
        let archive = next().await?.expect("a message").archive.expect("an archive");
        let mut bytes = Vec::new();
        while let Some(part) = next().await? {
            assert!(part.archive.is_none() && !part.data.is_empty() && part.data.len() <= 256 * 1024);
            bytes.extend_from_slice(&part.data);
        }
        Ok((archive, bytes))
    }
}

/// The output of a program that must succeed.
fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Prints each file of a zip as `path mode size`, after it has checked all of them.
const PYTHON: &str = "import sys, zipfile
archive = zipfile.ZipFile('a.zip')
assert archive.testzip() is None
for i in archive.infolist():
    assert i.date_time == (1980, 1, 1, 0, 0, 0), i
    print(i.filename, oct(i.external_attr >> 16), len(archive.read(i)))";

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_read_an_export() {
    let cluster = Cluster::start().await;
    let person = cluster.person();
    let project = person.create().await.id;
    let long = format!("{}/größe.txt", ["a long folder name"; 12].join("/"));
    let text = "all work and no play\n".repeat(2000);
    let changes = [("index.html", "<p>"), ("empty", ""), ("src/app.js", &text), (&long, "deep")].map(|(path, text)| write(path, text));
    person.save(&project, changes.into()).await.expect("saved");
    let folder = tempfile::tempdir().expect("a folder");
    for (format, name) in [("zip", "a.zip"), ("tar.gz", "a.tar.gz")] {
        let (archive, bytes) = person.export(&project, format, "").await.expect("an export");
        assert_eq!(archive.file_name, format!("Untitled.{format}"));
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    run("unzip", &["-tq", "a.zip"], folder.path());
    let listed = run("python3", &["-c", PYTHON], folder.path());
    let expected = format!(
        "project/{long} 0o100644 4\nproject/empty 0o100644 0\nproject/index.html 0o100644 3\nproject/src/app.js 0o100644 {}\n",
        text.len()
    );
    assert_eq!(listed, expected);
    run("tar", &["xzf", "a.tar.gz"], folder.path());
    let read = |path: &str| std::fs::read_to_string(folder.path().join("project").join(path)).expect(path);
    assert_eq!((read("index.html").as_str(), read(&long).as_str(), read("src/app.js")), ("<p>", "deep", text));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_trees_have_equal_archives() {
    let cluster = Cluster::start().await;
    let (person, other) = (cluster.person(), cluster.person());
    let (one, two) = (person.create().await.id, other.create().await.id);
    let first = person.save(&one, vec![write("a", "1"), write("b/c", "2")]).await.expect("saved").revision.expect("a revision").id;
    person.save(&one, vec![write("a", "changed"), write("d", "3")]).await.expect("saved");
    other.save(&two, vec![write("b/c", "2")]).await.expect("saved");
    other.save(&two, vec![write("a", "1"), write("x", "y")]).await.expect("saved");
    other.save(&two, vec![delete("x")]).await.expect("saved");
    let rename = UpdateProjectRequest { project_id: two.clone(), display_name: "Größe: 2".into(), ..Default::default() };
    answer(other.client.clone().update_project(other.request(rename)).await).expect("renamed");
    let mut etags = Vec::new();
    for format in ["zip", "tar.gz"] {
        let (mine, bytes) = person.export(&one, format, &first).await.expect("an export");
        let (theirs, same) = other.export(&two, format, "").await.expect("an export");
        assert!(bytes == same && mine.etag == theirs.etag, "{format}");
        assert_eq!((mine.revision.as_str(), theirs.file_name), (first.as_str(), format!("Größe 2.{format}")));
        let (head, changed) = person.export(&one, format, "").await.expect("an export");
        assert!(bytes != changed && mine.etag != head.etag);
        etags.extend([mine.etag, head.etag]);
    }
    etags.sort_unstable();
    etags.dedup();
    assert_eq!(etags.len(), 4, "each format and each tree has its own ETag");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_needs_a_project_and_a_revision_of_it() {
    let cluster = Cluster::start().await;
    let (person, stranger) = (cluster.person(), cluster.person());
    let (project, foreign) = (person.create().await.id, stranger.create().await.id);
    let (empty, bytes) = person.export(&project, "zip", "").await.expect("an export of no files");
    assert_eq!((empty.revision.as_str(), bytes.len()), ("", 22));
    let revision = stranger.save(&foreign, vec![write("a", "secret")]).await.expect("saved").revision.expect("a revision").id;
    assert_eq!(reason(person.export(&foreign, "zip", "").await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(person.export(&project, "zip", &revision).await), "REVISION_NOT_FOUND");
    let refused = person.export(&project, "rar", "head").await.expect_err("refused");
    let fields: Vec<_> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!((refused.reason.as_str(), fields), ("INVALID_FIELD", vec!["revision", "format"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_exports_are_bounded_and_a_lost_object_breaks_the_stream() {
    let cluster = Cluster::with_settings(&[("BACKLOT_EXPORTS_OPEN", "1")]).await;
    let person = cluster.person();
    let project = person.create().await.id;
    let noise = |seed: u32| (0..12_000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761) ^ seed)).collect::<String>();
    let files: Vec<_> = (0..40_u32).map(|n| write(&format!("{n:02}.txt"), &noise(n)[..50_000])).collect();
    person.save(&project, files).await.expect("saved");
    let request = || ExportProjectRequest { project_id: project.clone(), ..Default::default() };
    let mut open = answer(person.client.clone().export_project(person.request(request())).await).expect("an export");
    assert!(open.message().await.expect("a message").is_some());
    assert_eq!(reason(person.export(&project, "zip", "").await), "SHARE_EXHAUSTED");
    drop(open);
    // The export ends when its reader has gone away.
    chassis::testing::eventually(Duration::from_secs(60), || async { person.export(&project, "zip", "").await.ok() }).await;
    let (uri, _running) = cluster.replica().await;
    let cold = Person { client: cluster.client_at(chassis::identity::Caller::Gateway, &uri), ..person.clone() };
    sqlx::query("DELETE FROM objects WHERE oid = (SELECT oid FROM objects WHERE tag & 15 = 3 AND size = 50000 LIMIT 1)")
        .execute(&cluster.database.pool)
        .await
        .expect("deleted");
    assert!(cold.export(&project, "zip", "").await.is_err(), "the stream must not end as if it were whole");
}
