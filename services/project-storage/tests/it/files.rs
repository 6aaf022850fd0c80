//! Files that arrive and leave as streams: uploads, downloads, copies, and what holds for large files.

use futures::{StreamExt as _, stream};
use prost::bytes::Bytes;
use proto::{
    auth::Plan,
    error::{ErrorCode, Fault},
    project_storage::{
        CopyFile, DeleteFileRequest, DownloadFileRequest, FileChange, FileEntry, GetFileRequest, LockScope, ReadTurnFilesRequest,
        RestoreRevisionRequest, SetLockRequest, UploadFileRequest, UploadFileResponse, file_change::Action,
    },
};

use rate_limit::Policies;

use crate::harness::{Cluster, Person, Turn, answer, commit, content, delete, reason, rename, update, without_user, write};

/// Bytes that do not repeat with the size of a chunk.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| u8::try_from(n * 7 % 251).expect("small")).collect()
}

/// Uploads in messages of `part` bytes.
pub(crate) async fn upload_in(
    person: &Person,
    first: UploadFileRequest,
    data: &[u8],
    part: usize,
) -> Result<UploadFileResponse, Box<Fault>> {
    let mut messages = vec![UploadFileRequest { size_bytes: data.len() as u64, ..first }];
    messages.extend(data.chunks(part).map(|part| UploadFileRequest { data: Bytes::copy_from_slice(part), ..Default::default() }));
    answer(person.client.clone().upload_file(person.request(stream::iter(messages))).await)
}

pub(crate) fn at(project: &str, path: &str) -> UploadFileRequest {
    UploadFileRequest { project_id: project.into(), path: path.into(), ..Default::default() }
}

pub(crate) async fn upload(person: &Person, project: &str, path: &str, data: &[u8]) -> Result<UploadFileResponse, Box<Fault>> {
    upload_in(person, at(project, path), data, 100_000).await
}

async fn download_with(person: &Person, request: DownloadFileRequest) -> Result<(FileEntry, Vec<u8>), Box<Fault>> {
    let mut parts = answer(person.client.clone().download_file(person.request(request)).await)?;
    let (mut entry, mut data) = (None, Vec::new());
    while let Some(part) = parts.next().await {
        let part = part.map_err(|status| Box::new(Fault::from_status(&status)))?;
        entry = entry.or(part.file);
        data.extend_from_slice(&part.data);
    }
    Ok((entry.expect("the first message describes the file"), data))
}

fn range(project: &str, path: &str, offset: u64, length: Option<u64>) -> DownloadFileRequest {
    DownloadFileRequest { project_id: project.into(), path: path.into(), offset, length, ..Default::default() }
}

pub(crate) async fn download(person: &Person, project: &str, path: &str) -> Result<(FileEntry, Vec<u8>), Box<Fault>> {
    download_with(person, range(project, path, 0, None)).await
}

#[tokio::test]
async fn a_file_of_any_size_comes_back_as_it_was() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    for (n, size) in [0, 1, 51_200, 51_201, 262_144, 262_145, 524_288, 700_001, 5 * 1024 * 1024].into_iter().enumerate() {
        let (path, data) = (format!("files/{n}.bin"), pattern(size));
        let uploaded = upload(&ann, &project, &path, &data).await.expect("uploaded");
        let revision = uploaded.revision.expect("a revision");
        assert_eq!(revision.file_count, Some(u32::try_from(n).expect("small") + 1));
        let (entry, read) = download(&ann, &project, &path).await.expect("downloaded");
        assert!(read == data, "{size}");
        assert_eq!(uploaded.file.map(|file| file.etag), Some(entry.etag));
        assert_eq!(entry.size_bytes as usize, size);
    }
    // No lease is left, and what was counted is what is stored.
    assert_eq!(cluster.count("SELECT count(*) FROM pending_writes").await, 0);
    assert_eq!(cluster.count("SELECT count(*) FROM chunks").await, 2 + 2 + 3 + 20);
    let stored = "SELECT ((SELECT sum(octet_length(data)) FROM objects) + (SELECT sum(octet_length(data)) FROM chunks) \
                  - (SELECT sum(bytes) FROM stores))::bigint";
    assert_eq!(cluster.count(stored).await, 0);
}

#[tokio::test]
async fn a_part_of_a_file_is_read() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let data = pattern(700_001);
    upload(&ann, &project, "big", &data).await.expect("uploaded");
    upload(&ann, &project, "small", &data[..1000]).await.expect("uploaded");
    for (path, size) in [("big", 700_001), ("small", 1000)] {
        for (offset, length) in
            [(0, Some(0)), (0, Some(1)), (1, Some(10)), (262_143, Some(2)), (262_144, Some(262_144)), (699_999, None), (size, None)]
        {
            if offset > size {
                continue;
            }
            let (entry, read) = download_with(&ann, range(&project, path, offset, length)).await.expect("read");
            let (from, size) = (usize::try_from(offset).expect("small"), usize::try_from(size).expect("small"));
            let to = length.map_or(size, |length| (from + usize::try_from(length).expect("small")).min(size));
            assert!(read == data[from..to], "{path} {offset} {length:?}");
            assert_eq!(entry.size_bytes as usize, size);
        }
    }
    assert_eq!(reason(download_with(&ann, range(&project, "small", 1001, None)).await), "INVALID_FIELD");
    assert_eq!(reason(download(&ann, &project, "nothing").await), "FILE_NOT_FOUND");
    let bob = cluster.person();
    assert_eq!(reason(download(&bob, &project, "big").await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(upload(&bob, &project, "big", b"x").await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn limits_by_class() {
    let cluster = Cluster::start().await;
    for (plan, text, asset) in [(Plan::Free, 51_200, 5 << 20), (Plan::Team, 512_000, 10 << 20)] {
        let person = cluster.person_on(plan);
        let project = person.create().await;
        let limits = project.limits.expect("limits");
        assert_eq!((limits.file_bytes, limits.asset_bytes), (text, asset));
        upload(&person, &project.id, "asset", &pattern(asset as usize)).await.expect("at the limit");
        let fault = upload(&person, &project.id, "b", &pattern(asset as usize + 1)).await.expect_err("above");
        assert_eq!((fault.reason.as_str(), fault.metadata["limit"].as_str()), ("FILE_TOO_LARGE", asset.to_string().as_str()));
        assert_eq!(fault.violations[0].field, "size_bytes");
        let above = "x".repeat(text as usize + 1);
        assert_eq!(reason(person.save(&project.id, vec![write("text", &above)]).await), "FILE_TOO_LARGE");
        // What exists may be moved, copied and restored, whatever its size.
        let saved = person.save(&project.id, vec![rename("asset", "moved")]).await.expect("moved").revision.expect("a revision");
        person.save(&project.id, vec![copy("moved", "dir/copy")]).await.expect("copied");
        person.save(&project.id, vec![copy("dir", "other"), rename("dir", "dir/in/itself")]).await.expect("folders");
        assert_eq!(paths(&person, &project.id).await, ["dir/in/itself/copy", "moved", "other/copy"]);
        let restore = RestoreRevisionRequest { project_id: project.id.clone(), revision: saved.id, ..Default::default() };
        answer(person.client.clone().restore_revision(person.request(restore)).await).expect("restored");
        assert_eq!(paths(&person, &project.id).await, ["moved"]);
    }
}

async fn paths(person: &Person, project: &str) -> Vec<String> {
    person.load(project).await.expect("a project").files.into_iter().map(|file| file.path).collect()
}

fn copy(path: &str, to: &str) -> FileChange {
    FileChange { path: path.into(), action: Some(Action::Copy(CopyFile { new_path: to.into() })), etag: String::new() }
}

#[tokio::test]
async fn copies_and_folders_are_checked_as_files_are() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.save(&project, vec![write("a/x", "1"), write("a/y/z", "2"), write("b", "3")]).await.expect("saved");
    for (change, expected, field) in [
        (copy("a", "b"), "INVALID_PATH", "changes[0].copy.new_path"),
        (copy("a/x", "b"), "FILE_EXISTS", "changes[0].copy.new_path"),
        (rename("a", "a"), "INVALID_PATH", ""),
        (copy("nothing", "c"), "FILE_NOT_FOUND", "changes[0].path"),
        (copy("a", "con"), "INVALID_PATH", "changes[0].copy.new_path"),
        (copy("a", &"x".repeat(253)), "INVALID_PATH", "changes[0].copy.new_path"),
        (delete("a"), "FILE_NOT_FOUND", "changes[0].path"),
        (
            FileChange { etag: "\"4b825dc642cb6eb9a060e54bf8d69288fbee4904\"".into(), ..rename("a", "c") },
            "FILE_NOT_FOUND",
            "changes[0].path",
        ),
    ] {
        let result = ann.save(&project, vec![change.clone()]).await;
        if field.is_empty() {
            // A folder that is moved to itself changes nothing.
            assert_eq!(result.expect("unchanged").revision.map(|revision| revision.number), Some(1));
            continue;
        }
        let fault = result.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), (expected, field), "{change:?}");
    }
    ann.save(&project, vec![rename("a", "c"), copy("c/y", "d"), copy("b", "c/b")]).await.expect("saved");
    assert_eq!(ann.files(&project).await, ["b=3", "c/b=3", "c/x=1", "c/y/z=2", "d/z=2"]);
}

#[tokio::test]
async fn conditions_of_one_file() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let with = |if_match: &str, if_none_match: &str| UploadFileRequest {
        if_match: if_match.into(),
        if_none_match: if_none_match.into(),
        ..at(&project, "a")
    };
    assert_eq!(reason(upload_in(&ann, with("*", ""), b"1", 9).await), "ETAG_MISMATCH");
    let first = upload_in(&ann, with("", "*"), b"1", 9).await.expect("created").file.expect("a file").etag;
    let fault = upload_in(&ann, with("", "*"), b"2", 9).await.expect_err("exists");
    assert_eq!(
        (fault.code, fault.reason.as_str(), fault.metadata["current"].as_str()),
        (ErrorCode::Conflict, "ETAG_MISMATCH", first.as_str())
    );
    let second = upload_in(&ann, with(&format!("\"x\", {first}"), ""), b"2", 9).await.expect("matches").file.expect("a file").etag;
    assert_eq!(reason(upload_in(&ann, with(&first, ""), b"3", 9).await), "ETAG_MISMATCH");
    assert_eq!(reason(upload_in(&ann, with(&format!("W/{second}"), ""), b"3", 9).await), "ETAG_MISMATCH");
    assert_eq!(reason(upload_in(&ann, with(&second, "*"), b"3", 9).await), "INVALID_FIELD");
    assert_eq!(reason(upload_in(&ann, with("", &second), b"3", 9).await), "INVALID_FIELD");
    upload_in(&ann, with("*", ""), b"3", 9).await.expect("exists");
    let remove = |if_match: &str| {
        let request = DeleteFileRequest { project_id: project.clone(), path: "a".into(), if_match: if_match.into(), ..Default::default() };
        let (mut client, request) = (ann.client.clone(), ann.request(request));
        async move { answer(client.delete_file(request).await) }
    };
    assert_eq!(reason(remove(&second).await), "ETAG_MISMATCH");
    remove("*").await.expect("deleted");
    assert_eq!(reason(remove("*").await), "ETAG_MISMATCH");
    assert_eq!(reason(remove("").await), "FILE_NOT_FOUND");
}

#[tokio::test]
async fn a_repeat_of_an_upload_answers_the_first_result() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let request = |message: &str| UploadFileRequest { request_id: "r1".into(), message: message.into(), ..at(&project, "a") };
    let first = upload_in(&ann, request("one"), &pattern(300_000), 50_000).await.expect("uploaded");
    ann.save(&project, vec![write("b", "1")]).await.expect("saved");
    let again = upload_in(&ann, request("one"), &pattern(300_000), 7_000).await.expect("repeated");
    assert!(again.replayed && !first.replayed);
    assert_eq!(again.revision, first.revision);
    assert_eq!(reason(upload_in(&ann, request("two"), &pattern(300_000), 50_000).await), "KEY_REUSED");
    assert_eq!(reason(upload_in(&ann, request("one"), &pattern(300_001), 50_000).await), "KEY_REUSED");
    // The same content makes no revision, and its chunks are stored once.
    let same = upload(&ann, &project, "a", &pattern(300_000)).await.expect("unchanged");
    assert_eq!(same.revision.map(|revision| revision.number), Some(2));
    assert_eq!(cluster.count("SELECT count(*) FROM chunks c JOIN objects o ON o.data = uuid_send(c.id)").await, 2);
    assert_eq!(cluster.count("SELECT count(*) FROM chunks").await, 2);
    assert_eq!(cluster.count("SELECT count(*) FROM pending_writes").await, 0);
}

#[tokio::test]
async fn a_broken_upload_changes_nothing() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let sized = |size_bytes: u64, data: Vec<u8>| {
        let first = UploadFileRequest { size_bytes, ..at(&project, "a") };
        let messages = [first, UploadFileRequest { data: data.into(), ..Default::default() }];
        let (mut client, request) = (ann.client.clone(), ann.request(stream::iter(messages)));
        async move { answer(client.upload_file(request).await) }
    };
    for (size, data) in [(10, pattern(9)), (10, pattern(11)), (600_000, pattern(599_999)), (600_000, pattern(600_001))] {
        let fault = sized(size, data).await.expect_err("another size");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "size_bytes"), "{size}");
    }
    assert_eq!(reason(upload(&ann, &project, "a/../b", b"x").await), "INVALID_PATH");
    assert_eq!(reason(upload(&ann, &project, "con", b"x").await), "INVALID_PATH");
    assert_eq!(reason(upload(&ann, "x", "a", b"x").await), "INVALID_FIELD");
    let fault = upload_in(&ann, at(&project, "a"), &pattern(3 << 20), 2 << 20).await.expect_err("a message of 2 MiB");
    assert_eq!(fault.reason, "MESSAGE_TOO_LARGE");
    assert_eq!(cluster.count("SELECT (SELECT count(*) FROM chunks) + (SELECT count(*) FROM pending_writes)").await, 0);
    assert!(ann.load(&project).await.expect("a project").files.is_empty());
}

#[tokio::test]
async fn an_upload_ends_at_the_quota_of_the_account() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_BYTES", "1000000")]).await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    upload(&ann, &project, "a", &pattern(600_000)).await.expect("fits");
    assert_eq!(reason(upload(&ann, &project, "b", &pattern(600_001)).await), "ACCOUNT_TOO_LARGE");
    assert_eq!(paths(&ann, &project).await, ["a"]);
    // The parts of the refused one are gone.
    upload(&ann, &project, "c", &pattern(300_000)).await.expect("fits");
}

#[tokio::test]
async fn an_asset_is_shown_to_a_turn_without_content() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let lock = "line\n".repeat(60_000);
    upload(&ann, &project, "package-lock.json", lock.as_bytes()).await.expect("uploaded");
    upload(&ann, &project, "huge.bin", &pattern(600_000)).await.expect("uploaded");
    let base = ann.save(&project, vec![write("a", "1")]).await.expect("saved").revision.expect("a revision").id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "look").await.expect("begun");
    let read = ReadTurnFilesRequest { turn_id: turn.id.clone(), revision: base.clone(), paths: Vec::new(), any_size: false };
    let files = answer(turn.agent.clone().read_turn_files(without_user(read)).await).expect("files").files;
    let contents: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.content.is_some(), file.size_bytes)).collect();
    assert_eq!(contents, [("a", true, 1), ("huge.bin", false, 600_000), ("package-lock.json", false, 300_000)]);
    let any = |paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let read = ReadTurnFilesRequest { turn_id: turn.id.clone(), revision: base.clone(), paths, any_size: true };
        let mut agent = turn.agent.clone();
        async move { answer(agent.read_turn_files(without_user(read)).await).map(|read| read.files) }
    };
    let files = any(&["package-lock.json", "huge.bin"]).await.expect("files");
    assert_eq!(files[0].content, Some(content(&lock)));
    assert!(files[1].content.is_some());
    // A client gets what is not larger than the largest text.
    let loaded = ann.load(&project).await.expect("a project");
    assert_eq!(loaded.files.iter().map(|file| file.content.is_some()).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(loaded.files[2].content, Some(content(&lock)));
    let get = GetFileRequest { project_id: project.clone(), path: "huge.bin".into(), ..Default::default() };
    let file = answer(ann.client.clone().get_file(ann.request(get)).await).expect("a file").file.expect("a file");
    assert_eq!((file.content, file.size_bytes), (None, 600_000));
    // The lines of an asset are not merged.
    upload(&ann, &project, "package-lock.json", lock.replacen("line", "LINE", 1).as_bytes()).await.expect("uploaded");
    let result = turn.result(&base, vec![update("package-lock.json", "short\n")]);
    let committed = commit(&turn.agent, result).await.expect("answered");
    assert_eq!(committed.conflict_paths, ["package-lock.json"]);
}

#[tokio::test]
async fn a_save_reads_only_the_folders_that_it_changes() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let file = |n: usize| write(&format!("d{}/e{}/f{n}", n % 10, n % 20), &n.to_string());
    for from in [0, 200, 400] {
        ann.save(&project, (from..from + 200).map(file).collect()).await.expect("saved");
    }
    // Another replica has an empty cache. Without the other folders, only what needs none of them can work there.
    sqlx::raw_sql(
        "DELETE FROM objects WHERE tag & 15 = 2 AND oid NOT IN (SELECT tree FROM ref_log) AND oid NOT IN (
             SELECT substring(data FROM position('d1'::bytea in data) + 3 FOR 20) FROM objects
             WHERE oid = (SELECT tree FROM ref_log ORDER BY seq DESC LIMIT 1))",
    )
    .execute(&cluster.database.pool)
    .await
    .expect("deleted");
    let (uri, _stop) = cluster.replica().await;
    let cold = Person { client: cluster.client_at(chassis::identity::Caller::Gateway, &uri), ..ann.clone() };
    let saved = cold.save(&project, vec![write("d1/new", "1"), write("top", "2")]).await.expect("saved").revision.expect("a revision");
    assert_eq!(
        (saved.file_count, saved.size_bytes),
        (Some(602), Some((0..600).map(|n: usize| n.to_string().len() as u64).sum::<u64>() + 2))
    );
    let again = cold.save(&project, vec![delete("top"), rename("d1/new", "d1/newer")]).await.expect("saved").revision.expect("a revision");
    assert_eq!(again.file_count, Some(601));
    assert_eq!(reason(cold.save(&project, vec![write("d2/e2/f2", "x")]).await), "INTERNAL");
    assert_eq!(reason(cold.load(&project).await), "INTERNAL");
}

/// The answer to the first message of an upload whose content does not come.
async fn upload_head(person: &Person, first: UploadFileRequest) -> Result<UploadFileResponse, Box<Fault>> {
    let messages = stream::iter([first]).chain(stream::pending());
    let (mut client, request) = (person.client.clone(), person.request(messages));
    let answered = tokio::time::timeout(std::time::Duration::from_secs(60), client.upload_file(request)).await;
    answer(answered.expect("the content is not waited for"))
}

#[tokio::test]
async fn an_upload_is_refused_before_its_content() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_BYTES", "1000000")]).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    ann.save(&project, vec![write("a", "1"), write("locked/b", "1")]).await.expect("saved");
    cluster.join(&bob, 2).await;
    let lock = SetLockRequest { project_id: project.clone(), path: "locked".into(), scope: LockScope::Everybody.into() };
    answer(ann.client.clone().set_lock(ann.request(lock)).await).expect("locked");
    let sized = |path: &str| UploadFileRequest { size_bytes: 600_000, ..at(&project, path) };
    let cases = [
        (UploadFileRequest { if_none_match: "*".into(), ..sized("a") }, "ETAG_MISMATCH"),
        (UploadFileRequest { if_match: "\"0000\"".into(), ..sized("a") }, "ETAG_MISMATCH"),
        (UploadFileRequest { if_match: "*".into(), ..sized("new") }, "ETAG_MISMATCH"),
        (sized("locked/b"), "PATH_LOCKED"),
        (sized("a/b"), "INVALID_PATH"),
        (UploadFileRequest { size_bytes: 11 << 20, ..sized("new") }, "FILE_TOO_LARGE"),
    ];
    for (first, expected) in cases {
        assert_eq!(reason(upload_head(&bob, first).await), expected);
    }
    assert_eq!(cluster.count("SELECT (SELECT count(*) FROM chunks) + (SELECT count(*) FROM pending_writes)").await, 0);
    // What was allowed at the first message is checked again at the last one.
    let (parts, stream) = futures::channel::mpsc::unbounded();
    parts.unbounded_send(UploadFileRequest { size_bytes: 3, if_none_match: "*".into(), ..at(&project, "new") }).expect("sent");
    let (mut client, request) = (bob.client.clone(), bob.request(stream));
    let uploading = chassis::task::spawn(async move { answer(client.upload_file(request).await) });
    chassis::testing::eventually(std::time::Duration::from_secs(60), || async {
        (cluster.count("SELECT count(*) FROM pending_writes").await == 1).then_some(())
    })
    .await;
    ann.save(&project, vec![write("new", "by Ann")]).await.expect("saved");
    parts.unbounded_send(UploadFileRequest { data: Bytes::from_static(b"bob"), ..Default::default() }).expect("sent");
    drop(parts);
    assert_eq!(reason(uploading.await.expect("ended")), "ETAG_MISMATCH");
}

#[tokio::test]
async fn a_repeat_of_an_upload_is_found_before_the_limits() {
    let policies = "policies: [{name: save, limit: 1, window: 1h}, {name: general, limit: 10000, window: 1s}]";
    let cluster = Cluster::start_with(Policies::shipped().with(policies).expect("policies"), &[("BACKLOT_ACCOUNT_BYTES", "1000000")]).await;
    let pro = cluster.person_on(Plan::Pro);
    let project = pro.create().await.id;
    let request = || UploadFileRequest { request_id: "r1".into(), if_none_match: "*".into(), ..at(&project, "a") };
    let first = upload_in(&pro, request(), &pattern(600_000), 50_000).await.expect("uploaded");
    // The policy is used up, the account has no room for it again, the file exists, and a lock came.
    let lock = SetLockRequest { project_id: project.clone(), path: "a".into(), scope: LockScope::Everybody.into() };
    answer(pro.client.clone().set_lock(pro.request(lock)).await).expect("locked");
    let again = upload_in(&pro, request(), &pattern(600_000), 7_000).await.expect("repeated");
    assert!(again.replayed && !first.replayed);
    assert_eq!((again.revision, again.file), (first.revision, first.file));
    assert_eq!(reason(upload_in(&pro, request(), &pattern(600_001), 50_000).await), "KEY_REUSED");
    let other = UploadFileRequest { request_id: "r2".into(), ..at(&project, "b") };
    assert_eq!(reason(upload_in(&pro, other, &pattern(10), 10).await), "RATE_LIMITED");
    assert_eq!(cluster.count("SELECT count(*) FROM chunks").await, 3);
}
