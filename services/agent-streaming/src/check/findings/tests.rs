use super::*;

fn finding(file: &str, line: u32, message: &str) -> CheckFinding {
    CheckFinding {
        code: "UNRESOLVED_IMPORT".into(),
        file: file.into(),
        line,
        column: 8,
        message: message.into(),
        ..CheckFinding::default()
    }
}

#[test]
fn findings_that_the_base_has_are_not_new() {
    let base = [finding("a.ts", 1, "x"), finding("a.ts", 2, "x"), finding("b.ts", 1, "y")];
    let mut findings =
        [finding("a.ts", 7, "x"), finding("a.ts", 8, "x"), finding("a.ts", 9, "x"), finding("b.ts", 1, "z"), finding("c.ts", 1, "y")];
    mark_new(&mut findings, &base, &HashMap::new());
    assert_eq!(findings.map(|finding| finding.is_new), [false, false, true, true, true]);
}

#[test]
fn findings_of_a_moved_file_are_those_of_the_file_that_it_was() {
    let base = [finding("old.ts", 1, "x"), finding("a.ts", 1, "y")];
    let origins = HashMap::from([("new.ts".to_owned(), "old.ts".to_owned())]);
    let mut findings = [finding("new.ts", 4, "x"), finding("new.ts", 5, "x"), finding("new.ts", 1, "y"), finding("a.ts", 1, "y")];
    mark_new(&mut findings, &base, &origins);
    assert_eq!(findings.map(|finding| finding.is_new), [false, true, true, false]);
}

#[test]
fn an_event_has_the_most_important_findings_and_stays_small() {
    let warning = CheckFinding { is_warning: true, is_new: true, ..finding("a.ts", 1, "warning") };
    let old = finding("b.ts", 1, "old");
    let new = CheckFinding { is_new: true, ..finding("c.ts", 1, "new") };
    let event = Checks::Found(vec![warning, old, new]).into_event("c1", true);
    assert_eq!(event.findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>(), ["new", "old", "warning"]);
    assert_eq!((event.status(), event.total, event.call_id.as_str(), event.is_returned), (ChecksStatus::Findings, 3, "c1", true));

    let long =
        CheckFinding { frame: "é".repeat(100_000), help: "h".repeat(100_000), ..finding(&"f".repeat(9_000), 1, &"m".repeat(9_000)) };
    let event = Checks::Found(vec![long; 200]).into_event("", false);
    assert!(!event.findings.is_empty() && event.findings.len() < MAX_FINDINGS && event.encoded_len() < MAX_BYTES + 1_000);
    assert_eq!(event.total, 200);
    assert!(result(&event).ends_with("more findings]\n"));

    let short = Checks::Found(vec![finding("a.ts", 1, "x"); 200]).into_event("", false);
    assert_eq!(short.findings.len(), MAX_FINDINGS);
}

#[test]
fn every_outcome_has_a_status_and_a_text() {
    for (checks, status, text) in [
        (Checks::NoSources, ChecksStatus::NotCompiled, "the project has no file that can be checked"),
        (Checks::Unavailable, ChecksStatus::Unavailable, "the files could not be checked"),
        (Checks::Found(Vec::new()), ChecksStatus::Clean, "no findings"),
        (Checks::Found(vec![finding("a.ts", 1, "x")]), ChecksStatus::Findings, "1 finding"),
    ] {
        let event = checks.into_event("", false);
        assert_eq!((event.status(), summary(&event).as_str()), (status, text));
        assert!(!result(&event).is_empty());
    }
}

#[test]
fn the_model_reads_place_code_frame_and_help() {
    let found = CheckFinding { frame: "1 | import x\n  | ^\n".into(), help: "Create the file.".into(), ..finding("a.ts", 1, "not found") };
    let text = request(&Checks::Found(vec![found]).into_event("", true));
    assert!(text.ends_with("\na.ts:1:8: error UNRESOLVED_IMPORT: not found\n1 | import x\n  | ^\nCreate the file.\n"), "{text}");
    let whole = CheckFinding { line: 0, column: 0, is_warning: true, ..finding("a.ts", 0, "odd") };
    assert!(result(&Checks::Found(vec![whole]).into_event("", false)).contains("\na.ts: warning UNRESOLVED_IMPORT: odd\n"));
}
