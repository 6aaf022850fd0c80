//! Checks of revisions and of turns, with the real role compile and its compiler.

use proto::{
    agent_streaming::{
        CheckFinding, ChecksFinished, ChecksStatus, GetFindingsRequest, GetFindingsResponse, StartTurnRequest, TurnEvent, TurnState,
        turn_event::Kind,
    },
    error::{ErrorCode, Fault},
    project_storage::file_content::Data,
};

use serde_json::{Value, json};

use crate::harness::{Cluster, Person, failure, prompt, save, types, upload};

const COMPILE: &[(&str, &str)] = &[("TEST_COMPILE", "1")];
const PAGE: &str = "<!doctype html><body><script type=module src=/src/main.ts></script></body>";
const MAIN: &str = "import { greet } from './greet';\ndocument.body.append(greet('Ann'));\n";
const GREET: &str = "export const greet = (name: string): string => `Hello, ${name}`;\n";
const MENDED: &str = "import { greet } from './greet';\ndocument.body.append(greet('Bob'));\n";
const BROKEN: &str = "import { greet } from './great';\ndocument.body.append(greet('Ann'));\n";

async fn findings(person: &Person, project: &str, revision: &str) -> Result<GetFindingsResponse, Fault> {
    let request = GetFindingsRequest { project_id: project.to_owned(), revision: revision.to_owned() };
    let answer = person.turns.clone().get_findings(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| Fault::from_status(&status))
}

fn places(findings: &[CheckFinding]) -> Vec<(&str, &str, u32)> {
    findings.iter().map(|finding| (finding.code.as_str(), finding.file.as_str(), finding.line)).collect()
}

#[tokio::test]
async fn every_revision_has_findings() {
    let cluster = Cluster::start(COMPILE).await;
    let replica = cluster.replica();
    let (mut person, stranger) = (cluster.user().at(&replica), cluster.user().at(&replica));
    person.run(prompt("warm", "SAY up")).await;

    let (project, broken) = save(&person, "d", &[("index.html", PAGE), ("src/main.ts", BROKEN), ("src/greet.ts", GREET)]).await;
    let answer = findings(&person, &project, "").await.unwrap();
    assert_eq!((answer.status(), answer.revision.as_str()), (ChecksStatus::Findings, broken.as_str()));
    assert_eq!(places(&answer.findings), [("UNRESOLVED_IMPORT", "src/main.ts", 1)]);
    assert!(answer.findings[0].frame.contains("./great") && answer.findings[0].column > 1, "{:?}", answer.findings);

    let (_, clean) = save(&person, "d", &[("src/main.ts", MAIN)]).await;
    let answer = findings(&person, &project, "").await.unwrap();
    assert_eq!((answer.status(), answer.revision.as_str(), answer.findings.len()), (ChecksStatus::Clean, clean.as_str(), 0));
    assert_eq!(findings(&person, &project, &broken).await.unwrap().status(), ChecksStatus::Findings, "of an earlier revision");

    let (plain, _) = save(&person, "plain", &[("index.html", "<script src=none.js></script>"), ("app.js", "let a = ;\n")]).await;
    let answer = findings(&person, &plain, "").await.unwrap();
    assert_eq!(answer.status(), ChecksStatus::Findings, "files that a browser gets as they are");
    assert_eq!(places(&answer.findings), [("SYNTAX_ERROR", "app.js", 1), ("MISSING_FILE", "index.html", 1)]);
    let (text, _) = save(&person, "text", &[("notes.txt", "a")]).await;
    assert_eq!(findings(&person, &text, "").await.unwrap().status(), ChecksStatus::NotCompiled, "nothing to check");

    let absent = "0".repeat(40);
    for (who, project, revision, code, reason) in [
        (&stranger, project.as_str(), "", ErrorCode::NotFound, "PROJECT_NOT_FOUND"),
        (&stranger, project.as_str(), broken.as_str(), ErrorCode::NotFound, "PROJECT_NOT_FOUND"),
        (&person, plain.as_str(), broken.as_str(), ErrorCode::NotFound, "REVISION_NOT_FOUND"),
        (&person, project.as_str(), absent.as_str(), ErrorCode::NotFound, "REVISION_NOT_FOUND"),
        (&person, project.as_str(), "HEAD", ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (&person, "x", "", ErrorCode::InvalidArgument, "INVALID_FIELD"),
    ] {
        let fault = findings(who, project, revision).await.unwrap_err();
        assert_eq!((fault.code, fault.reason.as_str()), (code, reason), "{project} {revision}");
    }
}

#[tokio::test]
async fn without_compile_the_findings_are_unavailable() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let (project, revision) = save(&person, "d", &[("index.html", PAGE), ("src/main.ts", BROKEN)]).await;
    let answer = findings(&person, &project, "").await.unwrap();
    assert_eq!((answer.status(), answer.revision), (ChecksStatus::Unavailable, revision));
    assert!(answer.findings.is_empty());
}

/// A project without faults, in Vite's layout.
async fn project(person: &Person, draft: &str) -> String {
    save(person, draft, &[("index.html", PAGE), ("src/main.ts", MAIN), ("src/greet.ts", GREET)]).await.0
}

fn write(path: &str, text: &str) -> Value {
    json!(["write_file", json!({ "path": path, "content": text }).to_string()])
}

/// The order to make calls, with another order for the findings.
fn order(then: Option<(&str, Value)>, calls: &Value) -> String {
    let then = then.map(|(word, calls)| format!("{word} {calls}\n")).unwrap_or_default();
    format!("{then}TOOLS {calls}")
}

fn checks(events: &[TurnEvent]) -> Vec<&ChecksFinished> {
    let of = |event: &'_ TurnEvent| matches!(event.kind, Some(Kind::ChecksFinished(_)));
    events
        .iter()
        .filter(|event| of(event))
        .filter_map(|event| if let Some(Kind::ChecksFinished(e)) = &event.kind { Some(e) } else { None })
        .collect()
}

fn outcomes(events: &[TurnEvent]) -> Vec<(ChecksStatus, bool)> {
    checks(events).iter().map(|checks| (checks.status(), checks.is_returned)).collect()
}

async fn text(person: &mut Person, project: &str, path: &str) -> String {
    let files = person.load(project).await.files;
    let content = files.into_iter().find(|file| file.path == path).and_then(|file| file.content).and_then(|content| content.data);
    match content {
        Some(Data::Text(text)) => text,
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn a_turn_gets_its_errors_once_and_may_correct_them() {
    use ChecksStatus::{Clean, Findings};
    let cluster = Cluster::start(COMPILE).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;

    let of = project(&person, "mended").await;
    let corrects = Some(("THEN", json!([write("src/main.ts", MAIN), write("src/more.ts", "export {};\n")])));
    let (turn, events) = person.run(prompt("mended", &order(corrects, &json!([write("src/main.ts", BROKEN)])))).await;
    assert_eq!(outcomes(&events), [(Findings, true), (Clean, false)]);
    assert_eq!(places(&checks(&events)[0].findings), [("UNRESOLVED_IMPORT", "src/main.ts", 1)]);
    assert!(checks(&events)[0].findings[0].is_new);
    assert_eq!(types(&events)[events.len() - 4..], ["checks.finished", "turn.committing", "files.committed", "turn.completed"]);
    assert_eq!((turn.state(), text(&mut person, &of, "src/main.ts").await.as_str()), (TurnState::Completed, MAIN));

    let of = project(&person, "left").await;
    let (turn, events) = person.run(prompt("left", &order(None, &json!([write("src/main.ts", BROKEN)])))).await;
    assert_eq!(outcomes(&events), [(Findings, true), (Findings, false)], "the turn commits with its findings");
    assert_eq!((turn.state(), text(&mut person, &of, "src/main.ts").await.as_str()), (TurnState::Completed, BROKEN));

    // The head has the error now. Another turn does not get it.
    let (_, events) = person.run(prompt("left", "WRITE src/other.ts export {};")).await;
    assert_eq!(outcomes(&events), [(Findings, false)]);
    assert!(checks(&events)[0].findings.iter().all(|finding| !finding.is_new));

    let (turn, events) = person.run(prompt("plain", "WRITE index.html <script src=none.js>")).await;
    assert_eq!((outcomes(&events), turn.state()), (vec![(Findings, true), (Findings, false)], TurnState::Completed));
    assert_eq!(places(&checks(&events)[0].findings), [("MISSING_FILE", "index.html", 1)]);

    for (draft, text) in [("left", "SAY nothing"), ("text", "WRITE notes.txt <p>")] {
        let (turn, events) = person.run(StartTurnRequest { require_clean_files: true, ..prompt(draft, text) }).await;
        assert_eq!((outcomes(&events).len(), turn.state()), (0, TurnState::Completed), "{draft}: nothing to check");
    }
}

#[tokio::test]
async fn a_turn_that_asks_for_clean_files_commits_no_others() {
    use ChecksStatus::{Clean, Findings};
    let cluster = Cluster::start(COMPILE).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let of = project(&person, "d").await;
    let clean = |text: &str| StartTurnRequest { require_clean_files: true, ..prompt("d", text) };

    let (turn, events) = person.run(clean(&order(None, &json!([write("src/main.ts", BROKEN)])))).await;
    assert_eq!((outcomes(&events), failure(&events)), (vec![(Findings, true), (Findings, false)], "FILES_NOT_CLEAN"));
    assert!(turn.require_clean_files && turn.failure_reason == "FILES_NOT_CLEAN");
    assert_eq!(text(&mut person, &of, "src/main.ts").await, MAIN);

    let (_, events) = person.run(clean("WRITE src/other.ts export {};")).await;
    assert_eq!((outcomes(&events), types(&events).last().copied()), (vec![(Clean, false)], Some("turn.completed")));
}

#[tokio::test]
async fn a_project_without_a_preview_can_have_clean_files() {
    let cluster = Cluster::start(COMPILE).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let manifest = |package: &str| format!(r#"{{"dependencies":{{"{package}":"1","react":"19"}}}}"#);
    let server = "import express from 'express';\nimport { port } from './port';\nexpress().listen(port);\n";
    let port = ("src/port.ts", "export const port = 1;\n");
    let page = ("app/page.tsx", "import Link from 'next/link';\nexport default () => <Link href='/'>a</Link>;\n");
    for (draft, package, files, path, broken) in [
        ("server", "express", vec![("src/main.ts", server), port], "src/main.ts", server.replace("./port", "./prt")),
        ("next", "next", vec![page], "app/page.tsx", page.1.replace("'next/link'", "'./link'")),
        ("plain", "express", vec![("server.js", "require('express')().listen(1);\n")], "server.js", "require(".to_owned()),
    ] {
        let manifest = manifest(package);
        save(&person, draft, &[&[("package.json", manifest.as_str())], &files[..]].concat()).await;
        let clean = |text: &str| StartTurnRequest { require_clean_files: true, ..prompt(draft, text) };
        let (turn, events) = person.run(clean("WRITE notes.txt a note")).await;
        assert_eq!((turn.failure_reason.as_str(), turn.state()), ("", TurnState::Completed), "{draft}");
        assert!(checks(&events)[0].findings.iter().all(|finding| finding.is_warning), "{draft}");
        let (turn, events) = person.run(clean(&order(None, &json!([write(path, &broken)])))).await;
        assert_eq!((failure(&events), turn.failure_reason.as_str()), ("FILES_NOT_CLEAN", "FILES_NOT_CLEAN"), "{draft}");
    }
}

#[tokio::test]
async fn a_correction_without_steps_left_commits_what_there_is() {
    use ChecksStatus::{Clean, Findings};
    let cluster = Cluster::start(&[COMPILE, &[("BACKLOT_MAX_STEPS", "4")]].concat()).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let more = |n: usize| write("src/more.ts", &format!("export const n = {n};\n"));
    let broken = json!([write("src/main.ts", BROKEN)]);

    // Two steps bring the error, and two are left.
    for (draft, first, outcome, content) in [
        ("open", write("src/main.ts", &BROKEN.replace("Ann", "Bob")), Findings, BROKEN.replace("Ann", "Bob")),
        ("mended", write("src/main.ts", MENDED), Clean, MENDED.to_owned()),
    ] {
        let of = project(&person, draft).await;
        let corrects = Some(("THEN", json!([first, more(1), more(2), more(3)])));
        let (turn, events) = person.run(prompt(draft, &order(corrects, &broken))).await;
        assert_eq!((outcomes(&events), turn.state()), (vec![(Findings, true), (outcome, false)], TurnState::Completed), "{draft}");
        assert_eq!(text(&mut person, &of, "src/main.ts").await, content);
        assert_eq!(text(&mut person, &of, "src/more.ts").await, "export const n = 1;\n");
    }

    project(&person, "clean").await;
    let corrects = Some(("THEN", json!([more(1), more(2), more(3)])));
    let request = StartTurnRequest { require_clean_files: true, ..prompt("clean", &order(corrects, &broken)) };
    let (_, events) = person.run(request).await;
    assert_eq!((outcomes(&events), failure(&events)), (vec![(Findings, true), (Findings, false)], "FILES_NOT_CLEAN"));

    // Without a check the model was never done.
    let (_, events) = person.run(prompt("mended", &order(None, &json!([more(4), more(5), more(6), more(7), more(8)])))).await;
    assert_eq!((outcomes(&events), failure(&events)), (vec![], "TOO_MANY_STEPS"));
}

#[tokio::test]
async fn an_error_of_a_moved_file_is_not_new() {
    let cluster = Cluster::start(COMPILE).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let old = "import { a } from './none';\nexport const old = a;\n";
    let of = |events: &[TurnEvent]| -> Vec<(String, bool)> {
        checks(events)[0].findings.iter().map(|finding| (finding.file.clone(), finding.is_new)).collect()
    };
    for (draft, calls) in [
        ("renamed", json!([["rename_file", json!({ "path": "src/old.ts", "new_path": "src/new.ts" }).to_string()]])),
        (
            "edited",
            json!([
                ["rename_file", json!({ "path": "src/old.ts", "new_path": "src/new.ts" }).to_string()],
                write("src/new.ts", &old.replace("old", "fresh"))
            ]),
        ),
        ("copied", json!([write("src/new.ts", old), ["delete_file", json!({ "path": "src/old.ts" }).to_string()]])),
    ] {
        project(&person, draft).await;
        save(&person, draft, &[("src/old.ts", old)]).await;
        let (turn, events) = person.run(prompt(draft, &order(None, &calls))).await;
        assert_eq!(of(&events), [("src/new.ts".to_owned(), false)], "{draft}");
        assert_eq!((outcomes(&events), turn.state()), (vec![(ChecksStatus::Findings, false)], TurnState::Completed), "{draft}");
    }
}

#[tokio::test]
async fn a_source_above_the_limit_of_texts_is_checked() {
    let cluster = Cluster::start(COMPILE).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let of = project(&person, "d").await;
    // More than a text of any plan may have.
    let large = format!("export const large = 1;\n{}export const broken = ;\n", "// filler\n".repeat(60_000)).into_bytes();
    upload(&person, &of, "src/large.ts", &large).await;

    for calls in [
        json!([write("src/main.ts", MENDED)]),
        json!([["rename_file", json!({ "path": "src/large.ts", "new_path": "src/big.ts" }).to_string()]]),
    ] {
        let (turn, events) = person.run(prompt("d", &order(None, &calls))).await;
        assert_eq!((outcomes(&events), turn.state()), (vec![(ChecksStatus::Findings, false)], TurnState::Completed));
        let found = checks(&events)[0];
        assert_eq!((found.findings[0].code.as_str(), found.findings[0].line, found.findings[0].is_new), ("SYNTAX_ERROR", 60_002, false));
    }
}

#[tokio::test]
async fn without_compile_a_turn_commits_unless_it_asks_for_clean_files() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let of = project(&person, "d").await;

    let calls = json!([write("src/main.ts", BROKEN), ["check", "{}"]]);
    let (_, events) = person.run(StartTurnRequest { require_clean_files: true, ..prompt("d", &order(None, &calls)) }).await;
    assert_eq!((outcomes(&events), failure(&events)), (vec![(ChecksStatus::Unavailable, false); 2], "CHECKS_UNAVAILABLE"));
    let (turn, events) = person.run(prompt("d", "WRITE src/main.ts more")).await;
    assert_eq!((outcomes(&events), turn.state()), (vec![(ChecksStatus::Unavailable, false)], TurnState::Completed));
    assert_eq!(text(&mut person, &of, "src/main.ts").await, "more");
}

#[tokio::test]
async fn a_recovered_turn_has_the_findings_of_its_log() {
    let mut cluster = Cluster::start(COMPILE).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    person.run(prompt("warm", "SAY up")).await;
    let of = project(&person, "d").await;
    let broken = json!([write("src/main.ts", BROKEN), ["check", "{}"]]);
    let request = prompt("d", &order(Some(("THEN_HANG", json!([write("src/main.ts", MENDED)]))), &broken));
    let turn = person.start(request).await;
    let mut returned = false;
    let asked = |event: &TurnEvent| matches!(&event.kind, Some(Kind::TextDelta(delta)) if delta.text == "wait");
    let (events, end) = person.follow_until(&turn.id, 0, asked).await;
    end.unwrap();
    for checks in checks(&events) {
        returned |= checks.is_returned;
        assert_eq!(places(&checks.findings), [("UNRESOLVED_IMPORT", "src/main.ts", 1)]);
    }
    assert!(returned);
    assert!(!checks(&events)[0].call_id.is_empty(), "the tool");
    dying.crash();
    cluster.compile.take().unwrap().crash();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm2", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(
        outcomes(&events),
        [(ChecksStatus::Findings, false), (ChecksStatus::Findings, true), (ChecksStatus::Unavailable, false)],
        "compile was not asked for the first two again"
    );
    assert_eq!(text(&mut person, &of, "src/main.ts").await, MENDED);
    let order = cluster.model.requests(&format!("THEN_HANG {}", json!([write("src/main.ts", MENDED)])));
    assert_eq!(order.len(), 3, "one that hung, one after the recovery, and one with the result of its call");
    assert_eq!(order[0], order[1], "the same messages");
    let sent = order[0].to_string();
    assert!(sent.matches("UNRESOLVED_IMPORT").count() >= 2 && sent.contains("./great"), "{sent}");
}
