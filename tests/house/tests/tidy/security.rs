//! The tables of docs/threats.md and docs/asvs.md. A row that names a test names one that exists and runs, and each other row has a reason.
//! Rows of the programme of security tests have tests of their names.

use std::{collections::BTreeSet, fs};

use house::root;

use crate::live_tests::Files;

/// A table: its page, what the id of a row begins with, and its columns. The last two are the state, and the test or the reason.
struct Table {
    page: &'static str,
    ids: &'static [&'static str],
    columns: usize,
}

const THREATS: Table = Table { page: "docs/threats.md", ids: &["T-"], columns: 6 };
const ASVS: Table = Table { page: "docs/asvs.md", ids: &["1", "2", "3", "4", "5", "6", "7", "8", "9"], columns: 5 };
const MIN_THREATS: usize = 60;

/// The requirements of ASVS 5.0 by level, without those of chapter 17 (WebRTC): seven of level 2. Of level 3 only [`LEVEL_3`].
const REQUIREMENTS: [(&str, usize); 3] = [("1", 70), ("2", 183 - 7), ("3", LEVEL_3.len())];
const LAST_CHAPTER: u32 = 16;
/// The requirements of level 3 that the page has.
const LEVEL_3: [&str; 17] = [
    "1.3.12", "4.2.2", "4.2.3", "4.2.4", "4.2.5", "5.2.4", "5.2.5", "5.3.3", "6.3.8", "8.3.2", "8.3.3", "11.2.4", "11.3.4", "13.1.2",
    "13.1.3", "15.4.2", "16.5.4",
];

/// The rows A3 to A25 of the test programme that tests are named after, such as `a3_two_thousand_families`. Other rows are whole test programs.
const PROGRAMME: [u32; 14] = [3, 4, 5, 6, 7, 8, 11, 12, 13, 17, 18, 19, 23, 25];

const STATES: [&str; 4] = ["test", "manual", "not applicable", "not yet"];
/// Characters of a reason.
const MIN_REASON: usize = 20;

struct Row {
    page: &'static str,
    id: String,
    cells: Vec<String>,
}

impl Row {
    fn state(&self) -> &str {
        &self.cells[self.cells.len() - 2]
    }

    /// The tests, or the reason that there is none.
    fn evidence(&self) -> &str {
        &self.cells[self.cells.len() - 1]
    }

    fn has(&self, problem: &str) -> String {
        format!("{}, {}: {problem}", self.page, self.id)
    }

    /// The texts between backticks in all cells.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().flat_map(|cell| code(cell))
    }
}

fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The file and the function of `path.rs::function`.
fn test_of(code: &str) -> Option<(&str, &str)> {
    code.split_once("::").filter(|(path, _)| path.ends_with(".rs") && path.contains('/'))
}

fn rows(table: &Table) -> Vec<Row> {
    let text = fs::read_to_string(root().join(table.page)).unwrap_or_else(|e| panic!("{}: {e}", table.page));
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    let wanted = cells.filter(|cells| table.ids.iter().any(|start| cells[0].starts_with(start)));
    wanted
        .map(|cells| {
            assert_eq!(cells.len(), table.columns, "{}: {cells:?}", table.page);
            Row { page: table.page, id: cells[0].clone(), cells }
        })
        .collect()
}

/// Fails with all problems at once.
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn all_rows() -> Vec<Row> {
    [THREATS, ASVS].iter().flat_map(rows).collect()
}

#[test]
fn every_row_has_a_state_and_a_test_or_a_reason() {
    let problem = |row: &Row| match row.state() {
        "test" if !code(row.evidence()).any(|code| test_of(code).is_some()) => Some("no test is named"),
        // What has no test has another state.
        "test" => row.evidence().contains("no test").then_some("it says that there is no test"),
        state if STATES.contains(&state) => (row.evidence().chars().count() < MIN_REASON).then_some("there is no reason"),
        _ => Some("the state is not one of the four"),
    };
    none(all_rows().iter().filter_map(|row| problem(row).map(|problem| row.has(problem))).collect());
}

#[test]
fn only_requirements_of_level_3_are_not_yet_met() {
    let early = rows(&ASVS).into_iter().filter(|row| row.cells[1] != "3" && row.state() == "not yet");
    none(early.map(|row| row.has("only a row of level 3 may be `not yet`")).collect());
}

#[test]
fn every_test_that_a_row_names_exists_and_runs() {
    let files = Files::of_repository();
    let (rows, mut problems) = (all_rows(), Vec::new());
    for row in &rows {
        let missing = row.code().filter_map(test_of).filter(|(path, name)| !files.has_live_test(path, name));
        problems.extend(missing.map(|(path, name)| row.has(&format!("there is no test {path}::{name} that runs"))));
    }
    none(problems);
}

#[test]
fn every_file_that_a_row_names_exists() {
    let is_ours = |path: &&str| path.split_once('/').is_some_and(|(folder, _)| !folder.is_empty() && root().join(folder).is_dir());
    let mut problems = Vec::new();
    for row in all_rows() {
        let named = row.code().filter(|code| test_of(code).is_none()).filter(is_ours);
        problems.extend(named.filter(|path| !root().join(path).exists()).map(|path| row.has(&format!("there is no {path}"))));
    }
    let without_file = rows(&THREATS).into_iter().filter(|row| row.state() == "test" && code(&row.cells[3]).next().is_none());
    problems.extend(without_file.map(|row| row.has("no file has the defence")));
    none(problems);
}

#[test]
fn threats_have_ids() {
    let threats = rows(&THREATS);
    let ids: BTreeSet<_> = threats.iter().map(|row| &row.id).collect();
    assert!(threats.len() >= MIN_THREATS && ids.len() == threats.len(), "{} threats, {} ids", threats.len(), ids.len());
    let page = fs::read_to_string(root().join(THREATS.page)).expect("the page");
    let lines = page.lines().filter(|line| line.trim_start_matches(['|', ' ']).starts_with("T-")).count();
    assert_eq!(lines, threats.len(), "a row that cannot be read");
    let is_number = |id: &str| id.strip_prefix("T-").is_some_and(|digits| digits.len() == 3 && digits.parse::<u16>().is_ok());
    assert!(ids.iter().all(|id| is_number(id)), "{ids:?}");
}

#[test]
fn the_requirements_of_asvs_are_complete_and_in_order() {
    let rows = rows(&ASVS);
    let number = |id: &str| -> Vec<u32> { id.split('.').map(|part| part.parse().unwrap_or_else(|_| panic!("{id}"))).collect() };
    let ids: Vec<_> = rows.iter().map(|row| number(&row.id)).collect();
    let misplaced = ids.windows(2).find(|pair| pair[0] >= pair[1]);
    assert!(misplaced.is_none(), "an id is twice, or not in its place: {misplaced:?}");
    assert!(ids.iter().all(|id| id.len() == 3 && id[0] <= LAST_CHAPTER));
    assert_eq!(ids.iter().map(|id| id[0]).collect::<BTreeSet<_>>(), (1..=LAST_CHAPTER).collect(), "every chapter has rows");
    for (level, expected) in REQUIREMENTS {
        assert_eq!(rows.iter().filter(|row| row.cells[1] == level).count(), expected, "rows of level {level}");
    }
    let level_3: Vec<_> = rows.iter().filter(|row| row.cells[1] == "3").map(|row| row.id.as_str()).collect();
    assert_eq!(level_3, LEVEL_3);
    assert_eq!(rows.len(), REQUIREMENTS.iter().map(|(_, count)| count).sum::<usize>());
}

#[test]
fn every_row_of_the_programme_has_a_live_test_of_its_name() {
    let files = Files::of_repository();
    let has_test = |(path, text): (&str, &str), row: u32| {
        let prefix = format!("fn a{row}_");
        let mut names = text.split(&prefix).skip(1).filter_map(|rest| rest.split_once('('));
        names.any(|(name, _)| files.has_live_test(path, &format!("a{row}_{name}")))
    };
    let missing: Vec<_> = PROGRAMME.into_iter().filter(|row| !files.texts().any(|file| has_test(file, *row))).collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
}
