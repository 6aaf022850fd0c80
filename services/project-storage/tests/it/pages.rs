//! Pages of lists: they are stable, in both directions, and read from an index.

use proto::{
    id::TurnId,
    project_storage::{ListMessagesRequest, ListProjectsRequest, ListRevisionsRequest, MessageOrder, MessageRole},
};
use sqlx::Row as _;

use crate::harness::{Cluster, Person, answer, reason, write};

/// Inserts `count` messages directly into the database: 1, 2, 3…
async fn fill(cluster: &Cluster, project: &str, count: i32) {
    sqlx::query(
        "INSERT INTO messages (project_id, id, turn_id, role, text, user_id)
         SELECT $1::uuid, ('018f0000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $2, 1 + n % 2, n::text, $2 FROM generate_series(1, $3) n",
    )
    .bind(project)
    .bind(TurnId::generate().0)
    .bind(count)
    .execute(&cluster.database.pool)
    .await
    .expect("messages");
}

async fn texts(person: &Person, request: ListMessagesRequest) -> (Vec<String>, String) {
    let page = answer(person.client.clone().list_messages(person.request(request)).await).expect("a page");
    (page.messages.into_iter().map(|m| m.text).collect(), page.next_page_token)
}

#[tokio::test]
async fn a_conversation_is_read_in_both_directions() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let request = |order: MessageOrder, token: &str| ListMessagesRequest {
        project_id: project.id.clone(),
        page_size: 0,
        page_token: token.into(),
        order: order.into(),
    };
    assert_eq!(texts(&ann, request(MessageOrder::Unspecified, "")).await, (vec![], String::new()));
    fill(&cluster, &project.id, 120).await;
    let (first, token) = texts(&ann, request(MessageOrder::Unspecified, "")).await;
    assert_eq!(first, (71..=120).rev().map(|n| n.to_string()).collect::<Vec<_>>());
    // A new message does not move the pages. The order of the token counts, not that of the request.
    insert_late(&cluster, &project.id).await;
    let (second, token) = texts(&ann, request(MessageOrder::OldestFirst, &token)).await;
    assert_eq!((second.first().map(String::as_str), second.len()), (Some("70"), 50));
    let (third, token) = texts(&ann, request(MessageOrder::NewestFirst, &token)).await;
    assert_eq!((third.first().map(String::as_str), third.last().map(String::as_str), token.as_str()), (Some("20"), Some("1"), ""));

    let (oldest, token) = texts(&ann, ListMessagesRequest { page_size: 200, ..request(MessageOrder::OldestFirst, "") }).await;
    assert_eq!((oldest.len(), oldest[0].as_str(), oldest[120].as_str(), token.as_str()), (121, "1", "late", ""));
    let page = ann.request(ListMessagesRequest { page_size: 2, ..request(MessageOrder::OldestFirst, "") });
    let page = answer(ann.client.clone().list_messages(page).await).expect("a page");
    assert_eq!(page.messages.iter().map(|m| m.role()).collect::<Vec<_>>(), [MessageRole::Assistant, MessageRole::User]);
}

async fn insert_late(cluster: &Cluster, project: &str) {
    sqlx::query("INSERT INTO messages (project_id, id, turn_id, role, text, user_id) VALUES ($1::uuid, $2, $2, 1, 'late', $2)")
        .bind(project)
        .bind(TurnId::generate().0)
        .execute(&cluster.database.pool)
        .await
        .expect("a message");
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_list_only() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (one, other) = (ann.create().await, ann.create().await);
    fill(&cluster, &one.id, 60).await;
    let request = |project: &str, token: &str, size: i32| ListMessagesRequest {
        project_id: project.into(),
        page_size: size,
        page_token: token.into(),
        order: 0,
    };
    let (_, token) = texts(&ann, request(&one.id, "", 10)).await;
    let send = |request| async { answer(ann.client.clone().list_messages(ann.request(request)).await) };
    assert_eq!(reason(send(request(&other.id, &token, 10)).await), "PAGE_TOKEN_INVALID");
    assert_eq!(reason(send(request(&one.id, "nonsense", 10)).await), "PAGE_TOKEN_INVALID");
    assert_eq!(reason(send(request(&one.id, "", -1)).await), "INVALID_FIELD");
    assert_eq!(texts(&ann, request(&one.id, "", 1000)).await.0.len(), 60);
    let revisions = ann.request(ListRevisionsRequest { project_id: one.id, page_token: token, ..Default::default() });
    assert_eq!(reason(answer(ann.client.clone().list_revisions(revisions).await)), "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn projects_and_revisions_have_pages() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(ann.create().await.id);
    }
    // The first project becomes the last changed one.
    for n in 0..5 {
        ann.save(&ids[0], vec![write("a", &n.to_string())]).await.expect("saved");
    }
    let mut expected = ids.clone();
    expected[1..].reverse();
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let request = ann.request(ListProjectsRequest { page_size: 2, page_token: token, ..ListProjectsRequest::default() });
        let page = answer(ann.client.clone().list_projects(request).await).expect("a page");
        found.extend(page.projects.into_iter().map(|p| (p.id, p.head_number)));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(found[0].1, 5);
    let request = |token: &str| {
        ann.request(ListRevisionsRequest { project_id: ids[0].clone(), page_size: 3, page_token: token.into(), ..Default::default() })
    };
    let page = answer(ann.client.clone().list_revisions(request("")).await).expect("a page");
    assert_eq!(page.revisions.iter().map(|r| r.number).collect::<Vec<_>>(), [5, 4, 3]);
    let page = answer(ann.client.clone().list_revisions(request(&page.next_page_token)).await).expect("a page");
    assert_eq!(page.revisions.iter().map(|r| r.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(page.next_page_token, "");
}

/// Explains the statements of the service: every page is a range of an index, without sorting and without OFFSET.
#[tokio::test]
async fn a_page_is_an_index_range() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    fill(&cluster, &project.id, 20_000).await;
    for sql in [
        "INSERT INTO ref_log SELECT p.id, 'refs/heads/main', n, '', '', '{}', 1, p.id, NULL, '', 0, 0, 0, 0, now() FROM projects p, generate_series(1, 5000) n",
        "INSERT INTO projects SELECT gen_random_uuid(), store_id, owner_id, NULL, '', 1, now(), now() FROM projects, generate_series(1, 3000)",
        "INSERT INTO refs SELECT id, 'refs/heads/main', '', 0 FROM projects ON CONFLICT DO NOTHING",
        "INSERT INTO message_versions SELECT project_id, id, now(), '' FROM messages",
        "ANALYZE",
    ] {
        sqlx::query(sql).execute(&cluster.database.pool).await.expect("filled");
    }
    let (person, project) = (format!("'{}'::uuid", ann.id), format!("'{}'::uuid", project.id));
    let key = "'018f0000-0000-7000-8000-000000010000'::uuid";
    let main = "'refs/heads/main'";
    let rows: [(&str, &str, [&str; 8]); 8] = [
        ("x.id < $3 ORDER BY x.id DESC", "messages_visible_idx", [&project, &person, key, "51", "", "", "", ""]),
        ("x.id > $3 ORDER BY x.id LIMIT", "messages_visible_idx", [&project, &person, key, "51", "", "", "", ""]),
        ("ORDER BY m.id DESC LIMIT $3", "messages_visible_idx", [&project, key, "51", key, "", "", "", ""]),
        ("ORDER BY g.seq DESC", "ref_log_pkey", [&project, &person, main, "2500", "51", "", "", ""]),
        (
            "ORDER BY p.updated_at DESC",
            "projects_owner_id_updated_at_id_idx",
            [&person, "now()", key, "51", main, "false", "'{}'", "NULL::uuid[]"],
        ),
        ("AND l.seq < $3", "ref_log_pkey", [&project, main, "2500", "51", "", "", "", ""]),
        ("AND l.created_at >= coalesce($3", "ref_log_created_at_idx", [&project, main, "NULL", "now()", "NULL", "NULL", "51", ""]),
        ("AND l.user_id = $3", "ref_log_user_id_created_at_idx", [&project, main, &person, "NULL", "now()", "NULL", "NULL", "51"]),
    ];
    for (part, index, values) in rows {
        let sql = values.iter().enumerate().fold(statement(part), |sql, (n, value)| sql.replace(&format!("${}", n + 1), value));
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(&cluster.database.pool).await.expect("a plan");
        let plan = rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
        assert!(plan.contains(index), "{plan}");
        // The log of a fork has at most 33 parts, and each has an index range of the size of the page, so their sort is small.
        let sort = if sql.contains("log_segments") { "Seq Scan on labels" } else { "Sort" };
        let large = ["Seq Scan on messages", "Seq Scan on ref_log", "Seq Scan on projects", sort];
        assert!(!large.iter().any(|slow| plan.contains(slow)) && !sql.contains("OFFSET"), "{plan}");
    }
}

/// The statement of the service that contains `part`, from the prepared statements.
fn statement(part: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    std::fs::read_dir(folder)
        .expect("prepared statements")
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
            let prepared: serde_json::Value = serde_json::from_str(&text).expect("json");
            Some(squeeze(prepared["query"].as_str()?))
        })
        .find(|sql| sql.contains(part))
        .unwrap_or_else(|| panic!("no statement with {part}"))
}
