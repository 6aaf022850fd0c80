//! Turns that replace an earlier turn: an edited prompt, or a new answer.

use futures::future::join;
use proto::{
    error::{ErrorCode, Fault},
    id::MessageId,
    project_storage::{BeginTurnRequest, CommitOutcome, ListMessagesRequest, ListTurnMessagesRequest, Message, MessageOrder, TurnEnd},
};

use crate::harness::{Cluster, Person, Turn, answer, commit, conversation, reason, with_token, without_user, write};

/// The texts of the visible messages.
async fn texts(person: &Person, project: &str) -> Vec<String> {
    conversation(person, project).await.into_iter().map(|message| message.text).collect()
}

/// The texts of the messages before a turn.
async fn before(turn: &Turn) -> Vec<String> {
    let message = ListTurnMessagesRequest { turn_id: turn.id.clone(), limit: 200, ..Default::default() };
    let answer = answer(turn.agent.clone().list_turn_messages(without_user(message)).await).expect("messages");
    answer.messages.into_iter().map(|message| message.text).collect()
}

/// The texts of messages before a turn, by their ids.
async fn by_ids(turn: &Turn, ids: &[&str]) -> Result<Vec<String>, Box<Fault>> {
    let message_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let message = ListTurnMessagesRequest { turn_id: turn.id.clone(), message_ids, ..Default::default() };
    let answer = answer(turn.agent.clone().list_turn_messages(without_user(message)).await)?;
    Ok(answer.messages.into_iter().map(|message| message.text).collect())
}

/// Begins turns one after the other, and commits each with one file.
async fn commit_turns<const N: usize>(cluster: &Cluster, person: &Person, project: &str) -> [Turn; N] {
    let turns = std::array::from_fn(|_| Turn::new(cluster));
    for (n, turn) in turns.iter().enumerate() {
        turn.begin(person, project, &format!("prompt {n}")).await.expect("begun");
        let base = person.load(project).await.expect("a project").project.expect("a project").head_revision;
        commit(&turn.agent, turn.result(&base, vec![write(&format!("f{n}"), "1")])).await.expect("committed");
    }
    turns
}

#[tokio::test]
async fn the_messages_since_a_turn_are_hidden_and_files_stay() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let [_, second, _] = commit_turns(&cluster, &ann, &project).await;
    assert_eq!(texts(&ann, &project).await, ["prompt 0", "done", "prompt 1", "done", "prompt 2", "done"]);
    let edited = Turn::new(&cluster);
    edited.replace(&ann, &project, &second, "prompt 1 again").await.expect("begun");
    assert_eq!(texts(&ann, &project).await, ["prompt 0", "done", "prompt 1 again"]);
    assert_eq!(before(&edited).await, ["prompt 0", "done"], "the model does not see them either");
    assert_eq!(ann.files(&project).await, ["f0=1", "f1=1", "f2=1"]);
    let page =
        ListMessagesRequest { project_id: project.clone(), page_size: 2, order: MessageOrder::NewestFirst.into(), ..Default::default() };
    let page = answer(ann.client.clone().list_messages(ann.request(page)).await).expect("a page");
    assert_eq!(page.messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["prompt 1 again", "done"]);
    assert!(!page.next_page_token.is_empty());

    // A repeat begins no second turn, and hides nothing more.
    edited.replace(&ann, &project, &second, "prompt 1 again").await.expect("repeated");
    assert_eq!(reason(edited.begin(&ann, &project, "prompt 1 again").await), "KEY_REUSED");
    let base = ann.load(&project).await.expect("a project").project.expect("a project").head_revision;
    commit(&edited.agent, edited.result(&base, vec![write("f3", "1")])).await.expect("committed");
    edited.replace(&ann, &project, &second, "prompt 1 again").await.expect("repeated");
    assert_eq!(texts(&ann, &project).await, ["prompt 0", "done", "prompt 1 again", "done"]);
    // A turn that replaces another one can be replaced as well.
    let third = Turn::new(&cluster);
    third.replace(&ann, &project, &edited, "prompt 1 at last").await.expect("begun");
    assert_eq!(texts(&ann, &project).await, ["prompt 0", "done", "prompt 1 at last"]);
    assert_eq!(cluster.count("SELECT count(*) FROM messages").await, 9, "hidden, not deleted");
}

/// A turn whose worker was lost ends late, possibly after later turns have begun.
#[tokio::test]
async fn a_late_answer_belongs_to_its_question() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let (early, later, edited) = (Turn::new(&cluster), Turn::new(&cluster), Turn::new(&cluster));
    early.begin(&ann, &project, "early").await.expect("begun");
    later.begin(&ann, &project, "later").await.expect("begun");
    early.end(TurnEnd::Failed, "half").await.expect("ended");
    edited.replace(&ann, &project, &later, "later again").await.expect("begun");
    assert_eq!(texts(&ann, &project).await, ["early", "half", "later again"]);
}

#[tokio::test]
async fn a_withdrawn_turn_leaves_no_message() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let [first] = commit_turns(&cluster, &ann, &project).await;
    let withdrawn = Turn::new(&cluster);
    withdrawn.replace(&ann, &project, &first, "again").await.expect("begun");
    assert_eq!(withdrawn.end(TurnEnd::Withdrawn, "words").await.expect_err("an error").violations[0].field, "partial_answer");
    for _ in 0..2 {
        withdrawn.end(TurnEnd::Withdrawn, "").await.expect("ended");
        assert_eq!(texts(&ann, &project).await, ["prompt 0", "done"]);
    }
    assert_eq!(reason(withdrawn.replace(&ann, &project, &first, "again").await), "TURN_ENDED");
    let fault = Turn::new(&cluster).replace(&ann, &project, &withdrawn, "again").await.expect_err("an error");
    assert_eq!((fault.reason.as_str(), &fault.metadata["replaced_by"]), ("TURN_REPLACED", &withdrawn.id));

    // The messages that it had hidden stay hidden if a third turn has replaced them since.
    let (late, third) = (Turn::new(&cluster), Turn::new(&cluster));
    late.replace(&ann, &project, &first, "late").await.expect("begun");
    third.replace(&ann, &project, &late, "third").await.expect("begun");
    late.end(TurnEnd::Withdrawn, "").await.expect("ended");
    assert_eq!(texts(&ann, &project).await, ["third"]);

    let never = Turn::new(&cluster);
    never.end(TurnEnd::Withdrawn, "").await.expect("recorded as ended");
    assert_eq!(reason(never.begin(&ann, &project, "late").await), "TURN_ENDED");
}

#[tokio::test]
async fn a_turn_can_read_messages_that_were_replaced_since() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (project, other) = (ann.create().await.id, ann.create().await.id);
    let [first, _] = commit_turns(&cluster, &ann, &project).await;
    let [_] = commit_turns(&cluster, &ann, &other).await;
    let ids = |messages: Vec<Message>| messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
    let (read, foreign) = (ids(conversation(&ann, &project).await), ids(conversation(&ann, &other).await));
    let read: Vec<_> = read.iter().map(String::as_str).collect();
    let [question, reply, later, last] = read[..] else { panic!("{read:?}") };
    let (turn, edited) = (Turn::new(&cluster), Turn::new(&cluster));
    turn.begin(&ann, &project, "mine").await.expect("begun");
    edited.replace(&ann, &project, &first, "again").await.expect("begun");
    assert_eq!(before(&turn).await, Vec::<String>::new(), "the visible messages");
    let own = ids(conversation(&ann, &project).await);
    let unknown = MessageId::generate().to_string();
    for (what, wanted, found) in [
        ("all of them", vec![question, reply, later, last], vec!["prompt 0", "done", "prompt 1", "done"]),
        ("in the order of the conversation", vec![later, question], vec!["prompt 0", "prompt 1"]),
        ("each once", vec![reply, reply], vec!["done"]),
        ("of another project", vec![foreign[0].as_str(), question, foreign[1].as_str()], vec!["prompt 0"]),
        ("later than the turn's own", vec![own[0].as_str(), question], vec!["prompt 0"]),
        ("unknown", vec![unknown.as_str()], vec![]),
        ("as many as there may be", vec![question; 1_000], vec!["prompt 0"]),
    ] {
        assert_eq!(by_ids(&turn, &wanted).await.expect(what), found, "{what}");
    }
    let many = vec![question; 1_001];
    for (wanted, field, limit) in [
        (vec![question, "nonsense"], "message_ids[1]", "must be a UUID in its lower-case form"),
        (many, "message_ids", "must be at most 1000 ids"),
    ] {
        let fault = by_ids(&turn, &wanted).await.expect_err("an error");
        assert_eq!((fault.reason.as_str(), fault.violations.len()), ("INVALID_FIELD", 1));
        assert_eq!((fault.violations[0].field.as_str(), fault.violations[0].description.as_str()), (field, limit));
    }
    // The role is checked on each call.
    sqlx::query("DELETE FROM members WHERE user_id = $1").bind(ann.id.0).execute(&cluster.database.pool).await.expect("removed");
    assert_eq!(reason(by_ids(&turn, &[question]).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn only_a_turn_of_the_project_can_be_replaced() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (project, other) = (ann.create().await.id, ann.create().await.id);
    let [elsewhere] = commit_turns(&cluster, &ann, &other).await;
    let [mine] = commit_turns(&cluster, &ann, &project).await;
    let not_begun = Turn::new(&cluster);
    not_begun.end(TurnEnd::Failed, "").await.expect("recorded as ended");
    let fresh = Turn::new(&cluster);
    for replaced in [&elsewhere, &Turn::new(&cluster), &not_begun, &fresh] {
        let fault = fresh.replace(&ann, &project, replaced, "again").await.expect_err("an error");
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
        let fault = answer(fresh.agent.clone().begin_turn(with_token(request("new", replaced), &ann.token)).await).expect_err("an error");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "replaces_turn_id"));
    }
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 2, "no draft became a project");
    assert_eq!(texts(&ann, &project).await, ["prompt 0", "done"], "nothing was hidden");
    fresh.begin(&ann, &project, "again").await.expect("the id is still free");
}

/// The second of two concurrent replacements fails, because it would hide a message that its user has not seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_replaced_once() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let [first, second, third] = commit_turns(&cluster, &ann, &project).await;
    let (one, other) = (Turn::new(&cluster), Turn::new(&cluster));
    let answers = join(one.replace(&ann, &project, &second, "one"), other.replace(&ann, &project, &second, "other")).await;
    let (won, lost, fault) = match answers {
        (Ok(_), Err(fault)) => (&one, &other, fault),
        (Err(fault), Ok(_)) => (&other, &one, fault),
        both => panic!("{both:?}"),
    };
    assert_eq!((fault.code, fault.reason.as_str(), &fault.metadata["replaced_by"]), (ErrorCode::Conflict, "TURN_REPLACED", &won.id));
    let text = if won.id == one.id { "one" } else { "other" };
    assert_eq!(texts(&ann, &project).await, ["prompt 0", "done", text], "nothing more was hidden");
    // A turn that was hidden with it cannot be replaced either.
    assert_eq!(reason(lost.replace(&ann, &project, &third, "again").await), "TURN_REPLACED");
    lost.replace(&ann, &project, won, "at last").await.expect("the new turn can be replaced");
    Turn::new(&cluster).replace(&ann, &project, &first, "from the start").await.expect("begun");
    assert_eq!(texts(&ann, &project).await, ["from the start"]);
}

#[tokio::test]
async fn the_answer_of_a_replaced_turn_is_hidden() {
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
    assert_eq!(texts(&ann, &project).await, ["one again"]);
    assert_eq!(ann.files(&project).await, ["a=1"]);
}

/// A turn ends while it is replaced: its answer is hidden in both orders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_during_a_replacement_is_hidden() {
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
        assert_eq!(texts(&ann, &project).await, ["new"], "round {round}");
    }
}

/// A turn ends while the turn that hides it is withdrawn: its answer is visible in both orders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_during_a_withdrawal_is_visible() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for round in 0..40 {
        let project = ann.create().await.id;
        let (old, withdrawn) = (Turn::new(&cluster), Turn::new(&cluster));
        old.begin(&ann, &project, "old").await.expect("begun");
        withdrawn.replace(&ann, &project, &old, "withdrawn").await.expect("begun");
        let end = commit(&old.agent, old.result("", vec![write("a", "1")]));
        let (ended, withdrawal) = join(end, withdrawn.end(TurnEnd::Withdrawn, "")).await;
        ended.expect("ended");
        withdrawal.expect("withdrawn");
        assert_eq!(texts(&ann, &project).await, ["old", "done"], "round {round}");
    }
}
