//! Changing the conversation, reactions to answers, and searches in messages.

use proto::{
    error::Fault,
    id::{MessageId, TurnId},
    project_storage::{
        DeleteMessageRequest, DeleteReactionRequest, ListTurnMessagesRequest, Message, ReactionKind, SearchMessagesRequest,
        SearchMessagesResponse, SetReactionRequest, TurnEnd, UpdateMessageRequest,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, commit, conversation, reason, without_user};

impl Person {
    async fn edit_message(&self, project: &str, message: &str, text: &str) -> Result<Message, Box<Fault>> {
        let request = UpdateMessageRequest { project_id: project.into(), message_id: message.into(), text: text.into() };
        answer(self.client.clone().update_message(self.request(request)).await).map(|updated| updated.message.expect("a message"))
    }

    async fn delete_message(&self, project: &str, message: &str) -> Result<(), Box<Fault>> {
        let request = DeleteMessageRequest { project_id: project.into(), message_id: message.into() };
        answer(self.client.clone().delete_message(self.request(request)).await).map(drop)
    }

    async fn react(&self, project: &str, message: &str, kind: ReactionKind, why: &str) -> Result<Message, Box<Fault>> {
        let request = SetReactionRequest { project_id: project.into(), message_id: message.into(), kind: kind.into(), reason: why.into() };
        answer(self.client.clone().set_reaction(self.request(request)).await).map(|set| set.message.expect("a message"))
    }

    async fn take_back(&self, project: &str, message: &str) -> Result<Message, Box<Fault>> {
        let request = DeleteReactionRequest { project_id: project.into(), message_id: message.into() };
        answer(self.client.clone().delete_reaction(self.request(request)).await).map(|deleted| deleted.message.expect("a message"))
    }

    async fn find(&self, request: SearchMessagesRequest) -> Result<SearchMessagesResponse, Box<Fault>> {
        answer(self.client.clone().search_messages(self.request(request)).await)
    }
}

impl Turn {
    /// The texts that the turn reads, the oldest first.
    async fn texts(&self, ids: &[&str]) -> Vec<String> {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = ListTurnMessagesRequest { turn_id: self.id.clone(), limit: 50, message_ids: ids };
        let answered = answer(self.agent.clone().list_turn_messages(without_user(request)).await).expect("messages");
        answered.messages.into_iter().map(|message| message.text).collect()
    }
}

/// Runs a turn that answers without files.
async fn ask(cluster: &Cluster, person: &Person, project: &str, prompt: &str, text: &str) -> Turn {
    let turn = Turn::new(cluster);
    turn.begin(person, project, prompt).await.expect("begun");
    let mut result = turn.result("", vec![]);
    result.answer = text.into();
    commit(&turn.agent, result).await.expect("committed");
    turn
}

async fn member(cluster: &Cluster, person: &Person, role: i16) {
    sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, $2 FROM projects")
        .bind(person.id.0)
        .bind(role)
        .execute(&cluster.database.pool)
        .await
        .expect("a member");
}

#[tokio::test]
async fn an_author_edits_a_message_for_later_turns() {
    let cluster = Cluster::start().await;
    let (ann, ben) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    ask(&cluster, &ann, &project, "a clok", "done").await;
    let [question, answer] = &conversation(&ann, &project).await[..] else { panic!("two messages") };
    let running = Turn::new(&cluster);
    running.begin(&ann, &project, "next").await.expect("begun");
    assert_eq!(running.texts(&[]).await, ["a clok", "done"]);

    let edited = ann.edit_message(&project, &question.id, "a clock").await.expect("edited");
    assert_eq!((edited.text.as_str(), edited.edit_time.is_some()), ("a clock", true));
    ann.edit_message(&project, &question.id, "a clock!").await.expect("edited");
    let ids = [question.id.as_str(), &answer.id];
    assert_eq!(running.texts(&[]).await, ["a clok", "done"], "a running turn reads what it has read");
    assert_eq!(running.texts(&ids).await, ["a clok", "done"]);
    let later = Turn::new(&cluster);
    later.begin(&ann, &project, "later").await.expect("begun");
    assert_eq!(later.texts(&ids).await, ["a clock!", "done"]);
    assert_eq!(conversation(&ann, &project).await[0].text, "a clock!");

    // When no turn runs, the old texts are not kept.
    for turn in [&running, &later] {
        turn.end(TurnEnd::Cancelled, "").await.expect("ended");
    }
    assert_eq!(cluster.count("SELECT count(*) FROM message_versions").await, 2);
    ann.edit_message(&project, &question.id, "an alarm clock").await.expect("edited");
    assert_eq!(cluster.count("SELECT count(*) FROM message_versions").await, 0);
    let repeat = ann.edit_message(&project, &question.id, "an alarm clock").await.expect("a repeat");
    assert_eq!(conversation(&ann, &project).await[0].edit_time, repeat.edit_time);

    assert_eq!(reason(ann.edit_message(&project, &answer.id, "x").await), "AUTHOR_REQUIRED");
    assert_eq!(reason(ben.edit_message(&project, &question.id, "x").await), "PROJECT_NOT_FOUND");
    member(&cluster, &ben, 1).await;
    assert_eq!(reason(ben.edit_message(&project, &question.id, "x").await), "ROLE_REQUIRED");
    sqlx::query("UPDATE members SET role = 3 WHERE user_id = $1").bind(ben.id.0).execute(&cluster.database.pool).await.expect("an admin");
    assert_eq!(reason(ben.edit_message(&project, &question.id, "x").await), "AUTHOR_REQUIRED");
    assert_eq!(reason(ann.edit_message(&project, &MessageId::generate().to_string(), "x").await), "MESSAGE_NOT_FOUND");
    for text in ["", " \n", "a\0", &"x".repeat(32_769)] {
        assert_eq!(ann.edit_message(&project, &question.id, text).await.expect_err("invalid").violations[0].field, "text");
    }
    // A replaced message is not in the conversation.
    let replaced = Turn { id: question.turn_id.clone(), agent: cluster.agent() };
    Turn::new(&cluster).replace(&ann, &project, &replaced, "anew").await.expect("replaced");
    assert_eq!(reason(ann.edit_message(&project, &question.id, "x").await), "MESSAGE_NOT_FOUND");
}

#[tokio::test]
async fn a_deleted_message_leaves_a_tombstone() {
    let cluster = Cluster::start().await;
    let (ann, ben) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    ask(&cluster, &ann, &project, "my secret", "your secret").await;
    let before = conversation(&ann, &project).await;
    let (question, reply) = (&before[0].id, &before[1].id);
    ann.react(&project, reply, ReactionKind::Helpful, "").await.expect("a reaction");
    let running = Turn::new(&cluster);
    running.begin(&ann, &project, "next").await.expect("begun");
    let fault = ann.delete_message(&project, question).await.expect_err("a turn is open");
    assert_eq!((fault.reason.as_str(), fault.metadata["turn"].as_str()), ("TURN_OPEN", running.id.as_str()));
    running.end(TurnEnd::Cancelled, "").await.expect("ended");

    assert_eq!(reason(ben.delete_message(&project, question).await), "PROJECT_NOT_FOUND");
    member(&cluster, &ben, 2).await;
    assert_eq!(reason(ben.delete_message(&project, question).await), "AUTHOR_REQUIRED");
    assert_eq!(reason(ben.delete_message(&project, reply).await), "AUTHOR_REQUIRED");
    for _ in 0..2 {
        ann.delete_message(&project, question).await.expect("deleted");
        ann.delete_message(&project, reply).await.expect("deleted");
    }
    let after = conversation(&ann, &project).await;
    assert_eq!(
        after.iter().map(|message| &message.id).collect::<Vec<_>>(),
        before.iter().map(|m| &m.id).chain([&after[2].id]).collect::<Vec<_>>()
    );
    assert!(after[..2].iter().all(|message| message.text.is_empty() && message.delete_time.is_some() && message.helpful_count == 0));
    assert_eq!(cluster.count("SELECT count(*) FROM deletions WHERE kind = 1").await, 2);
    assert_eq!(cluster.count("SELECT count(*) FROM reactions").await, 0);
    assert_eq!(reason(ann.edit_message(&project, question, "x").await), "MESSAGE_NOT_FOUND");
    assert_eq!(reason(ann.react(&project, reply, ReactionKind::Helpful, "").await), "MESSAGE_NOT_FOUND");
    assert_eq!(reason(ann.delete_message(&project, &MessageId::generate().to_string()).await), "MESSAGE_NOT_FOUND");
    let later = Turn::new(&cluster);
    later.begin(&ann, &project, "later").await.expect("begun");
    assert_eq!(later.texts(&[]).await, ["next"]);
}

#[tokio::test]
async fn each_person_has_one_reaction_to_an_answer() {
    let cluster = Cluster::start().await;
    let (ann, ben) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    ask(&cluster, &ann, &project, "a clock", "done").await;
    let messages = conversation(&ann, &project).await;
    let (question, reply) = (messages[0].id.as_str(), messages[1].id.as_str());
    assert_eq!(reason(ben.react(&project, reply, ReactionKind::Helpful, "").await), "PROJECT_NOT_FOUND");
    member(&cluster, &ben, 1).await;
    let counts = |message: &Message| (message.helpful_count, message.not_helpful_count);
    assert_eq!(counts(&ann.react(&project, reply, ReactionKind::Helpful, "").await.expect("set")), (1, 0));
    assert_eq!(counts(&ben.react(&project, reply, ReactionKind::Helpful, "").await.expect("set")), (2, 0));
    let changed = ben.react(&project, reply, ReactionKind::NotHelpful, " too slow ").await.expect("changed");
    assert_eq!((counts(&changed), changed.reaction.expect("one").reason.as_str()), ((1, 1), "too slow"));

    let mine = &conversation(&ann, &project).await[1];
    assert_eq!((counts(mine), mine.reaction.as_ref().expect("one").kind()), ((1, 1), ReactionKind::Helpful));
    assert_eq!(counts(&ben.take_back(&project, reply).await.expect("taken back")), (1, 0));
    let again = ben.take_back(&project, reply).await.expect("a repeat");
    assert_eq!((counts(&again), again.reaction), ((1, 0), None));

    let field = |result: Result<Message, Box<Fault>>| result.expect_err("invalid").violations[0].field.clone();
    assert_eq!(field(ann.react(&project, question, ReactionKind::Helpful, "").await), "message_id");
    assert_eq!(field(ann.react(&project, reply, ReactionKind::Unspecified, "").await), "kind");
    assert_eq!(field(ann.react(&project, reply, ReactionKind::Helpful, &"x".repeat(501)).await), "reason");
    assert_eq!(reason(ann.react(&project, &TurnId::generate().to_string(), ReactionKind::Helpful, "").await), "MESSAGE_NOT_FOUND");
    // An answer of another project is not reached through the own one.
    let other = ben.create().await.id;
    assert_eq!(reason(ben.react(&other, reply, ReactionKind::Helpful, "").await), "MESSAGE_NOT_FOUND");
}

/// A hit on one line, with the found words in brackets.
fn lines(found: &SearchMessagesResponse) -> Vec<String> {
    let part = |text: &str, is_match| if is_match { format!("[{text}]") } else { text.to_owned() };
    found.hits.iter().map(|hit| hit.parts.iter().map(|p| part(&p.text, p.r#match)).collect()).collect()
}

fn words(query: &str, project: &str) -> SearchMessagesRequest {
    SearchMessagesRequest { query: query.into(), project_id: project.into(), ..Default::default() }
}

#[tokio::test]
async fn messages_of_all_own_projects_are_found() {
    let cluster = Cluster::start().await;
    let (ann, ben) = (cluster.person(), cluster.person());
    let (first, second, theirs) = (ann.create().await.id, ann.create().await.id, ben.create().await.id);
    ask(&cluster, &ann, &first, "Build a red clock", "The clock is red now").await;
    ask(&cluster, &ann, &second, "a clock in blue", "done").await;
    ask(&cluster, &ben, &theirs, "a secret clock", "done").await;

    let all = ann.find(words("CLOCK", "")).await.expect("hits");
    assert_eq!(lines(&all), ["a [clock] in blue", "The [clock] is red now", "Build a red [clock]"].map(str::to_owned));
    assert_eq!(all.hits.iter().map(|hit| &hit.project_id).collect::<Vec<_>>(), [&second, &first, &first]);
    assert!(all.hits.iter().all(|hit| hit.message.as_ref().is_some_and(|message| message.text.is_empty() && !message.id.is_empty())));
    assert_eq!(lines(&ann.find(words("red clock -build", "")).await.expect("hits")), ["The [clock] is [red] now"]);
    assert_eq!(lines(&ann.find(words("\"red clock\" or blue", &first)).await.expect("hits")), ["Build a [red] [clock]"]);
    assert_eq!(lines(&ben.find(words("clock", "")).await.expect("hits")), ["a secret [clock]"]);
    assert_eq!(reason(ben.find(words("clock", &first)).await), "PROJECT_NOT_FOUND");

    for size in [1, 2, 3] {
        let (mut hits, mut request) = (Vec::new(), SearchMessagesRequest { page_size: size, ..words("clock", "") });
        loop {
            let page = ann.find(request.clone()).await.expect("a page");
            hits.extend(page.hits);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert!(hits == all.hits, "pages of {size}");
    }
    let page = ann.find(SearchMessagesRequest { page_size: 1, ..words("clock", "") }).await.expect("a page");
    let foreign = SearchMessagesRequest { page_token: page.next_page_token.clone(), ..words("clock", "") };
    assert_eq!(reason(ben.find(foreign).await), "PAGE_TOKEN_INVALID");
    let other = SearchMessagesRequest { page_token: page.next_page_token, ..words("red", "") };
    assert_eq!(reason(ann.find(other).await), "PAGE_TOKEN_INVALID");
    for query in ["", "!?", "a\nb", &"x".repeat(501)] {
        assert_eq!(ann.find(words(query, "")).await.expect_err("invalid").violations[0].field, "query", "{query:?}");
    }
    for query in ["\"", "a:*", "' & | !", "\\ a", "(((a", "-a", "or or"] {
        let found = ann.find(words(query, "")).await;
        assert!(found.as_ref().is_ok() || found.as_ref().is_err_and(|fault| fault.reason == "INVALID_FIELD"), "{query:?} {found:?}");
    }

    // Replaced and deleted messages are not found.
    let [question, reply] = &conversation(&ann, &second).await[..] else { panic!("two messages") };
    ann.delete_message(&second, &question.id).await.expect("deleted");
    assert_eq!(ann.find(words("blue", "")).await.expect("hits").hits.len(), 0);
    let replaced = Turn { id: reply.turn_id.clone(), agent: cluster.agent() };
    Turn::new(&cluster).replace(&ann, &second, &replaced, "anew").await.expect("replaced");
    assert_eq!(ann.find(words("done", "")).await.expect("hits").hits.len(), 0);
}

#[tokio::test]
async fn a_long_conversation_is_searched_in_parts() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ask(&cluster, &ann, &project, "the needle", "done").await;
    let other = ann.create().await.id;
    ask(&cluster, &ann, &other, "another needle", "done").await;
    // Larger than one part by their number, and by their length.
    for sql in [
        "INSERT INTO messages (project_id, id, turn_id, role, text, user_id)
         SELECT m.project_id, gen_random_uuid(), m.turn_id, 1, 'hay ' || n, m.user_id
         FROM messages m, generate_series(1, 1200) n WHERE m.text = 'the needle'",
        "INSERT INTO messages (project_id, id, turn_id, role, text, user_id)
         SELECT m.project_id, gen_random_uuid(), m.turn_id, 1, repeat('hay ', 60000), m.user_id
         FROM messages m, generate_series(1, 40) n WHERE m.text = 'another needle'",
    ] {
        sqlx::query(sql).execute(&cluster.database.pool).await.expect("filled");
    }
    let (mut found, mut request) = (Vec::new(), words("needle", ""));
    loop {
        let page = ann.find(request.clone()).await.expect("a page");
        found.extend(lines(&page));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, ["another [needle]", "the [needle]"]);
    let mut request = words("hay", &project);
    let (mut count, mut pages) = (0, 0);
    loop {
        let page = ann.find(request.clone()).await.expect("a page");
        (count, pages) = (count + page.hits.len(), pages + 1);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert!(count == 1200 && pages >= 24, "{count} hits on {pages} pages");
}
