use proptest::prelude::*;
use proto::{agent_streaming::ContextReason, project_storage::FileEntry};

use super::*;
use crate::context::rank::{
    Signals, rank,
    tests::{file, outline},
};

fn contents(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn signals<'a>(files: &'a [FileEntry], outlines: &'a Outlines, pinned: &'a [String]) -> Signals<'a> {
    Signals { files, request: "the cart", outlines, recent: &[], pinned, excluded: &[] }
}

fn forms(chosen: &Chosen) -> Vec<String> {
    chosen.files.iter().map(|file| format!("{} {}", file.path, file.form().as_str_name().trim_start_matches("CONTEXT_FORM_"))).collect()
}

#[test]
fn a_relevant_file_is_shown_as_far_as_it_fits() {
    let files = ["big-cart.js", "cart.js", "logo-cart.png", "other.js", "plain.js"].map(|path| file(path, 10));
    let outlines = BTreeMap::from([
        outline("big-cart.js", &[("boot", 1, 3), ("payCart", 500, 510)], &[]),
        outline("other.js", &[("draw", 1, 2)], &[]),
    ]);
    let long: String = (1..=1_000).map(|line| format!("let value{line} = {line};\n")).collect();
    let ranked = rank(&signals(&files, &outlines, &[]));
    assert_eq!(wanted(&ranked, 0), ["big-cart.js", "cart.js"], "no image, and nothing without a word of the request");
    let texts = contents(&[("big-cart.js", &long), ("cart.js", "let cart;\n"), ("other.js", "draw()")]);
    let chosen = choose(&ranked, &outlines, &texts, ("the cart", 2_000)).unwrap();
    assert_eq!(forms(&chosen), ["big-cart.js RANGED", "cart.js FULL", "other.js OUTLINED"]);
    assert_eq!(chosen.files[0].ranges, [LineRange { first: 498, last: 512 }]);
    assert!(chosen.text.contains("big-cart.js, lines 498 to 512 of 1000:\nlet value498 = 498;\n"), "{}", chosen.text);
    assert!(chosen.text.contains("other.js declares function draw 1-2\n"));
    let bare = choose(&ranked, &BTreeMap::new(), &texts, ("the cart", 2_000)).unwrap();
    assert_eq!(bare.files[0].ranges, [LineRange { first: 1, last: HEAD_LINES }], "without an outline the first lines");
    assert_eq!(choose(&ranked, &outlines, &texts, ("the cart", 0)), Ok(Chosen::default()));
}

#[test]
fn a_pinned_file_is_shown_as_a_whole_or_refused() {
    let files = ["cart.js", "logo.png", "x/a.js", "x/b.js"].map(|path| file(path, 10));
    let (none, pins) = (BTreeMap::new(), ["x".to_owned()]);
    let ranked = rank(&signals(&files, &none, &pins));
    assert_eq!(wanted(&ranked, 10), ["x/a.js", "x/b.js", "cart.js"]);
    assert_eq!(wanted(&ranked, 9), ["x/a.js", "x/b.js"], "an asset is read only if it is pinned, and that is refused before");
    let long = "word ".repeat(400);
    let texts = contents(&[("x/a.js", &long), ("x/b.js", "b"), ("cart.js", "c")]);
    let chosen = choose(&ranked, &none, &texts, ("the cart", 1_000)).unwrap();
    assert_eq!(forms(&chosen), ["x/a.js FULL", "x/b.js FULL", "cart.js FULL"], "more than a quarter of the budget");
    assert_eq!(chosen.files[0].reasons, [i32::from(ContextReason::Pinned)]);
    let refused = choose(&ranked, &none, &texts, ("the cart", 100)).unwrap_err();
    assert!(matches!(&refused, PinError::TooLong { path, left: 100, .. } if path == "x/a.js"), "{refused}");
    let image = ["logo.png".to_owned()];
    let refused = choose(&rank(&signals(&files, &none, &image)), &none, &texts, ("the cart", 100)).unwrap_err();
    assert_eq!(refused, PinError::Unreadable { path: "logo.png".into() });
}

#[test]
fn pins_are_checked_before_they_are_read() {
    let check = |count: u32, bytes: u32, limit: u32| {
        let files: Vec<FileEntry> = (0..count).map(|n| file(&format!("x/{n}"), bytes)).collect();
        check_pins(&files.iter().collect::<Vec<_>>(), limit, 10)
    };
    for (count, bytes, limit, expected) in [
        (100, 1, 1, Ok(())),
        (100, 9, 0, Ok(())),
        (101, 1, 1, Err(PinError::TooMany)),
        (101, 2, 1, Err(PinError::TooMany)),
        (2, 2, 1, Err(PinError::Unreadable { path: "x/0".into() })),
        (2, 1_280, 0, Ok(())),
        (2, 1_281, 0, Err(PinError::TooLarge { bytes: 2_562, budget: 10 })),
    ] {
        assert_eq!(check(count, bytes, limit), expected, "{count} files of {bytes} bytes with the limit {limit}");
    }
}

#[test]
fn files_are_no_longer_considered_when_nothing_fits() {
    let names: Vec<String> = (0..40).map(|n| format!("value{n}")).collect();
    let long: Vec<(&str, u32, u32)> = names.iter().map(|name| (name.as_str(), 1, 2)).collect();
    let of = |count: usize| {
        let files: Vec<FileEntry> = (0..count).map(|n| file(&format!("a{n}.js"), 10)).chain([file("z.js", 10)]).collect();
        let names = |path: &str| if path == "z.js" { vec![("draw", 1, 2)] } else { long.clone() };
        let outlines = files.iter().map(|file| outline(&file.path, &names(&file.path), &[])).collect();
        forms(&choose(&rank(&signals(&files, &outlines, &[])), &outlines, &BTreeMap::new(), ("the cart", 100)).unwrap())
    };
    assert_eq!((of(MAX_MISSES - 1), of(MAX_MISSES)), (vec!["z.js OUTLINED".to_owned()], vec![]));
}

#[test]
fn machines_read_lock_files() {
    for (path, readable) in [
        ("a/package-lock.json", false),
        ("Cargo.lock", false),
        ("a.min.js", false),
        ("A.PNG", false),
        ("package.json", true),
        ("lock", true),
    ] {
        assert_eq!(is_readable(path), readable, "{path}");
    }
}

proptest! {
    #[test]
    fn a_plan_stays_within_its_budget(
        sizes in prop::collection::vec((0_usize..3_000, any::<bool>()), 0..40),
        budget in 0_u32..4_000,
    ) {
        let files: Vec<FileEntry> = (0..sizes.len()).map(|n| file(&format!("cart{n}.js"), 10)).collect();
        let texts: BTreeMap<String, String> = files.iter().zip(&sizes).map(|(file, (size, _))| (file.path.clone(), "ab ".repeat(*size))).collect();
        let outlined = files.iter().zip(&sizes).filter(|(_, (_, outlined))| *outlined);
        let outlines: Outlines = outlined.map(|(file, _)| outline(&file.path, &[("cart", 1, 1)], &[])).collect();
        let ranked = rank(&signals(&files, &outlines, &[]));
        let chosen = choose(&ranked, &outlines, &texts, ("the cart", budget)).unwrap();
        let tokens: u32 = chosen.files.iter().map(|file| file.tokens).sum();
        prop_assert!(tokens <= budget);
        // The frame, and what the counter sees differently at the seams.
        prop_assert!(count(&chosen.text) <= tokens + 32);
        prop_assert_eq!(choose(&ranked, &outlines, &texts, ("the cart", budget)).unwrap(), chosen);
    }
}
