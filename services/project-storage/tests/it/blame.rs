//! Which revision made each line.

use proto::{
    error::Fault,
    project_storage::{Actor, BlameFileRequest, BlameFileResponse, Take},
};

use crate::{
    conflicts::{Conflict, take, with_content},
    harness::{Cluster, Person, Turn, answer, commit, reason, rename, update, write},
    history::{TEN, write_bytes},
};

impl Person {
    pub(crate) async fn blame(&self, request: BlameFileRequest) -> Result<BlameFileResponse, Box<Fault>> {
        answer(self.client.clone().blame_file(self.request(request)).await)
    }
}

/// The ranges on one line each: lines, number of the revision, path and original line.
pub(crate) fn lines(blame: &BlameFileResponse) -> Vec<String> {
    let number = |id: &str| blame.revisions.iter().find(|revision| revision.id == id).expect("a revision").number;
    let line = |range: &proto::project_storage::BlameRange| {
        let end = range.start_line + range.line_count - 1;
        let mark = if range.boundary { " ^" } else { "" };
        format!("{}-{end}: {} {} {}{mark}", range.start_line, number(&range.revision), range.path, range.original_start_line)
    };
    blame.ranges.iter().map(line).collect()
}

#[tokio::test]
async fn each_line_has_its_revision() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    cluster.join(&bob, 1).await;
    ann.saved(&project, vec![write("a.txt", TEN), write("logo.png", "text"), write("empty", "")]).await;
    let base = ann.saved(&project, vec![update("a.txt", &TEN.replace("five 5", "other"))]).await;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "go").await.expect("begun");
    let text = TEN.replace("five 5", "other").replace("two 2\n", "two 2\nnew\n");
    let third = commit(&turn.agent, turn.result(&base, vec![write("a.txt", &text)])).await.expect("committed").revision.expect("one").id;
    ann.saved(&project, vec![rename("a.txt", "src/b.txt"), update("src/b.txt", &text.replace("ten 10\n", "ten 10"))]).await;
    ann.saved(&project, vec![write_bytes("logo.png", &[0, 1])]).await;

    let of = |path: &str| BlameFileRequest { project_id: project.clone(), path: path.into(), ..Default::default() };
    let whole = bob.blame(of("src/b.txt")).await.expect("a blame of a viewer");
    let expected = ["1-2: 1 a.txt 1", "3-3: 3 a.txt 3", "4-5: 1 a.txt 3", "6-6: 2 a.txt 5", "7-10: 1 a.txt 6", "11-11: 4 src/b.txt 11"];
    assert_eq!(lines(&whole), expected);
    assert_eq!((whole.total_lines, whole.etag.len(), whole.next_page_token.as_str()), (11, 42, ""));
    assert_eq!(whole.revisions.iter().map(|revision| revision.number).collect::<Vec<_>>(), [4, 3, 2, 1]);
    let agent = &whole.revisions[1];
    assert_eq!((agent.actor(), &agent.turn_id, &agent.user_id), (Actor::Agent, &turn.id, &ann.id.to_string()));
    assert_eq!(whole.revisions[0].actor(), Actor::User);

    let part = ann.blame(BlameFileRequest { start_line: 3, end_line: 6, ..of("src/b.txt") }).await.expect("a blame");
    assert_eq!(lines(&part), expected[1..4]);
    let end = ann.blame(BlameFileRequest { start_line: 10, end_line: 4_000_000_000, ..of("src/b.txt") }).await.expect("a blame");
    assert_eq!(lines(&end), ["10-10: 1 a.txt 9", "11-11: 4 src/b.txt 11"]);
    let old = ann.blame(BlameFileRequest { revision: third.clone(), ..of("a.txt") }).await.expect("a blame");
    assert_eq!((&old.revision, lines(&old)[4].as_str()), (&third, "7-11: 1 a.txt 6"));
    assert!(ann.blame(of("empty")).await.expect("a blame").ranges.is_empty());

    for (request, expected) in [
        (of("a.txt"), "FILE_NOT_FOUND"),
        (of("src"), "FILE_NOT_FOUND"),
        (of("logo.png"), "FILE_NOT_TEXT"),
        (of("../a"), "INVALID_PATH"),
        (BlameFileRequest { revision: "a".repeat(40), ..of("src/b.txt") }, "REVISION_NOT_FOUND"),
        (BlameFileRequest { start_line: 12, ..of("src/b.txt") }, "INVALID_FIELD"),
        (BlameFileRequest { start_line: 2, ..of("empty") }, "INVALID_FIELD"),
        (BlameFileRequest { start_line: 3, end_line: 2, ..of("src/b.txt") }, "INVALID_FIELD"),
        (BlameFileRequest { page_token: "x".into(), ..of("src/b.txt") }, "PAGE_TOKEN_INVALID"),
    ] {
        assert_eq!(reason(ann.blame(request.clone()).await), expected, "{request:?}");
    }
    assert_eq!(reason(cluster.person().blame(of("src/b.txt")).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn a_large_file_is_refused() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let large = "1\n".repeat(524_289);
    cluster.write_first(&ann, &project, &[("large", large.as_bytes()), ("fits", &large.as_bytes()[2..])]).await;
    let of = |path: &str| BlameFileRequest { project_id: project.clone(), path: path.into(), ..Default::default() };
    let fault = ann.blame(of("large")).await.expect_err("refused");
    assert_eq!((fault.reason.as_str(), fault.metadata["limit"].as_str()), ("FILE_TOO_LARGE", "1048576"));
    assert_eq!(ann.blame(of("fits")).await.expect("a blame").total_lines, 524_288);
}

/// An answer has at most 10,000 lines.
#[tokio::test]
async fn a_long_file_is_blamed_in_pages_of_one_revision() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let text: String = (0..10_100).map(|n| format!("{n:x}\n")).collect();
    ann.saved(&project, vec![write("a", &text)]).await;
    let mut request = BlameFileRequest { project_id: project.clone(), path: "a".into(), start_line: 51, ..Default::default() };
    let first = ann.blame(request.clone()).await.expect("a page");
    assert_eq!(lines(&first), ["51-10050: 1 a 51"]);
    ann.saved(&project, vec![write("a", &format!("first\n{text}"))]).await;
    request.page_token = first.next_page_token.clone();
    let second = ann.blame(request.clone()).await.expect("a page");
    assert_eq!(
        (lines(&second), &second.revision, second.next_page_token.as_str()),
        (vec!["10051-10100: 1 a 10051".into()], &first.revision, "")
    );
    let other = BlameFileRequest { start_line: 1, ..request };
    assert_eq!(reason(ann.blame(other).await), "PAGE_TOKEN_INVALID");
}

/// The lines of a conflicted turn keep their turn when a person resolves the conflict, although its branch is gone.
#[tokio::test]
async fn lines_of_a_conflicted_turn_belong_to_its_commit() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let of = |path: &str, revision: &str| BlameFileRequest {
        project_id: conflict.project.clone(),
        path: path.into(),
        revision: revision.into(),
        ..Default::default()
    };
    let before = conflict.ann.blame(of("m", &conflict.turn_revision)).await.expect("a blame");
    assert_eq!(lines(&before), ["1-2: 1 m 1", "3-3: 0 m 3"]);
    conflict.resolve(conflict.request(vec![with_content("a", "ann\nturn\nboth\n"), take("b", Take::Head)])).await.expect("resolved");
    let merged = conflict.ann.blame(of("a", "")).await.expect("a blame");
    assert_eq!(lines(&merged), ["1-1: 2 a 1", "2-2: 0 a 1", "3-3: 3 a 3"]);
    let turn = merged.revisions.iter().find(|revision| revision.number == 0).expect("the turn's commit");
    assert_eq!((turn.actor(), &turn.turn_id, &turn.id), (Actor::Agent, &conflict.turn.id, &conflict.turn_revision));
    assert_eq!((&turn.user_id, turn.message.as_str()), (&conflict.ann.id.to_string(), "Build a clock"));
    let both = conflict.ann.blame(of("m", "")).await.expect("a blame");
    assert_eq!(lines(&both), ["1-1: 2 m 1", "2-2: 1 m 2", "3-3: 0 m 3"]);
    let new = conflict.ann.blame(of("new", "")).await.expect("a blame");
    assert_eq!(lines(&new), ["1-1: 0 new 1"], "only the turn had it");
}

/// The search ends after 10,000 revisions, and a request with what it answered continues it.
#[tokio::test]
async fn a_search_that_ends_early_says_where() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.saved(&project, vec![write("src/a", "1\n2\n")]).await;
    cluster.repeat_head(&project, 10_500).await;
    ann.saved(&project, vec![write("src/a", "1\n2\n3\n")]).await;
    let request = BlameFileRequest { project_id: project, path: "src/a".into(), ..Default::default() };
    let first = ann.blame(request.clone()).await.expect("a blame");
    let [boundary, last] = &lines(&first)[..] else { panic!("{first:?}") };
    assert!(boundary.starts_with("1-2: ") && boundary.ends_with(" src/a 1 ^"), "{boundary}");
    assert_eq!(last, "3-3: 10502 src/a 3");
    let rest = BlameFileRequest { revision: first.ranges[0].revision.clone(), start_line: 1, end_line: 2, ..request };
    assert_eq!(lines(&ann.blame(rest).await.expect("a blame")), ["1-2: 1 src/a 1"]);
}
