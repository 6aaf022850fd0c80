//! WatchProject: every revision after a cursor, once and in order, at every replica, until the watcher loses access.

use std::{collections::VecDeque, time::Duration};

use chassis::{identity::Caller, testing};
use futures::future::join_all;
use proto::{
    error::{ErrorCode, Fault},
    id::SessionId,
    project_storage::{
        DeleteProjectRequest, ForkProjectRequest, ProjectEvent, RestoreRevisionRequest, WatchProjectRequest, WatchProjectResponse,
        project_event::Kind,
    },
};
use tokio::time::timeout;
use tonic::Streaming;

use crate::harness::{Client, Cluster, Person, Turn, answer, commit, reason, write};

/// How long an event may take, even if its wake-up is lost.
const LIMIT: Duration = Duration::from_secs(120);

/// A stream of events.
struct Watch {
    stream: Streaming<WatchProjectResponse>,
    read: VecDeque<ProjectEvent>,
}

impl Watch {
    async fn open(person: &Person, client: &Client, project: &str, after: Option<u32>) -> Result<Self, Box<Fault>> {
        let request = person.stream_request(WatchProjectRequest { project_id: project.into(), after });
        Ok(Self { stream: answer(client.clone().watch_project(request).await)?, read: VecDeque::new() })
    }

    async fn next(&mut self) -> Result<ProjectEvent, Box<Fault>> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(event);
            }
            let message = timeout(LIMIT, self.stream.message()).await.expect("an event or an end");
            match message {
                Ok(message) => self.read.extend(message.expect("the stream has no end of its own").events),
                Err(status) => return Err(Box::new(Fault::from_status(&status))),
            }
        }
    }

    /// The numbers of committed revisions up to this one. Each event must be complete.
    async fn numbers_to(&mut self, last: u32) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&last) {
            let event = self.next().await.expect("an event");
            let Some(Kind::RevisionCommitted(committed)) = event.kind else { panic!("{event:?}") };
            let revision = committed.revision.expect("a revision");
            assert_eq!((revision.number, revision.id.len()), (event.seq, 40));
            numbers.push(event.seq);
        }
        numbers
    }

    /// The head that the stream begins with, and the cursor.
    async fn reset(&mut self) -> (u32, Option<String>) {
        let event = self.next().await.expect("an event");
        let Some(Kind::HeadReset(reset)) = event.kind else { panic!("{event:?}") };
        (event.seq, reset.revision.map(|head| head.id))
    }

    /// The reason of the end, with no event before it.
    async fn end(&mut self) -> String {
        reason(self.next().await)
    }
}

async fn save(person: &Person, project: &str, text: &str) -> String {
    let saved = person.save(project, vec![write("a", text)]).await.expect("saved");
    saved.revision.expect("a revision").id
}

/// Saves with one replica or the other.
async fn save_at(person: &Person, client: &Client, project: &str, text: &str) {
    Person { client: client.clone(), ..person.clone() }.save(project, vec![write("a", text)]).await.expect("saved");
}

async fn delete(person: &Person, project: &str) {
    let request = DeleteProjectRequest { project_id: project.into(), ..Default::default() };
    answer(person.client.clone().delete_project(person.request(request)).await).expect("deleted");
}

#[tokio::test]
async fn every_cursor_gets_the_later_revisions_at_every_replica() {
    let cluster = Cluster::start().await;
    let (uri, _other) = cluster.replica().await;
    let ann = cluster.person();
    let clients = [ann.client.clone(), cluster.client_at(Caller::Gateway, &uri)];
    let project = ann.create().await.id;
    let mut empty = Watch::open(&ann, &clients[1], &project, None).await.expect("a stream");
    assert_eq!(empty.reset().await, (0, None));
    let mut head = String::new();
    for n in 1..=5 {
        head = save(&ann, &project, &n.to_string()).await;
    }
    let mut watches = Vec::new();
    for (at, client) in clients.iter().enumerate() {
        for after in 0..=5 {
            watches.push((after, Watch::open(&ann, client, &project, Some(after)).await.expect("a stream")));
        }
        let mut watch = Watch::open(&ann, client, &project, None).await.expect("a stream");
        assert_eq!(watch.reset().await, (5, Some(head.clone())), "{at}");
        watches.push((5, watch));
        let ahead = Watch::open(&ann, client, &project, Some(6)).await.err().expect("refused");
        assert_eq!(
            (ahead.code, ahead.reason.as_str(), ahead.metadata["last_seq"].as_str()),
            (ErrorCode::InvalidArgument, "CURSOR_AHEAD", "5")
        );
    }
    for n in 6..=20 {
        save_at(&ann, &clients[n % 2], &project, &n.to_string()).await;
    }
    for (after, watch) in &mut watches {
        assert_eq!(watch.numbers_to(20).await, (*after + 1..=20).collect::<Vec<_>>());
    }
    assert_eq!(empty.numbers_to(20).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_arrive_with_redis_without_it_and_while_it_is_away() {
    let mut redis = testing::redis().await;
    let url: &'static str = Box::leak(redis.url.clone().into_boxed_str());
    let cluster = Cluster::with_settings(Box::leak(Box::new([("REDIS_URL", url)]))).await;
    let (uri, _other) = cluster.replica().await;
    let (ann, far) = (cluster.person(), cluster.client_at(Caller::Gateway, &uri));
    let project = ann.create().await.id;
    let mut watch = Watch::open(&ann, &far, &project, Some(0)).await.expect("a stream");
    save(&ann, &project, "1").await;
    assert_eq!(watch.numbers_to(1).await, [1]);
    // The listener loses its server. The poll finds what the wake-ups would have told.
    redis.kill().await;
    for n in 2..=4 {
        save(&ann, &project, &n.to_string()).await;
    }
    assert_eq!(watch.numbers_to(4).await, [2, 3, 4]);
    redis.restart().await;
    save(&ann, &project, "5").await;
    assert_eq!(watch.numbers_to(5).await, [5]);
    delete(&ann, &project).await;
    assert_eq!(watch.end().await, "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn every_way_to_make_a_revision_is_an_event() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let mut watch = Watch::open(&ann, &ann.client, &project, Some(0)).await.expect("a stream");
    let first = save(&ann, &project, "1").await;
    save(&ann, &project, "2").await;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "a clock").await.expect("begun");
    commit(&cluster.agent(), turn.result(&first, vec![write("b", "1")])).await.expect("committed");
    let restore = RestoreRevisionRequest { project_id: project.clone(), revision: first.clone(), ..Default::default() };
    answer(ann.client.clone().restore_revision(ann.request(restore)).await).expect("restored");
    assert_eq!(watch.numbers_to(4).await, [1, 2, 3, 4]);

    // A fork has the revisions of its parent before its own.
    let fork = ForkProjectRequest { project_id: project.clone(), revision: first, ..Default::default() };
    let fork = answer(ann.client.clone().fork_project(ann.request(fork)).await).expect("a fork").project.expect("a project").id;
    let mut of_fork = Watch::open(&ann, &ann.client, &fork, Some(0)).await.expect("a stream");
    save(&ann, &fork, "3").await;
    save(&ann, &project, "4").await;
    assert_eq!(of_fork.numbers_to(2).await, [1, 2]);
    assert_eq!(watch.numbers_to(5).await, [5]);
}

#[tokio::test]
async fn a_stream_ends_with_the_access_of_its_watcher() {
    let cluster = Cluster::start().await;
    let (uri, _other) = cluster.replica().await;
    let far = cluster.client_at(Caller::Gateway, &uri);
    let (ann, bob, stranger) = (cluster.person(), cluster.person(), cluster.person());
    let project = ann.create().await.id;
    save(&ann, &project, "1").await;
    for id in [project.as_str(), "01890000-0000-7000-8000-000000000000"] {
        assert_eq!(Watch::open(&stranger, &far, id, None).await.err().expect("refused").reason, "PROJECT_NOT_FOUND");
    }
    assert_eq!(Watch::open(&ann, &far, "x", None).await.err().expect("refused").reason, "INVALID_FIELD");
    cluster.join(&bob, 1).await;

    // Bob has two sessions. What happens after the end of one, or after Bob was removed, is not sent.
    let (one, other) = (SessionId::generate(), SessionId::generate());
    let mut ended = Watch::open(&cluster.in_session(&bob, one), &far, &project, Some(1)).await.expect("a stream");
    let mut open = Watch::open(&cluster.in_session(&bob, other), &far, &project, Some(1)).await.expect("a stream");
    cluster.end_session(one);
    assert_eq!(ended.end().await, "SESSION_ENDED");
    save(&ann, &project, "2").await;
    assert_eq!(open.numbers_to(2).await, [2]);
    let removed = sqlx::query("DELETE FROM members WHERE user_id = $1").bind(bob.id.0).execute(&cluster.database.pool).await;
    assert_eq!(removed.expect("removed").rows_affected(), 1);
    save(&ann, &project, "3").await;
    assert_eq!(open.end().await, "PROJECT_NOT_FOUND");

    // The owner's stream ends with the project, also at the replica that did not delete it.
    let mut streams = Vec::new();
    for client in [&ann.client, &far] {
        streams.push(Watch::open(&ann, client, &project, Some(3)).await.expect("a stream"));
    }
    delete(&ann, &project).await;
    for stream in &mut streams {
        assert_eq!(stream.end().await, "PROJECT_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_cursor_that_is_too_old_continues_from_the_head() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    save(&ann, &project, "1").await;
    cluster.repeat_head(&project, 1001).await;
    let mut old = Watch::open(&ann, &ann.client, &project, Some(1)).await.expect("a stream");
    assert_eq!(old.reset().await.0, 1002);
    let mut whole = Watch::open(&ann, &ann.client, &project, Some(2)).await.expect("a stream");
    assert_eq!(whole.numbers_to(1002).await, (3..=1002).collect::<Vec<_>>());
    save(&ann, &project, "2").await;
    assert_eq!((old.numbers_to(1003).await, whole.numbers_to(1003).await), (vec![1003], vec![1003]));
}

/// A watcher of one project that resumes after it was too slow.
struct Resuming {
    person: Person,
    project: String,
    watch: Watch,
    /// The numbers so far, the first one being the cursor.
    seen: Vec<u32>,
}

impl Resuming {
    /// On a connection of its own, whose window unread events fill.
    async fn open(cluster: &Cluster, person: &Person, project: &str) -> Self {
        let person = Person { client: cluster.client(Caller::Gateway), ..person.clone() };
        let watch = Watch::open(&person, &person.client, project, Some(1)).await.expect("a stream");
        Self { person, project: project.to_owned(), watch, seen: vec![1] }
    }

    async fn read_to(&mut self, last: u32) {
        while self.seen.last() != Some(&last) {
            match self.watch.next().await {
                Ok(event) => self.seen.push(event.seq),
                Err(end) => {
                    assert_eq!((end.code, end.reason.as_str()), (ErrorCode::RateLimited, "SLOW_READER"));
                    let after = self.seen.last().copied();
                    self.watch = Watch::open(&self.person, &self.person.client, &self.project, after).await.expect("a stream");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_misses_nothing_and_delays_nobody() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    save(&ann, &project, "1").await;
    let mut idle = Resuming::open(&cluster, &ann, &project).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(Resuming::open(&cluster, &ann, &project).await);
    }
    // Far more than the queue of a watcher and the buffers of a connection take.
    let (parts, count, last) = (4, 250, 1001);
    for part in 0..parts {
        let sql = "WITH l AS (
                       INSERT INTO ref_log
                       SELECT l.project_id, l.name, l.seq + n, set_byte(set_byte(l.oid, 0, n), 1, $2), l.tree, ARRAY[l.oid], l.actor, l.user_id,
                              NULL, repeat('ä', 1000), 0, 0, 0, 0, l.created_at + n * interval '1 microsecond'
                       FROM refs r JOIN ref_log l USING (project_id, name, seq), generate_series(1, $1) n
                   ) UPDATE refs SET seq = seq + $1";
        sqlx::query(sql).bind(count).bind(part).execute(&cluster.database.pool).await.expect("revisions");
        let up_to = u32::try_from(1 + (part + 1) * count).expect("small");
        join_all(readers.iter_mut().map(|reader| reader.read_to(up_to))).await;
    }
    // Longer than a full queue may stay unread. What the watcher gets then depends on the machine: the end SLOW_READER, or the log at its pace.
    tokio::time::sleep(Duration::from_secs(3)).await;
    idle.read_to(last).await;
    for watcher in readers.iter().chain([&idle]) {
        assert_eq!(watcher.seen, (1..=last).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_drain_and_a_deadline_end_a_stream_with_their_reasons() {
    let cluster = Cluster::start().await;
    let (uri, other) = cluster.replica().await;
    let (ann, far) = (cluster.person(), cluster.client_at(Caller::Gateway, &uri));
    let project = ann.create().await.id;
    save(&ann, &project, "1").await;
    let mut watch = Watch::open(&ann, &far, &project, Some(0)).await.expect("a stream");
    assert_eq!(watch.numbers_to(1).await, [1]);
    drop(other);
    assert_eq!(watch.end().await, "DRAINING");

    // On a slow machine, a short deadline may end the call before it has a stream.
    let mut deadline = Duration::from_secs(2);
    let stream = loop {
        let mut request = ann.stream_request(WatchProjectRequest { project_id: project.clone(), after: Some(1) });
        request.set_timeout(deadline);
        match answer(ann.client.clone().watch_project(request).await) {
            Err(fault) if fault.reason == "TIMEOUT" && deadline < LIMIT => deadline *= 2,
            opened => break opened.expect("a stream"),
        }
    };
    let mut watch = Watch { stream, read: VecDeque::new() };
    assert_eq!(watch.end().await, "TIMEOUT");
}
