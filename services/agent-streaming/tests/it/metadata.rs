//! The metadata of turns.

use std::collections::BTreeMap;

use proto::{
    agent_streaming::{ListTurnsRequest, StartTurnRequest},
    error::{ErrorCode, Fault},
};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::harness::{Cluster, Person, prompt};

fn entries(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn tagged(draft: &str, metadata: &[(&str, &str)]) -> StartTurnRequest {
    StartTurnRequest { metadata: entries(metadata), ..prompt(draft, "SAY hello") }
}

fn of_draft(draft: &str, metadata: &[(&str, &str)]) -> ListTurnsRequest {
    ListTurnsRequest { draft_id: draft.into(), metadata: entries(metadata), ..ListTurnsRequest::default() }
}

/// The ids of all turns, page by page.
async fn list(person: &mut Person, mut request: ListTurnsRequest) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = person.turns.list_turns(request.clone()).await.unwrap().into_inner();
        found.extend(page.turns.into_iter().map(|turn| turn.id));
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn metadata_is_returned_by_every_answer_and_a_key_belongs_to_it() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let metadata = [("customer", "4711"), ("text", "ü\n\"'")];
    let request = StartTurnRequest { idempotency_key: "k".into(), ..tagged("d", &metadata) };
    let (turn, _) = person.run(request.clone()).await;
    assert_eq!(turn.metadata, entries(&metadata));
    let again = person.start(request.clone()).await;
    assert_eq!((again.id, again.metadata), (turn.id.clone(), entries(&metadata)));
    let fault = person.try_start(StartTurnRequest { metadata: entries(&[("customer", "4712")]), ..request }).await.unwrap_err();
    assert_eq!(fault.reason, "KEY_REUSED");
    let listed = person.turns.list_turns(of_draft("d", &[])).await.unwrap().into_inner().turns;
    assert_eq!(listed[0].metadata, entries(&metadata));

    let fault = person.try_start(tagged("e", &[("a b", "x")])).await.unwrap_err();
    assert_eq!((fault.code, fault.violations[0].field.as_str()), (ErrorCode::InvalidArgument, "metadata"));
    let status = person.turns.list_turns(of_draft("d", &[("a", "")])).await.unwrap_err();
    assert_eq!(Fault::from_status(&status).violations[0].field, "metadata[a]");
}

#[tokio::test]
async fn turns_are_listed_by_entries_of_their_metadata() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let mut ids = Vec::new();
    for metadata in [&[("page", "1")][..], &[("page", "1"), ("tier", "gold")], &[("page", "2"), ("tier", "gold")], &[], &[("page", "1")]] {
        ids.push(person.run(tagged("d", metadata)).await.0.id);
    }
    person.run(tagged("other", &[("page", "1")])).await;
    let newest = |numbers: &[usize]| numbers.iter().map(|n| ids[*n].clone()).collect::<Vec<_>>();
    for (filter, expected) in [
        (&[("page", "1")][..], &[4, 1, 0][..]),
        (&[("tier", "gold")], &[2, 1]),
        (&[("page", "1"), ("tier", "gold")], &[1]),
        (&[("page", "2"), ("tier", "tin")], &[]),
        (&[("page", "3")], &[]),
    ] {
        let request = ListTurnsRequest { page_size: 1, ..of_draft("d", filter) };
        assert_eq!(list(&mut person, request).await, newest(expected), "{filter:?}");
    }
    assert_eq!(list(&mut person, of_draft("d", &[])).await.len(), 5);
    assert!(list(&mut person, ListTurnsRequest { open_only: true, ..of_draft("d", &[("page", "1")]) }).await.is_empty());

    let page = person.turns.list_turns(ListTurnsRequest { page_size: 1, ..of_draft("d", &[("page", "1")]) }).await.unwrap().into_inner();
    let other = ListTurnsRequest { page_token: page.next_page_token, ..of_draft("d", &[("tier", "gold")]) };
    assert_eq!(Fault::from_status(&person.turns.list_turns(other).await.unwrap_err()).violations[0].field, "page_token");
    let project = person.turn(&ids[0]).await.project_id;
    let mut stranger = cluster.user().at(&replica);
    let request = ListTurnsRequest { project_id: project, draft_id: String::new(), ..of_draft("", &[("page", "1")]) };
    assert!(list(&mut stranger, request).await.is_empty());
}

/// The statement of the service that lists turns by metadata, from the prepared statements.
fn statement() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let statements = files.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap()["query"].as_str().unwrap().to_owned());
    statements.into_iter().find(|sql| sql.contains("JOIN turn_metadata")).unwrap()
}

/// With an entry that half of the turns have. Of a rare entry the database may read all turns and sort them.
#[tokio::test]
async fn a_page_by_metadata_is_an_index_range() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let (turn, _) = cluster.user().at(&replica).run(tagged("d", &[("page", "1")])).await;
    let mut db = PgConnection::connect(&cluster.database).await.unwrap();
    for sql in [
        "INSERT INTO turns (id, user_id, project_id, fingerprint, prompt, agent, agent_rule, model, asked_revision, reject_if_active, state,
             ended_at, trace_id, traceparent, metadata)
         SELECT gen_random_uuid(), user_id, project_id, '', '', '', '', '', '', false, 'completed', now(), '', '',
             jsonb_build_object('page', (n % 2)::text)
         FROM turns, generate_series(1, 20000) n",
        "INSERT INTO turn_metadata SELECT id, 'page', metadata ->> 'page', project_id, user_id FROM turns ON CONFLICT DO NOTHING",
        "ANALYZE turns",
        "ANALYZE turn_metadata",
    ] {
        sqlx::query(sql).execute(&mut db).await.unwrap();
    }
    let (project, user) = (format!("'{}'", turn.project_id), format!("'{}'", turn.user_id));
    let values = [&project, &user, "'page'", "'1'", "'ffffffff-0000-7000-8000-000000010000'", r#"'{"page":"1"}'"#, "false", "''", "51"];
    let sql = values.iter().enumerate().fold(statement(), |sql, (n, value)| sql.replace(&format!("${}", n + 1), value));
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(&mut db).await.unwrap();
    let plan = rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
    assert!(plan.contains("turn_metadata_entry_idx") && plan.contains("turns_pkey"), "{plan}");
    assert!(!plan.contains("Sort") && !plan.contains("Seq Scan on turn"), "{plan}");
}
