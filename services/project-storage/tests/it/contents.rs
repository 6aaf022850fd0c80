//! Many files in one stream.

use futures::StreamExt as _;
use proto::{
    error::Fault,
    project_storage::{FileEntry, FilesOpened, ReadFilesRequest},
};

use crate::{
    files::{pattern, upload},
    harness::{Cluster, Person, answer, delete, reason, write},
};

/// What is read, and the files with their contents.
type Read = (FilesOpened, Vec<(FileEntry, Vec<u8>)>);

async fn read_at(person: &Person, project: &str, revision: &str, paths: &[&str]) -> Result<Read, Box<Fault>> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = ReadFilesRequest { project_id: project.into(), revision: revision.into(), paths };
    let mut parts = answer(person.client.clone().read_files(person.request(request)).await)?;
    let (mut opened, mut files) = (None, Vec::<(FileEntry, Vec<u8>)>::new());
    while let Some(part) = parts.next().await {
        let part = part.map_err(|status| Box::new(Fault::from_status(&status)))?;
        assert!(part.data.len() <= 256 * 1024 && (opened.is_none() == part.opened.is_some()));
        opened = opened.or(part.opened);
        files.extend(part.file.map(|file| (file, Vec::new())));
        if let Some((_, content)) = files.last_mut() {
            content.extend_from_slice(&part.data);
        }
    }
    assert!(files.iter().all(|(file, content)| file.size_bytes as usize == content.len()));
    Ok((opened.expect("the first message"), files))
}

async fn read(person: &Person, project: &str, paths: &[&str]) -> Result<Read, Box<Fault>> {
    read_at(person, project, "", paths).await
}

fn paths(read: &Read) -> Vec<&str> {
    read.1.iter().map(|(file, _)| file.path.as_str()).collect()
}

#[tokio::test]
async fn many_files_are_read_in_one_stream() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    assert_eq!(read(&ann, &project, &[]).await.expect("no files"), (FilesOpened::default(), Vec::new()));
    let small: Vec<_> = (0..30).map(|n| write(&format!("src/f{n:02}"), &format!("{n}").repeat(1 + n * 800))).collect();
    ann.save(&project, small).await.expect("saved");
    let large = pattern(700_001);
    upload(&ann, &project, "src/f10.bin", &large).await.expect("uploaded");
    let old = ann.save(&project, vec![write("empty", ""), write("z.html", "<p>")]).await.expect("saved").revision.expect("a revision").id;

    let all = read(&ann, &project, &[]).await.expect("read");
    assert_eq!((all.1.len(), all.0.revision.as_str()), (33, old.as_str()));
    let listed: Vec<String> = ann.load(&project).await.expect("a project").files.into_iter().map(|file| file.path).collect();
    assert_eq!(paths(&all), listed);
    assert!(all.1.iter().any(|(file, content)| file.path == "src/f10.bin" && *content == large));
    assert!(all.1.iter().any(|(file, content)| file.path == "src/f29" && content.len() == 46_402));

    // In the order asked for, each once.
    let some = read(&ann, &project, &["z.html", "nothing", "empty", "src", "src/f01", "nothing"]).await.expect("read");
    assert_eq!(paths(&some)[..4], ["z.html", "empty", "src/f00", "src/f01"]);
    assert_eq!((some.1.len(), some.0.missing_paths.as_slice()), (33, &["nothing".to_owned()][..]));
    assert_eq!(some.1[0].0.media_type, "text/html; charset=utf-8");
    assert_eq!(some.1[0].0.etag, all.1.last().expect("a file").0.etag);

    // A revision stays what it was.
    ann.save(&project, vec![delete("empty"), write("z.html", "<b>")]).await.expect("saved");
    let then = read_at(&ann, &project, &old, &["z.html", "empty"]).await.expect("read");
    assert_eq!((then.1[0].1.as_slice(), paths(&then)), (&b"<p>"[..], vec!["z.html", "empty"]));
    assert_eq!(read(&ann, &project, &["empty"]).await.expect("read").0.missing_paths, ["empty"]);
}

#[tokio::test]
async fn what_may_not_be_read_is_refused() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let other = bob.create().await.id;
    let revision = ann.save(&project, vec![write("a", "1")]).await.expect("saved").revision.expect("a revision").id;
    assert_eq!(reason(read(&bob, &project, &[]).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(read_at(&bob, &other, &revision, &[]).await), "REVISION_NOT_FOUND");
    let fault = read(&ann, &project, &["a", "a/../b"]).await.expect_err("no path");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_PATH", "paths[1]"));
    let fault = read(&ann, &project, &["a"; 201]).await.expect_err("too many");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "paths"));
    assert_eq!(read(&ann, &project, &["a"; 200]).await.expect("read").1.len(), 1);
    sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, 1 FROM projects WHERE owner_id <> $1")
        .bind(bob.id.0)
        .execute(&cluster.database.pool)
        .await
        .expect("a viewer");
    assert_eq!(read(&bob, &project, &[]).await.expect("read").1.len(), 1);
}
