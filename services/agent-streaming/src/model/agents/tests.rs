use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;
use crate::workspace::tools::catalogue::NAMES;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn load(dir: &Path) -> (Agents, Vec<String>) {
    let (agents, notes) = Agents::load(Some(dir)).expect("a readable folder");
    (agents, notes.iter().map(ToString::to_string).collect())
}

/// The agents that are not built in.
fn own(agents: &Agents) -> Vec<&str> {
    let built_in = Agents::load(None).expect("the built-in agents").0;
    agents.agents.values().filter(|agent| built_in.get(&agent.name) != Some(agent)).map(|agent| agent.name.as_str()).collect()
}

#[test]
fn the_default_agent_has_every_tool() {
    let (agents, notes) = Agents::load(None).expect("the built-in agents");
    let builder = agents.default();
    assert_eq!((builder.name.as_str(), &builder.model), ("builder", &Model::Default));
    assert_eq!(builder.tools, NAMES);
    assert!(builder.body.contains("index.html"));
    assert_eq!(notes, []);
}

#[test]
fn a_folder_adds_and_replaces_agents() {
    let dir = folder(&[
        ("web/zeta.md", "---\nname: zeta\ndescription: Last.\n---\nBe last."),
        ("builder.md", "---\nname: builder\ndescription: Mine.\nmodel: openai/gpt\ntools: [write_file, read_file]\n---\nMine."),
        ("README.md", "# About this folder"),
        ("skills/charts/SKILL.md", "---\nname: charts\ndescription: A skill.\n---\nx"),
        ("skills/charts/notes.md", "---\nname: notes\ndescription: Of the skill.\n---\nx"),
        (".hidden.md", "nothing"),
        ("notes.txt", "nothing"),
    ]);
    let (agents, notes) = load(dir.path());
    assert_eq!((own(&agents), notes), (vec!["builder", "zeta"], Vec::new()));
    let mine = agents.default();
    assert_eq!((&mine.model, mine.tools.join(" ").as_str()), (&Model::Named("openai/gpt".to_owned()), "read_file write_file"));
    assert_eq!(agents.get("none"), None);
}

#[test]
fn a_page_names_its_last_agent_if_there_are_more() {
    let agent = |name: &str| file::parse("x", &format!("---\nname: {name}\ndescription: d\n---\nx")).expect("a valid file").agent;
    let agents = Agents::of(["a", "builder", "c"].map(|name| (name.to_owned(), agent(name))).into(), Skills::load(Vec::new()).0);
    let page = |after, size| {
        let (page, next) = agents.page(&AgentFilter::default(), after, size);
        (page.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), next)
    };
    assert_eq!(page(None, 2), (vec!["a", "builder"], Some("builder")));
    assert_eq!(page(Some("builder"), 2), (vec!["c"], None));
    assert_eq!(page(Some("b"), 2), (vec!["builder", "c"], None));
    assert_eq!(page(Some("c"), 2), (vec![], None));
}

#[test]
fn a_filter_selects_by_category_and_by_words() {
    let (agents, _) = Agents::load(None).expect("the built-in agents");
    let found = |category: &str, query: &str| {
        let filter = AgentFilter { category: category.to_owned(), query: Query::new(query) };
        agents.page(&filter, None, 200).0.iter().map(|agent| agent.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(found("", "").len(), 154);
    assert!(found("", "kanban").contains(&"kanban-board".to_owned()));
    let games = found("games", "");
    assert!(games.contains(&"chess-game".to_owned()) && !games.contains(&"kanban-board".to_owned()), "{games:?}");
    assert_eq!(found("games", "kanban"), Vec::<String>::new());
    assert_eq!(found("no-such-category", ""), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_used_is_a_note() {
    let valid = "---\nname: twin\ndescription: d\n---\nx";
    let dir = folder(&[("a.md", valid), ("b.md", valid), ("c.md", "no front matter"), ("d.md", "---\nname: D\n---\nx")]);
    fs::write(dir.path().join("e.md"), b"\xff").unwrap();
    fs::write(dir.path().join("f.md"), "x".repeat(300_000)).unwrap();
    let (agents, notes) = load(dir.path());
    assert_eq!(own(&agents), ["d", "twin"]);
    for part in [
        "b.md: is ignored: a.md has the name \"twin\"",
        "c.md: is not an agent",
        "d.md: its name",
        "e.md: is not an agent: is not UTF-8",
        "f.md: is not an agent: has more than 262144 bytes",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(part)), "{part}: {notes:?}");
    }
    assert!(Agents::load(Some(Path::new("/nowhere/agents"))).is_err());
}

#[test]
fn the_version_depends_on_each_agent() {
    let dir = folder(&[("a.md", "---\nname: a\ndescription: d\n---\nx")]);
    let (one, _) = load(dir.path());
    assert_eq!(load(dir.path()).0.version(), one.version());
    fs::write(dir.path().join("a.md"), "---\nname: a\ndescription: d\n---\ny").unwrap();
    assert_ne!(load(dir.path()).0.version(), one.version());
}

/// The files of the skill `own` besides its SKILL.md.
fn files(agents: &Agents) -> Vec<(&str, &str)> {
    let skill = agents.skills().all().find(|skill| skill.name == "own").expect("the skill");
    skill.files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

const SKILL: &str = "---\nname: own\ndescription: A skill.\n---\nx";

#[test]
fn a_file_with_control_characters_is_a_note() {
    let agent = |name: &str, more: &str| format!("---\nname: {name}\ndescription: d\n{more}\n---\nx");
    let dir = folder(&[
        ("a.md", &agent("a", "category: \"x\\0y\"\nmodel: \"openai/x\\0\"")),
        ("b.md", &agent("b", "category: x\u{1}")),
        ("own/SKILL.md", SKILL),
        ("own/bell.md", "\u{7}"),
        ("own/lines.md", "a\tb\r\nc\rd\n"),
        ("own/nul.md", "a\0b"),
    ]);
    let (agents, notes) = load(dir.path());
    assert_eq!(own(&agents), ["a"]);
    let mine = agents.get("a").expect("an agent");
    assert_eq!((mine.category.as_str(), &mine.model), ("x y", &Model::Named("openai/x".to_owned())));
    assert_eq!(files(&agents), [("lines.md", "a\tb\r\nc\rd\n")]);
    assert_eq!(
        notes,
        [
            "b.md: is not an agent: has control characters",
            "own/bell.md: is not a file of the skill: has control characters",
            "own/nul.md: is not a file of the skill: has control characters",
        ]
    );
}

#[test]
fn links_lead_only_to_files_of_the_folder() {
    let outside = folder(&[("key.md", "---\nname: key\ndescription: d\n---\nsecret"), ("deep/SKILL.md", SKILL)]);
    // As Kubernetes mounts a ConfigMap: the files are links through a link to a folder.
    let dir = folder(&[("..v1/a.md", "---\nname: a\ndescription: d\n---\nx"), ("..v1/own.md", "Own."), ("own/SKILL.md", SKILL)]);
    for (link, target) in [
        ("..data", "..v1".into()),
        ("a.md", "..data/a.md".into()),
        ("own/own.md", "../..data/own.md".into()),
        ("b.md", outside.path().join("key.md")),
        ("own/gone.md", "nowhere.md".into()),
        ("own/notes.md", outside.path().join("key.md")),
        ("own/parent", outside.path().to_owned()),
        ("own/up.md", Path::new("../../").join(outside.path().file_name().unwrap()).join("key.md")),
        ("skills", outside.path().join("deep")),
    ] {
        symlink(target, dir.path().join(link)).unwrap();
    }
    let (agents, mut notes) = load(dir.path());
    assert_eq!((own(&agents), files(&agents)), (vec!["a"], vec![("own.md", "Own.")]));
    notes.sort();
    let expected = [
        "b.md: is not an agent: is a link to a file outside of the folder",
        "own/gone.md: is not a file of the skill: cannot be read",
        "own/notes.md: is not a file of the skill: is a link to a file outside of the folder",
        "own/parent: is ignored: links to folders are not followed",
        "own/up.md: is not a file of the skill: is a link to a file outside of the folder",
        "skills: is ignored: links to folders are not followed",
    ];
    assert_eq!(notes.len(), expected.len(), "{notes:?}");
    assert!(notes.iter().zip(expected).all(|(note, expected)| note.starts_with(expected)), "{notes:?}");

    let link = outside.path().join("agents");
    symlink(dir.path(), &link).unwrap();
    assert_eq!(files(&load(&link).0), [("own.md", "Own.")], "the folder itself may be a link");
}
