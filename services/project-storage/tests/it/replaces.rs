//! A turn in place of an earlier one: an edited prompt, an answer made again.

use futures::future::join;
use proto::{
    error::{ErrorCode, Fault},
    id::MessageId,
    project_storage::{BeginTurnRequest, CommitOutcome, ListMessagesRequest, ListTurnMessagesRequest, Message, MessageOrder, TurnEnd},
};

use crate::harness::{Cluster, Person, Turn, answer, bearing, commit, conversation, plain, reason, write};

async fn said(person: &Person, project: &str) -> Vec<String> {
    conversation(person, project).await.into_iter().map(|message| message.text).collect()
}

async fn before(turn: &Turn) -> Vec<String> {
    let message = ListTurnMessagesRequest { turn_id: turn.id.clone(), limit: 200, ..Default::default() };
    let answer = answer(turn.agent.clone().list_turn_messages(plain(message)).await).expect("messages");
    answer.messages.into_iter().map(|message| message.text).collect()
}

/// The same messages again, by their ids.
async fn these(turn: &Turn, ids: &[&str]) -> Result<Vec<String>, Box<Fault>> {
    let message_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let message = ListTurnMessagesRequest { turn_id: turn.id.clone(), message_ids, ..Default::default() };
    let answer = answer(turn.agent.clone().list_turn_messages(plain(message)).await)?;
    Ok(answer.messages.into_iter().map(|message| message.text).collect())
}

/// Begins turns one after the other and commits each with one file.
async fn talk<const N: usize>(cluster: &Cluster, person: &Person, project: &str) -> [Turn; N] {
    let turns = std::array::from_fn(|_| Turn::new(cluster));
    for (n, turn) in turns.iter().enumerate() {
        turn.begin(person, project, &format!("prompt {n}")).await.expect("begun");
        let base = person.load(project).await.expect("a project").project.expect("a project").head_revision;
        commit(&turn.agent, turn.result(&base, vec![write(&format!("f{n}"), "1")])).await.expect("committed");
    }
    turns
}

#[tokio::test]
async fn messages_from_a_turn_on_give_way_and_files_stay() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let [_, second, _] = talk(&cluster, &ann, &project).await;
    assert_eq!(said(&ann, &project).await, ["prompt 0", "done", "prompt 1", "done", "prompt 2", "done"]);
    let edited = Turn::new(&cluster);
    edited.replace(&ann, &project, &second, "prompt 1 again").await.expect("begun");
    assert_eq!(said(&ann, &project).await, ["prompt 0", "done", "prompt 1 again"]);
    assert_eq!(before(&edited).await, ["prompt 0", "done"], "nor does the model see them");
    assert_eq!(ann.files(&project).await, ["f0=1", "f1=1", "f2=1"]);
    let page =
        ListMessagesRequest { project_id: project.clone(), page_size: 2, order: MessageOrder::NewestFirst.into(), ..Default::default() };
    let page = answer(ann.client.clone().list_messages(ann.request(page)).await).expect("a page");
    assert_eq!(page.messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["prompt 1 again", "done"]);
    assert!(!page.next_page_token.is_empty());

    // The same beginning again is no second one, and hides nothing more.
    edited.replace(&ann, &project, &second, "prompt 1 again").await.expect("the same call");
    assert_eq!(reason(edited.begin(&ann, &project, "prompt 1 again").await), "KEY_REUSED");
    let base = ann.load(&project).await.expect("a project").project.expect("a project").head_revision;
    commit(&edited.agent, edited.result(&base, vec![write("f3", "1")])).await.expect("committed");
    edited.replace(&ann, &project, &second, "prompt 1 again").await.expect("the same call");
    assert_eq!(said(&ann, &project).await, ["prompt 0", "done", "prompt 1 again", "done"]);
    // A replacement can be replaced.
    let third = Turn::new(&cluster);
    third.replace(&ann, &project, &edited, "prompt 1 at last").await.expect("begun");
    assert_eq!(said(&ann, &project).await, ["prompt 0", "done", "prompt 1 at last"]);
    assert_eq!(cluster.count("SELECT count(*) FROM messages").await, 9, "hidden, not removed");
}

/// The end of a turn is told when its worker is lost, which may be after others have begun.
#[tokio::test]
async fn an_answer_belongs_to_its_question_however_late_it_is() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let (early, later, edited) = (Turn::new(&cluster), Turn::new(&cluster), Turn::new(&cluster));
    early.begin(&ann, &project, "early").await.expect("begun");
    later.begin(&ann, &project, "later").await.expect("begun");
    early.end(TurnEnd::Failed, "half").await.expect("ended");
    edited.replace(&ann, &project, &later, "later again").await.expect("begun");
    assert_eq!(said(&ann, &project).await, ["early", "half", "later again"]);
}

#[tokio::test]
async fn a_turn_that_is_withdrawn_was_never_there() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let [first] = talk(&cluster, &ann, &project).await;
    let withdrawn = Turn::new(&cluster);
    withdrawn.replace(&ann, &project, &first, "again").await.expect("begun");
    assert_eq!(withdrawn.end(TurnEnd::Withdrawn, "words").await.expect_err("refused").violations[0].field, "partial_answer");
    for _ in 0..2 {
        withdrawn.end(TurnEnd::Withdrawn, "").await.expect("ended");
        assert_eq!(said(&ann, &project).await, ["prompt 0", "done"]);
    }
    assert_eq!(reason(withdrawn.replace(&ann, &project, &first, "again").await), "TURN_ENDED");
    let fault = Turn::new(&cluster).replace(&ann, &project, &withdrawn, "again").await.expect_err("it is not in the conversation");
    assert_eq!((fault.reason.as_str(), &fault.metadata["replaced_by"]), ("TURN_REPLACED", &withdrawn.id));

    // What it had hidden stays hidden where a third turn has replaced all of it since.
    let (late, third) = (Turn::new(&cluster), Turn::new(&cluster));
    late.replace(&ann, &project, &first, "late").await.expect("begun");
    third.replace(&ann, &project, &late, "third").await.expect("begun");
    late.end(TurnEnd::Withdrawn, "").await.expect("ended");
    assert_eq!(said(&ann, &project).await, ["third"]);

    let never = Turn::new(&cluster);
    never.end(TurnEnd::Withdrawn, "").await.expect("written down");
    assert_eq!(reason(never.begin(&ann, &project, "late").await), "TURN_ENDED");
}

#[tokio::test]
async fn a_turn_reads_again_what_it_has_read_whatever_was_replaced_since() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (project, other) = (ann.create().await.id, ann.create().await.id);
    let [first, _] = talk(&cluster, &ann, &project).await;
    let [_] = talk(&cluster, &ann, &other).await;
    let ids = |messages: Vec<Message>| messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
    let (read, foreign) = (ids(conversation(&ann, &project).await), ids(conversation(&ann, &other).await));
    let read: Vec<_> = read.iter().map(String::as_str).collect();
    let [question, reply, later, last] = read[..] else { panic!("{read:?}") };
    let (turn, edited) = (Turn::new(&cluster), Turn::new(&cluster));
    turn.begin(&ann, &project, "mine").await.expect("begun");
    edited.replace(&ann, &project, &first, "again").await.expect("begun");
    assert_eq!(before(&turn).await, Vec::<String>::new(), "what is to be seen now");
    let own = ids(conversation(&ann, &project).await);
    let unknown = MessageId::generate().to_string();
    for (what, wanted, found) in [
        ("all of them", vec![question, reply, later, last], vec!["prompt 0", "done", "prompt 1", "done"]),
        ("in the order of the conversation", vec![later, question], vec!["prompt 0", "prompt 1"]),
        ("each once", vec![reply, reply], vec!["done"]),
        ("of another project", vec![foreign[0].as_str(), question, foreign[1].as_str()], vec!["prompt 0"]),
        ("later than the turn's own", vec![own[0].as_str(), question], vec!["prompt 0"]),
        ("nobody's", vec![unknown.as_str()], vec![]),
        ("as many as there may be", vec![question; 200], vec!["prompt 0"]),
    ] {
        assert_eq!(these(&turn, &wanted).await.expect(what), found, "{what}");
    }
    let many = vec![question; 201];
    for (wanted, field, limit) in [
        (vec![question, "nonsense"], "message_ids[1]", "must be a UUID in its lower-case form"),
        (many, "message_ids", "must be at most 200 ids"),
    ] {
        let fault = these(&turn, &wanted).await.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations.len()), ("INVALID_FIELD", 1));
        assert_eq!((fault.violations[0].field.as_str(), fault.violations[0].description.as_str()), (field, limit));
    }
    // The right to read is asked for each time.
    sqlx::query("DELETE FROM members WHERE user_id = $1").bind(ann.id.0).execute(&cluster.database.pool).await.expect("gone");
    assert_eq!(reason(these(&turn, &[question]).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn only_a_turn_of_the_project_can_be_replaced() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (project, other) = (ann.create().await.id, ann.create().await.id);
    let [elsewhere] = talk(&cluster, &ann, &other).await;
    let [mine] = talk(&cluster, &ann, &project).await;
    let unbegun = Turn::new(&cluster);
    unbegun.end(TurnEnd::Failed, "").await.expect("written down");
    let fresh = Turn::new(&cluster);
    for replaced in [&elsewhere, &Turn::new(&cluster), &unbegun, &fresh] {
        let fault = fresh.replace(&ann, &project, replaced, "again").await.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "replaces_turn_id"));
    }
    let request = |draft: &str, replaced: &str| BeginTurnRequest {
        turn_id: fresh.id.clone(),
        draft_id: draft.into(),
        prompt: "again".into(),
        replaces_turn_id: replaced.into(),
        ..Default::default()
    };
    for replaced in [mine.id.as_str(), "nonsense"] {
        let fault = answer(fresh.agent.clone().begin_turn(bearing(request("new", replaced), &ann.token)).await).expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "replaces_turn_id"));
    }
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 2, "no draft became a project");
    assert_eq!(said(&ann, &project).await, ["prompt 0", "done"], "nothing was hidden");
    fresh.begin(&ann, &project, "again").await.expect("the id is still free");
}

/// Whoever comes second has not seen what the first one put there, so it is not hidden unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_replaced_once() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let [first, second, third] = talk(&cluster, &ann, &project).await;
    let (one, other) = (Turn::new(&cluster), Turn::new(&cluster));
    let answers = join(one.replace(&ann, &project, &second, "one"), other.replace(&ann, &project, &second, "other")).await;
    let (won, lost, fault) = match answers {
        (Ok(_), Err(fault)) => (&one, &other, fault),
        (Err(fault), Ok(_)) => (&other, &one, fault),
        both => panic!("{both:?}"),
    };
    assert_eq!((fault.code, fault.reason.as_str(), &fault.metadata["replaced_by"]), (ErrorCode::Conflict, "TURN_REPLACED", &won.id));
    let text = if won.id == one.id { "one" } else { "other" };
    assert_eq!(said(&ann, &project).await, ["prompt 0", "done", text], "nothing more was hidden");
    // What was hidden along with it is no longer in the conversation either.
    assert_eq!(reason(lost.replace(&ann, &project, &third, "again").await), "TURN_REPLACED");
    lost.replace(&ann, &project, won, "at last").await.expect("who has looked again may");
    Turn::new(&cluster).replace(&ann, &project, &first, "from the start").await.expect("begun");
    assert_eq!(said(&ann, &project).await, ["from the start"]);
}

#[tokio::test]
async fn a_replaced_turn_answers_nobody() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let (first, later, cut) = (Turn::new(&cluster), Turn::new(&cluster), Turn::new(&cluster));
    for (turn, prompt) in [(&first, "one"), (&later, "two"), (&cut, "three")] {
        turn.begin(&ann, &project, prompt).await.expect("begun");
    }
    let edited = Turn::new(&cluster);
    edited.replace(&ann, &project, &first, "one again").await.expect("begun");
    let committed = commit(&first.agent, first.result("", vec![write("a", "1")])).await.expect("files stay");
    assert_eq!(committed.outcome(), CommitOutcome::Committed);
    commit(&later.agent, later.result("", vec![])).await.expect("unchanged");
    cut.end(TurnEnd::Cancelled, "half").await.expect("ended");
    assert_eq!(said(&ann, &project).await, ["one again"]);
    assert_eq!(ann.files(&project).await, ["a=1"]);
}

/// The end of a turn and its replacement at the same moment: whoever is first, the answer is not seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_and_a_replacement_at_once() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for round in 0..20 {
        let project = ann.create().await.id;
        let (old, new) = (Turn::new(&cluster), Turn::new(&cluster));
        old.begin(&ann, &project, "old").await.expect("begun");
        let end = async {
            if round % 2 == 0 {
                commit(&old.agent, old.result("", vec![write("a", "1")])).await.map(drop)
            } else {
                old.end(TurnEnd::Failed, "half").await
            }
        };
        let (ended, replaced) = join(end, new.replace(&ann, &project, &old, "new")).await;
        ended.expect("ended");
        replaced.expect("begun");
        assert_eq!(said(&ann, &project).await, ["new"], "round {round}");
    }
}

/// The end of a turn and the withdrawal of the one that had hidden its question: whoever is first, the answer is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_and_a_withdrawal_at_once() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for round in 0..40 {
        let project = ann.create().await.id;
        let (old, refused) = (Turn::new(&cluster), Turn::new(&cluster));
        old.begin(&ann, &project, "old").await.expect("begun");
        refused.replace(&ann, &project, &old, "refused").await.expect("begun");
        let end = commit(&old.agent, old.result("", vec![write("a", "1")]));
        let (ended, withdrawn) = join(end, refused.end(TurnEnd::Withdrawn, "")).await;
        ended.expect("ended");
        withdrawn.expect("withdrawn");
        assert_eq!(said(&ann, &project).await, ["old", "done"], "round {round}");
    }
}
