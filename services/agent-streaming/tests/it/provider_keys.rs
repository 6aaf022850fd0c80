//! Keys of providers that persons and projects bring.

use chassis::testing::{Lines, eventually};
use proto::{
    agent_streaming::{
        CreateProviderKeyRequest, DeleteProviderKeyRequest, ListProviderKeysRequest, ProviderKey, StartTurnRequest, TurnEvent, TurnState,
        UpdateProviderKeyRequest, turn_event::Kind,
    },
    error::Fault,
    id::SessionId,
};
use sqlx::Row as _;

use crate::{
    harness::{Cluster, Person, SOON, failure, prompt, save},
    model::Model,
};

const CANARY: &str = "sk-canary-6f1d2c90a7b34e58c0ffee";
const SECOND: &str = "sk-second-0a9b8c7d6e5f4a3b2c1d0e";
/// Lets the addresses of these tests through the guard.
const LOOPBACK: (&str, &str) = ("BACKLOT_OUTBOUND_ALLOW", "127.0.0.1");

fn new_key(model: &Model, key: &str, project: &str) -> CreateProviderKeyRequest {
    CreateProviderKeyRequest {
        provider: "openai".into(),
        key: key.into(),
        base_url: model.url.clone(),
        display_name: "mine".into(),
        project_id: project.into(),
    }
}

async fn create(person: &Person, request: CreateProviderKeyRequest) -> Result<ProviderKey, Fault> {
    let answer = person.turns.clone().create_provider_key(request).await;
    answer.map(|answer| answer.into_inner().provider_key.expect("a key")).map_err(|status| Fault::from_status(&status))
}

async fn update(person: &Person, request: UpdateProviderKeyRequest) -> Result<ProviderKey, Fault> {
    let answer = person.turns.clone().update_provider_key(request).await;
    answer.map(|answer| answer.into_inner().provider_key.expect("a key")).map_err(|status| Fault::from_status(&status))
}

async fn list(person: &Person, project: &str) -> Result<Vec<ProviderKey>, Fault> {
    let answer = person.turns.clone().list_provider_keys(ListProviderKeysRequest { project_id: project.into() }).await;
    answer.map(|answer| answer.into_inner().provider_keys).map_err(|status| Fault::from_status(&status))
}

async fn delete(person: &Person, id: &str) -> Result<(), Fault> {
    let answer = person.turns.clone().delete_provider_key(DeleteProviderKeyRequest { key_id: id.into() }).await;
    answer.map(drop).map_err(|status| Fault::from_status(&status))
}

fn in_project(project: &str, order: &str) -> StartTurnRequest {
    StartTurnRequest { project_id: project.into(), draft_id: String::new(), ..prompt("", order) }
}

/// Waits until the replica answers.
async fn up(person: &mut Person) {
    person.run(prompt("warm", "SAY up")).await;
}

/// Whoever has the server of a key reads the prompts.
#[tokio::test]
async fn each_change_of_a_stored_key_is_a_line_without_the_key() {
    let lines = Lines::collect();
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let model = Model::start().await;
    let replica = cluster.replica();
    let mut ann = cluster.user().at(&replica);
    up(&mut ann).await;
    let key = create(&ann, new_key(&model, CANARY, "")).await.expect("created");
    let change = UpdateProviderKeyRequest { key_id: key.id.clone(), display_name: Some("other".into()), ..Default::default() };
    update(&ann, change).await.expect("changed");
    delete(&ann, &key.id).await.expect("deleted");
    delete(&ann, &key.id).await.expect_err("gone");
    let mut found = lines.of("a stored key of a model provider was changed");
    found.retain(|line| line["key"] == key.id);
    let changes: Vec<_> = found.iter().map(|line| (line["change"].as_str(), line["host"].as_str(), line["key"].as_str())).collect();
    assert_eq!(changes, ["created", "changed", "deleted"].map(|change| (change, "127.0.0.1", key.id.as_str())));
    assert!(found.iter().all(|line| !line["user"].is_empty() && line["project"].is_empty() && line["provider"] == "openai"), "{found:?}");
    assert!(!format!("{found:?}").contains(CANARY), "{found:?}");
}

#[tokio::test]
async fn a_stored_key_is_used_by_the_turns_of_its_owner_only() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let (own, of_project) = (Model::start().await, Model::start().await);
    let replica = cluster.replica();
    let user = cluster.user();
    let (mut ann, mut bob) = (user.at(&replica), cluster.user().at(&replica));
    up(&mut ann).await;
    let key = create(&ann, new_key(&own, CANARY, "")).await.expect("created");
    assert_eq!((key.provider.as_str(), key.last_four.as_str(), key.base_url.as_str()), ("openai", "ffee", own.url.as_str()));
    assert_eq!(create(&ann, new_key(&own, SECOND, "")).await.expect_err("a second one").reason, "PROVIDER_KEY_EXISTS");

    let (turn, _) = ann.run(prompt("d", "SAY mine")).await;
    assert_eq!((turn.state(), turn.provider_key_id.as_str()), (TurnState::Completed, key.id.as_str()));
    assert_eq!((own.calls(), own.keys()), (1, vec![format!("Bearer {CANARY}")]));
    let (turn, _) = bob.run(prompt("d", "SAY his")).await;
    assert_eq!((own.calls(), turn.provider_key_id.as_str()), (1, ""), "the key of the cluster");

    // A key of the project comes before that of the person.
    let (project, _) = save(&ann, "p", &[("a.txt", "a")]).await;
    let second = create(&ann, new_key(&of_project, SECOND, &project)).await.expect("created");
    let (turn, _) = ann.run(in_project(&project, "SAY the project's")).await;
    assert_eq!((turn.provider_key_id.as_str(), of_project.keys()), (second.id.as_str(), vec![format!("Bearer {SECOND}")]));
    for (project, key) in [("", &key), (project.as_str(), &second)] {
        let listed = list(&ann, project).await.expect("a list");
        let [one] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!((&one.id, &one.user_id, &one.create_time), (&key.id, &user.id.to_string(), &key.create_time));
        assert!(one.create_time.is_some() && one.update_time.is_some() && one.last_use_time.is_some(), "{one:?}");
    }

    // Others see and change neither.
    assert_eq!(list(&bob, &project).await.expect_err("not his").reason, "PROJECT_NOT_FOUND");
    assert_eq!(create(&bob, new_key(&own, SECOND, &project)).await.expect_err("not his").reason, "PROJECT_NOT_FOUND");
    for id in [&key.id, &second.id] {
        let change = UpdateProviderKeyRequest { key_id: id.clone(), display_name: Some("his".into()), ..Default::default() };
        assert_eq!(update(&bob, change).await.expect_err("not his").reason, "PROVIDER_KEY_NOT_FOUND");
        assert_eq!(delete(&bob, id).await.expect_err("not his").reason, "PROVIDER_KEY_NOT_FOUND");
    }
    assert!(list(&bob, "").await.expect("a list").is_empty());
}

#[tokio::test]
async fn a_turn_fails_when_its_key_is_deleted_and_continues_elsewhere_with_it() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    up(&mut person).await;
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let hangs = |event: &TurnEvent| matches!(&event.kind, Some(Kind::TextDelta(delta)) if delta.text.contains("wait"));
    let turn = person.start(prompt("d", "STEPS a.txt one two HANG")).await;
    person.follow_until(&turn.id, 0, hangs).await.1.unwrap();
    dying.crash();
    let replica = cluster.replica();
    let mut person = user.at(&replica);
    let events = person.see(&turn.id).await;
    assert!(matches!(events.last().unwrap().kind, Some(Kind::TurnCompleted(_))), "{:?}", events.last());
    assert_eq!((own.requests("STEPS a.txt one two HANG").len(), cluster.model.requests("STEPS a.txt one two HANG").len()), (4, 0));
    assert!(own.keys().iter().all(|sent| *sent == format!("Bearer {CANARY}")));

    // The first request is answered with the key, and the next one finds that it is gone.
    let turn = person.start(prompt("e", "HANG1 a")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    delete(&person, &key.id).await.expect("deleted");
    assert_eq!(delete(&person, &key.id).await.expect_err("gone").reason, "PROVIDER_KEY_NOT_FOUND");
    replica.crash();
    let replica = cluster.replica();
    let mut person = user.at(&replica);
    let events = person.see(&turn.id).await;
    assert_eq!(failure(&events), "PROVIDER_KEY_MISSING");
    assert_eq!(cluster.model.requests("HANG1 a").len(), 0, "the key of the cluster is not taken instead");
}

#[tokio::test]
async fn a12_a_key_is_entered_again_for_another_address() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let (own, thief) = (Model::start().await, Model::start().await);
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    up(&mut person).await;
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let at = |url: &str, key_text: &str| UpdateProviderKeyRequest {
        key_id: key.id.clone(),
        key: key_text.into(),
        base_url: Some(url.into()),
        display_name: Some("changed".into()),
    };
    let host = thief.url.trim_start_matches("http://");
    let own_host = own.url.trim_start_matches("http://").trim_end_matches("/v1");
    let spellings = [
        thief.url.clone(),
        format!("{}/", thief.url),
        thief.url.to_uppercase(),
        thief.url.replace("127.0.0.1", "2130706433"),
        thief.url.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
        format!("{}/other", own.url),
        own.url.replace("http:", "https:"),
        String::new(),
    ];
    for url in &spellings {
        let refused = update(&person, at(url, "")).await.expect_err(url);
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("KEY_REQUIRED", "key"), "{url}");
    }
    // A masked key is no key, and parts of an address that mislead are refused whether the key is given or not.
    for masked in ["sk-canary-**************c0ffee", "...............c0ffee", "[redacted]-[redacted]", "xxxxxxxxxxxxxxxxffee", "ffee"] {
        assert_eq!(update(&person, at(&thief.url, masked)).await.expect_err(masked).reason, "INVALID_FIELD", "{masked}");
    }
    for url in [
        format!("http://{own_host}@{host}"),
        format!("{}?next={}", own.url, thief.url),
        format!("{}#{host}", own.url),
        "http://10.0.0.1".into(),
    ] {
        for text in ["", SECOND] {
            assert_eq!(update(&person, at(&url, text)).await.expect_err(&url).reason, "INVALID_FIELD", "{url}");
        }
    }
    person.run(prompt("d", "SAY still mine")).await;
    assert_eq!((own.keys(), thief.calls()), (vec![format!("Bearer {CANARY}")], 0));
    assert_eq!(list(&person, "").await.expect("a list")[0].display_name, "mine", "nothing was changed");

    // The same address keeps the key, and with another key another address is taken.
    update(&person, at(&format!("{}/", own.url), "")).await.expect("the same address");
    let changed = update(&person, at(&thief.url, SECOND)).await.expect("entered again");
    assert_eq!((changed.last_four.as_str(), changed.base_url.as_str()), ("1d0e", thief.url.as_str()));
    person.run(prompt("d", "SAY elsewhere")).await;
    assert_eq!(thief.keys(), [format!("Bearer {SECOND}")]);
}

/// Spellings of this machine, and of places that are close to it.
const HOSTS: [&str; 18] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "127.0.0.2",
    "0",
    "0.0.0.0",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::1]",
    "localhost",
    "１２７.0.0.1",
];
/// Paths of the addresses.
const PATHS: [&str; 8] = ["/v1", "/v1/", "", "/V1", "/v1/../v1", "//v1", "/v1/x", "/%76%31"];
/// Other addresses; OWN and THIEF are hosts with their ports.
const FORMS: [&str; 31] = [
    "",
    "HTTP://THIEF/v1",
    "http:THIEF/v1",
    "http:/THIEF/v1",
    "http:\\\\THIEF\\v1",
    "//THIEF/v1",
    "THIEF/v1",
    "https://THIEF/v1",
    "ftp://THIEF/v1",
    "file://THIEF/v1",
    "data:,THIEF",
    "http://OWN@THIEF/v1",
    "http://OWN:x@THIEF/v1",
    "http://:x@THIEF/v1",
    "http://OWN%2f@THIEF/v1",
    "http://OWN\\@THIEF/v1",
    "http://OWN\t@THIEF/v1",
    "http://OWN\r\n@THIEF/v1",
    "http://OWN%00THIEF/v1",
    "http://OWN\0THIEF/v1",
    "http://THIEF/v1#OWN",
    "http://THIEF/v1?OWN",
    "http://OWN/v1#THIEF",
    "http://OWN/v1?next=http://THIEF/v1",
    "http://OWN/v1/http://THIEF",
    "http://OWN/v1/../../THIEF/v1",
    "http://OWN/v1;THIEF",
    "http://OWN/",
    "https://OWN/v1",
    "http://OWN.evil.example/v1",
    "http://evil.example/OWN/v1",
];

/// Addresses of the thief's server, which is `127.0.0.1` with another port, and addresses that a parser may read as it. None is the owner's.
fn hostile_addresses(own: &str, thief: &str) -> Vec<String> {
    let port = thief.rsplit_once(':').expect("a port").1;
    let spelled = HOSTS.iter().flat_map(|host| PATHS.iter().map(move |path| format!("http://{host}:{port}{path}")));
    spelled.chain(FORMS.iter().map(|form| form.replace("OWN", own).replace("THIEF", thief))).collect()
}

/// A key as forms and logs mask it.
fn masked_keys(key: &str) -> Vec<String> {
    const MASKS: [&str; 12] = ["*", "x", "X", ".", "-", "_", "#", "0", "•", "…", "█", "?"];
    const WORDS: [&str; 5] = ["", "***", "...", "[redacted]", "<REDACTED>"];
    let (start, end) = (&key[..10], &key[key.len() - 4..]);
    let of_mask = |mask: &&str| {
        let run = mask.repeat(16);
        [format!("{start}{run}{end}"), format!("{run}{end}"), format!("{start}{run}")]
    };
    MASKS.iter().flat_map(of_mask).chain(WORDS.iter().map(|word| format!("{start}{word}{end}"))).collect()
}

/// Row A12 of the reference with its number of cases: changes of the address that keep the key, and masked keys, for the key of the person
/// and for one of a project, which would come before it.
#[tokio::test]
async fn a12_no_hostile_change_sends_the_key_elsewhere() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let (own, thief) = (Model::start().await, Model::start().await);
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    up(&mut person).await;
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let (project, _) = save(&person, "p", &[("a.txt", "a")]).await;
    let change = |url: &str, key_text: &str| UpdateProviderKeyRequest {
        key_id: key.id.clone(),
        key: key_text.into(),
        base_url: Some(url.into()),
        display_name: Some("changed".into()),
    };
    let host = |model: &Model| model.url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let mut cases = 0;
    for url in hostile_addresses(&host(&own), &host(&thief)) {
        let refused = update(&person, change(&url, "")).await.expect_err(&url);
        assert!(["KEY_REQUIRED", "INVALID_FIELD"].contains(&refused.reason.as_str()), "{url}: {refused:?}");
        cases += 1;
    }
    for masked in masked_keys(CANARY) {
        let (changed, created) = (change(&thief.url, &masked), new_key(&thief, &masked, &project));
        for answer in [update(&person, changed).await, create(&person, created).await] {
            let refused = answer.expect_err(&masked);
            assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "key"), "{masked}");
            cases += 1;
        }
    }
    assert!(cases >= 200, "{cases} cases");
    person.run(prompt("d", "SAY still mine")).await;
    assert_eq!((own.keys(), thief.calls()), (vec![format!("Bearer {CANARY}")], 0));
    let kept = list(&person, "").await.expect("a list");
    assert_eq!((kept[0].display_name.as_str(), kept[0].base_url.as_str()), ("mine", own.url.as_str()), "nothing was changed");
    assert!(list(&person, &project).await.expect("a list").is_empty());
}

#[tokio::test]
async fn keys_are_sent_only_to_hosts_that_the_operator_lists() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let (own, user) = (Model::start().await, cluster.user());
    let open = cluster.replica();
    let mut person = user.at(&open);
    up(&mut person).await;
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("every public host, and this machine");
    open.crash();

    let listed = cluster.replica_with(&[("BACKLOT_PROVIDER_KEY_HOSTS", "models.example.com")]);
    let mut person = user.at(&listed);
    let (_, events) = person.run(prompt("d", "SAY mine")).await;
    assert_eq!((failure(&events), own.calls()), ("PROVIDER_REFUSED", 0), "a key that was stored before");
    let change =
        |url: &str| UpdateProviderKeyRequest { key_id: key.id.clone(), key: SECOND.into(), base_url: Some(url.into()), display_name: None };
    // Without an address it is that of OpenAI, which is not in the list either.
    for url in ["https://models.example.org/v1", "https://models.example.com.evil.example/v1", "", own.url.as_str()] {
        let refused = update(&person, change(url)).await.expect_err(url);
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "base_url"), "{url}");
        assert!(refused.violations[0].description.contains("BACKLOT_PROVIDER_KEY_HOSTS"), "{refused:?}");
    }
    let changed = update(&person, change("https://models.example.com/v1")).await.expect("a host of the list");
    assert_eq!(changed.base_url, "https://models.example.com/v1");
}

#[tokio::test]
async fn a12_who_writes_to_the_database_cannot_send_a_key_elsewhere() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let (own, thief) = (Model::start().await, Model::start().await);
    let replica = cluster.replica();
    let (mut ann, mut eve) = (cluster.user().at(&replica), cluster.user().at(&replica));
    up(&mut ann).await;
    let hers = create(&ann, new_key(&own, CANARY, "")).await.expect("created");
    let eves = create(&eve, new_key(&thief, SECOND, "")).await.expect("created");
    let mut db = cluster.turns_db().await;
    let run = |statement: String| sqlx::query(sqlx::AssertSqlSafe(statement));
    run(format!("UPDATE provider_keys SET base_url = '{}' WHERE id = '{}'", thief.url, hers.id)).execute(&mut db).await.unwrap();
    ann.run(prompt("d", "SAY mine")).await;
    assert_eq!((own.calls(), thief.calls()), (1, 0), "the sealed address counts");
    run(format!("UPDATE provider_keys SET sealed = (SELECT sealed FROM provider_keys WHERE id = '{}') WHERE id = '{}'", hers.id, eves.id))
        .execute(&mut db)
        .await
        .unwrap();
    let (_, events) = eve.run(prompt("d", "SAY hers")).await;
    assert_eq!(failure(&events), "PROVIDER_REFUSED");
    assert_eq!((own.keys(), thief.calls()), (vec![format!("Bearer {CANARY}")], 0));
    // No column of any table has the key.
    let rows =
        sqlx::query("SELECT provider_keys::text AS row FROM provider_keys UNION ALL SELECT turns::text FROM turns").fetch_all(&mut db);
    let text: String = rows.await.unwrap().iter().map(|row| row.get::<String, _>("row")).collect();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(text.contains(&hers.id) && !text.contains(CANARY) && !text.contains(&hex(&CANARY[..12])), "a key is in the database");
}

/// The address is sealed with the key, and the column can be changed by whoever writes to the database. No key goes to an address by default
/// that its person did not name.
#[tokio::test]
async fn a_key_that_cannot_be_opened_is_replaced_with_its_address() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    up(&mut person).await;
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let mut db = cluster.turns_db().await;
    sqlx::query("UPDATE provider_keys SET sealed = sealed || '\\x00'::bytea").execute(&mut db).await.unwrap();
    let change = UpdateProviderKeyRequest { key_id: key.id.clone(), key: SECOND.into(), ..Default::default() };
    let refused = update(&person, change.clone()).await.expect_err("no address");
    assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "base_url"));
    let named = UpdateProviderKeyRequest { key: String::new(), display_name: Some("other".into()), ..change.clone() };
    assert_eq!(update(&person, named).await.expect_err("no key").reason, "KEY_REQUIRED");
    assert_eq!(list(&person, "").await.expect("a list"), std::slice::from_ref(&key), "nothing was changed");
    let changed = update(&person, UpdateProviderKeyRequest { base_url: Some(own.url.clone()), ..change }).await.expect("entered again");
    assert_eq!(changed.base_url, own.url);
    person.run(prompt("d", "SAY again")).await;
    assert_eq!(own.keys(), [format!("Bearer {SECOND}")]);
}

#[tokio::test]
async fn answers_have_the_times_that_are_stored() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    up(&mut person).await;
    let created = create(&person, new_key(&own, CANARY, "")).await.expect("created");
    assert_eq!(list(&person, "").await.expect("a list"), std::slice::from_ref(&created));
    let change = UpdateProviderKeyRequest { key_id: created.id.clone(), display_name: Some("other".into()), ..Default::default() };
    let changed = update(&person, change).await.expect("changed");
    assert_eq!(changed.create_time, created.create_time);
    assert_eq!(list(&person, "").await.expect("a list"), [changed]);
}

#[tokio::test]
async fn a_key_and_an_address_need_a_recent_proof() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let (replica, user) = (cluster.replica(), cluster.user());
    let (mut person, stale) = (user.at(&replica), cluster.with_old_proof(&user).at(&replica));
    up(&mut person).await;
    assert_eq!(create(&stale, new_key(&own, CANARY, "")).await.expect_err("old").reason, "STEP_UP_REQUIRED");
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let change = UpdateProviderKeyRequest { key_id: key.id.clone(), ..Default::default() };
    for change in [
        UpdateProviderKeyRequest { key: SECOND.into(), ..change.clone() },
        UpdateProviderKeyRequest { base_url: Some(own.url.clone()), ..change.clone() },
    ] {
        assert_eq!(update(&stale, change).await.expect_err("old").reason, "STEP_UP_REQUIRED");
    }
    update(&stale, UpdateProviderKeyRequest { display_name: Some("renamed".into()), ..change }).await.expect("a name needs no proof");
    assert_eq!(list(&stale, "").await.expect("a list")[0].display_name, "renamed");
    delete(&stale, &key.id).await.expect("nothing is lost that its owner does not have");
}

/// Whoever has a stolen session and the password can prove it once, and keeps the access token. When the owner adds a second factor, auth forgets the
/// proof.
#[tokio::test]
async fn a_proof_from_before_another_second_factor_does_not_count() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let (replica, user, session) = (cluster.replica(), cluster.user(), SessionId::generate());
    let (in_session, other) = (cluster.in_session(&user, session), user.at(&replica));
    let mut person = in_session.at(&replica);
    up(&mut person).await;
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("a recent proof");
    let (project, _) = save(&person, "p", &[("a.txt", "a")]).await;
    cluster.change_session(session);
    let change = UpdateProviderKeyRequest { key_id: key.id.clone(), key: SECOND.into(), ..Default::default() };
    let refused = eventually(SOON, || async { update(&person, change.clone()).await.err() }).await;
    assert_eq!(refused.reason, "STEP_UP_REQUIRED");
    assert_eq!(create(&person, new_key(&own, SECOND, &project)).await.expect_err("forgotten").reason, "STEP_UP_REQUIRED");
    update(&person, UpdateProviderKeyRequest { key: String::new(), display_name: Some("renamed".into()), ..change.clone() })
        .await
        .expect("it is still the session of a person");

    // A replica that starts later learns of the change before its first request. A new proof starts another session.
    let second = cluster.replica();
    let later = in_session.at(&second);
    assert_eq!(update(&later, change.clone()).await.expect_err("forgotten").reason, "STEP_UP_REQUIRED");
    update(&other, change).await.expect("another session");
}

#[tokio::test]
async fn a_program_sees_the_keys_of_its_person_and_changes_none() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let (replica, user) = (cluster.replica(), cluster.user());
    let (mut person, program) = (user.at(&replica), cluster.program(&user).at(&replica));
    up(&mut person).await;
    let key = create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let change = UpdateProviderKeyRequest { key_id: key.id.clone(), ..Default::default() };
    for refused in [
        create(&program, new_key(&own, SECOND, "")).await.map(drop),
        update(&program, UpdateProviderKeyRequest { display_name: Some("renamed".into()), ..change.clone() }).await.map(drop),
        update(&program, UpdateProviderKeyRequest { key: SECOND.into(), ..change }).await.map(drop),
        delete(&program, &key.id).await,
    ] {
        assert_eq!(refused.expect_err("a program").reason, "SESSION_REQUIRED");
    }
    let listed = list(&program, "").await.expect("a list");
    assert_eq!(
        listed.iter().map(|one| (&one.id, &one.display_name, &one.last_four)).collect::<Vec<_>>(),
        [(&key.id, &key.display_name, &key.last_four)]
    );
}

#[tokio::test]
async fn an_error_of_the_provider_does_not_show_the_key() {
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    up(&mut person).await;
    create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let (_, events) = person.run(prompt("d", "ECHO_KEY")).await;
    assert_eq!(failure(&events), "PROVIDER_REFUSED");
    assert!(!format!("{events:?}").contains("canary") && format!("{events:?}").contains("[redacted]"), "{:?}", events.last());
}

#[tokio::test]
async fn a_private_address_needs_the_permission_of_the_operator() {
    let cluster = Cluster::start(&[]).await;
    let own = Model::start().await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    up(&mut person).await;
    for url in [own.url.as_str(), "https://127.0.0.1", "https://169.254.169.254/latest", "http://api.openai.com/v1", "https://localhost."] {
        let request = CreateProviderKeyRequest { base_url: url.into(), ..new_key(&own, CANARY, "") };
        match create(&person, request).await {
            Err(fault) => assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "base_url"), "{url}"),
            // A name is checked when it is resolved.
            Ok(_) => assert_eq!(url, "https://localhost."),
        }
    }
    let (_, events) = person.run(prompt("d", "SAY nothing")).await;
    assert_eq!((failure(&events), own.calls()), ("PROVIDER_ERROR", 0));
}

#[tokio::test]
async fn stored_keys_follow_a_new_cluster_secret() {
    const NEW: &str = "the next cluster secret of these tests, 2";
    let cluster = Cluster::start(&[LOOPBACK]).await;
    let own = Model::start().await;
    let (before, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&before);
    up(&mut person).await;
    create(&person, new_key(&own, CANARY, "")).await.expect("created");
    let mut db = cluster.turns_db().await;
    let sealed = async |db: &mut sqlx::PgConnection| -> Vec<u8> {
        sqlx::query_scalar("SELECT sealed FROM provider_keys").fetch_one(db).await.unwrap()
    };
    let old = sealed(&mut db).await;
    // The second round of the replacement: the new secret seals, and the old one is accepted.
    let replica = cluster.replica_with(&[("BACKLOT_CLUSTER_SECRET", NEW), ("BACKLOT_CLUSTER_SECRET_PREVIOUS", crate::harness::SECRET)]);
    let new = chassis::testing::eventually(crate::harness::SOON, async || {
        let mut db = cluster.turns_db().await;
        Some(sealed(&mut db).await).filter(|now| *now != old)
    })
    .await;
    assert_eq!(new[new.len() - 20..], old[old.len() - 20..], "only the data key was wrapped again");
    // A replica of the first round signs with the old secret, which the other services of this test know, and opens with both.
    before.crash();
    replica.crash();
    let replica = cluster.replica_with(&[("BACKLOT_CLUSTER_SECRET_PREVIOUS", NEW)]);
    let mut person = user.at(&replica);
    person.run(prompt("d", "SAY on")).await;
    assert_eq!(own.keys(), [format!("Bearer {CANARY}")]);
}
