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
async fn pages(person: &mut Person, mut request: ListTurnsRequest) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let page = person.turns.list_turns(request.clone()).await.unwrap().into_inner();
        pages.push(page.turns.into_iter().map(|turn| turn.id).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

async fn list(person: &mut Person, request: ListTurnsRequest) -> Vec<String> {
    pages(person, request).await.concat()
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

/// Adds 20,000 ended turns like the only one. Half of them have the entry `page: 1`.
async fn add_turns(db: &mut PgConnection) {
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
        sqlx::query(sql).execute(&mut *db).await.unwrap();
    }
}

/// The plan of the service's statement with a text, for any values of its parameters.
async fn plan(db: &mut PgConnection, text: &str, values: &[&str]) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut statements = files.map(|file| serde_json::from_str::<serde_json::Value>(&file).unwrap()["query"].as_str().unwrap().to_owned());
    let statement = statements.find(|sql| sql.contains(text)).unwrap();
    for sql in ["SET plan_cache_mode = force_generic_plan".to_owned(), "DEALLOCATE ALL".to_owned(), format!("PREPARE page AS {statement}")]
    {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *db).await.unwrap();
    }
    let explain = format!("EXPLAIN EXECUTE page({})", values.join(", "));
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(&mut *db).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_cost_of_a_page_by_metadata_is_bounded() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (turn, _) = person.run(tagged("d", &[("page", "1"), ("tier", "gold")])).await;
    let mut db = PgConnection::connect(&cluster.database).await.unwrap();
    add_turns(&mut db).await;

    let (project, user) = (format!("'{}'", turn.project_id), format!("'{}'", turn.user_id));
    let values = [&project, &user, "'page'", "'1'", "'ffffffff-0000-7000-8000-000000010000'", "51"];
    let range = plan(&mut db, "SELECT turn_id FROM turn_metadata", &values).await;
    assert!(range.contains("turn_metadata_entry_idx") && range.contains("turn_id < $5") && !range.contains("Filter"), "{range}");
    assert!(!range.contains("Sort"), "{range}");
    let ids = format!("ARRAY['{}']::uuid[]", turn.id);
    let rows = plan(&mut db, "t.metadata @> $3", &[&ids, &user, r#"'{"page":"1"}'"#, "false", "''", "51"]).await;
    assert!(rows.contains("turns_pkey") && !rows.contains("Seq Scan"), "{rows}");

    // Of the 10,001 turns with the first entry one has the second one, too.
    let pages = pages(&mut person, of_draft("d", &[("page", "1"), ("tier", "gold")])).await;
    assert_eq!((pages.concat(), pages.len()), (vec![turn.id], 11));
    let page = person.turns.list_turns(ListTurnsRequest { page_size: 200, ..of_draft("d", &[("page", "1")]) }).await.unwrap().into_inner();
    assert_eq!((page.turns.len(), page.next_page_token.is_empty()), (200, false));
}
