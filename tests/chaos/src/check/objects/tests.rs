//! Stores that are complete, and what the rules report for stores that are not.

use super::*;

const COMMIT: Oid = [1; 20];
const PARENT: Oid = [2; 20];
const ROOT: Oid = [3; 20];
const FOLDER: Oid = [4; 20];
const FILE: Oid = [5; 20];
const THEIRS: Oid = [6; 20];

/// A revision with a parent, a folder and a file; the parent has no files. A conflict has a commit of its own.
fn complete() -> Store {
    let commit = |tree: Oid, parents: &[Oid]| {
        let parents: String = parents.iter().map(|parent| format!("parent {}\n", hex(parent))).collect();
        read(1, format!("tree {}\n{parents}author x <x> 1 +0000\ncommitter x <x> 1 +0000\n\ntree of life\n", hex(&tree)).as_bytes())
    };
    let tree = |name: &str, oid: Oid| read(2, &[name.as_bytes(), &[0], &oid].concat());
    let objects = [
        (COMMIT, commit(ROOT, &[PARENT])),
        (PARENT, commit(EMPTY_TREE, &[])),
        (ROOT, tree("40000 folder", FOLDER)),
        (FOLDER, tree("100644 file", FILE)),
        (FILE, read(3, b"a text")),
        (THEIRS, commit(ROOT, &[COMMIT])),
    ];
    let roots = vec![("the head".to_owned(), COMMIT), ("a conflict".to_owned(), THEIRS)];
    Store { id: "s".to_owned(), objects: objects.into(), roots }
}

fn texts(found: &[Violation]) -> Vec<&str> {
    found.iter().map(|violation| violation.text.as_str()).collect()
}

#[test]
fn a_complete_store_violates_no_rule() {
    assert_eq!(check(&complete()), []);
    assert_eq!(check_swept(&complete()), []);
    assert_eq!(check(&Store::default()), []);
}

#[test]
fn every_missing_or_damaged_object_is_found() {
    for oid in [COMMIT, PARENT, ROOT, FOLDER, FILE, THEIRS] {
        let mut store = complete();
        store.objects.remove(&oid);
        let found = check(&store);
        assert!(found.len() == 1 && found[0].rule == "reachable objects exist" && found[0].text.contains(&hex(&oid)), "{found:?}");
        store.objects.insert(oid, Object::Damaged("has 1 of 2 bytes".to_owned()));
        assert!(texts(&check(&store))[0].contains("has 1 of 2 bytes"));
    }
    let mut store = complete();
    store.objects.remove(&FILE);
    let text = &check(&store)[0].text;
    assert!(text.contains(&format!("which object {} of", hex(&FOLDER))) && text.contains("missing"), "{text}");
}

#[test]
fn an_object_that_nothing_names_is_left_only_before_a_sweep() {
    let mut store = complete();
    store.roots.pop();
    assert_eq!(check(&store), []);
    let found = check_swept(&store);
    assert!(found.len() == 1 && found[0].rule == "unreachable objects are deleted" && found[0].text.contains(&hex(&THEIRS)), "{found:?}");
}

#[test]
fn data_that_is_not_of_git_is_damaged() {
    for (kind, data) in [(1, &b"author x"[..]), (1, b"tree 00"), (2, b"100644 file"), (2, b"100644 file\0short"), (4, b"")] {
        assert!(matches!(read(kind, data), Object::Damaged(_)), "{kind} {data:?}");
    }
    assert_eq!(read(2, b""), Object::Links(Vec::new()));
}

#[test]
fn an_object_with_another_content_than_its_id_says_is_damaged() {
    let oid = parse("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
    assert_eq!(read_checked(&oid, 3, b"hello\n"), Object::File);
    for (kind, content) in [(3, &b"hallo\n"[..]), (3, b"hello"), (3, b""), (1, b"hello\n"), (9, b"hello\n")] {
        assert!(matches!(read_checked(&oid, kind, content), Object::Damaged(_)), "{kind} {content:?}");
    }
    assert_eq!(read_checked(&EMPTY_TREE, 2, b""), Object::Links(Vec::new()));
}
