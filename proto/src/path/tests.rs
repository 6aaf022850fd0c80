use super::*;

/// Legal for new files, and so for all files.
#[test]
fn legal_paths() {
    let (longest, two_parts) = (format!("{}a", "é/".repeat(127)), format!("{}/{}", "x".repeat(127), "é".repeat(127)));
    let part_of_255_bytes = "a".repeat(255);
    for path in [
        "a",
        "src/App.tsx",
        ".gitignore",
        ".github/x",
        "git",
        "git~10",
        ".git_x",
        "a..b",
        "...a",
        "a b/c",
        " leading/ space",
        "日本/語.txt",
        "👩\u{200d}💻.md",
        "می\u{200c}خواهم.txt",
        "שלום.txt",
        "it's (1) [2] {3} $x #y %z &w +v =u @t !s ~r ^q `p ;o ,n",
        "-rf",
        "a\u{a0}",
        &longest,
        &two_parts,
        &part_of_255_bytes,
    ] {
        assert_eq!((check(path), check_new(path)), (Ok(()), Ok(())), "{path:?}");
    }
    assert_eq!((longest.chars().count(), two_parts.chars().count()), (255, 255));
}

#[test]
fn paths_that_are_illegal_for_all_files() {
    let too_long = "a".repeat(256);
    let megabytes = "a".repeat(5 << 20);
    let git = |part: &str| BadPath::Git { part: part.to_owned() };
    for (path, why) in [
        ("", BadPath::Empty),
        (too_long.as_str(), BadPath::TooLong),
        (megabytes.as_str(), BadPath::TooLong),
        ("a\\b", BadPath::Backslash),
        ("a\0b", BadPath::Control('\0')),
        ("a\nb", BadPath::Control('\n')),
        ("a\u{1f}", BadPath::Control('\u{1f}')),
        ("a\u{7f}b", BadPath::Control('\u{7f}')),
        ("a\u{85}b", BadPath::Control('\u{85}')),
        ("/etc/passwd", BadPath::Absolute),
        ("/", BadPath::Absolute),
        ("e\u{301}", BadPath::NotNfc),
        ("a//b", BadPath::EmptyPart),
        ("a/", BadPath::EmptyPart),
        ("..", BadPath::DotPart),
        ("a/../b", BadPath::DotPart),
        ("./a", BadPath::DotPart),
        (".git/config", git(".git")),
        ("a/.GIT", git(".GIT")),
        (".git /config", git(".git ")),
        (".Git. ./config", git(".Git. .")),
        ("GIT~1/config", git("GIT~1")),
        (".git::$INDEX_ALLOCATION/config", git(".git::$INDEX_ALLOCATION")),
        ("a/.g\u{200c}it/config", git(".g\u{200c}it")),
        ("a/.g\u{200e}it/config", git(".g\\u{200e}it")),
    ] {
        assert_eq!((check(path), check_new(path)), (Err(why.clone()), Err(why)), "{:?}", shown(path));
    }
}

/// A stored file may have such a path, but a new file may not.
#[test]
fn paths_that_are_illegal_for_new_files() {
    let part = |part: &str| part.to_owned();
    let (of_256_bytes, of_510_bytes) = ("é".repeat(128), "é".repeat(255));
    let cut = format!("{}…", "é".repeat(64));
    let mut rows = vec![
        (of_256_bytes.clone(), BadPath::PartTooLong { part: cut.clone(), bytes: 256 }),
        (format!("a/{of_256_bytes}/b"), BadPath::PartTooLong { part: cut.clone(), bytes: 256 }),
        (of_510_bytes, BadPath::PartTooLong { part: cut, bytes: 510 }),
    ];
    for c in "<>:\"|?*".chars() {
        rows.push((format!("a/x{c}y/b"), BadPath::Character { part: format!("x{c}y"), character: c }));
        rows.push((c.to_string(), BadPath::Character { part: c.to_string(), character: c }));
    }
    for ending in ["trailing.", "trailing ", "...", " ", "a..", "a. ", "a.txt ."] {
        rows.push((ending.to_owned(), BadPath::Ending { part: part(ending) }));
        rows.push((format!("a/{ending}/b"), BadPath::Ending { part: part(ending) }));
    }
    for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".chars() {
        rows.push((format!("a/gpj{c}exe"), BadPath::Direction(c)));
    }
    for c in "\u{2028}\u{2029}\u{206a}\u{206f}\u{fff9}\u{fffb}".chars() {
        rows.push((format!("a/b{c}c"), BadPath::Control(c)));
    }
    for c in "\u{fdd0}\u{fdef}\u{fffe}\u{ffff}\u{1fffe}\u{10ffff}".chars() {
        rows.push((format!("a{c}"), BadPath::Unassigned(c)));
    }
    for (path, why) in rows {
        assert_eq!((check(&path), check_new(&path)), (Ok(()), Err(why)), "{path:?}");
    }
}

#[test]
fn device_names_are_illegal_for_new_files() {
    let numbers: Vec<char> = ('0'..='9').chain(['¹', '²', '³']).collect();
    let ports = ["com", "lpt"].iter().flat_map(|port| numbers.iter().map(move |number| format!("{port}{number}")));
    let names: Vec<String> =
        ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"].map(str::to_owned).into_iter().chain(ports).collect();
    assert_eq!(names.len(), 7 + 2 * 13);
    let mixed = |name: &str| name.char_indices().map(|(n, c)| if n % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect::<String>();
    for name in &names {
        for name in [name.clone(), name.to_ascii_uppercase(), mixed(name)] {
            for part in ["", ".", ".js", ".tar.gz", " .txt", "  ", "..", ".a b"].map(|ending| format!("{name}{ending}")) {
                for path in [part.clone(), format!("src/{part}"), format!("{part}/x.js"), format!("a/{part}/b")] {
                    assert_eq!(check(&path), Ok(()), "{path:?}");
                    assert_eq!(check_new(&path), Err(BadPath::Device { part: part.clone() }), "{path:?}");
                }
            }
        }
        for path in
            [format!("x{name}"), format!("{name}x"), format!(" {name}"), format!("_{name}.js"), format!("x.{name}"), format!(".{name}")]
        {
            assert_eq!(check_new(&path), Ok(()), "{path:?}");
        }
    }
    for path in ["com", "lpt.txt", "com10", "com⁴", "lpt00", "console", "auxiliary.js", "nu", "con-", "com 1", "conin", "clock"] {
        assert_eq!(check_new(path), Ok(()), "{path:?}");
    }
}

#[test]
fn an_error_names_the_part_and_the_limit() {
    for (path, words) in [
        ("", "it is empty; a path has 1 to 255 characters"),
        ("a\u{7}b", "it has the control character U+0007"),
        ("src/aux.js", "its part `aux.js` is the name of a device on Windows"),
        ("a:b/c", "its part `a:b` has the character :, which Windows does not allow"),
        ("a/trailing.", "its part `trailing.` ends with a dot or a space, which Windows removes"),
        ("a\u{202e}b", "it has the character U+202E, which changes the direction of the text"),
        ("a\u{ffff}", "it has U+FFFF, which Unicode will never assign to a character"),
        ("a/.GIT/b", "git treats its part `.GIT` as .git"),
    ] {
        assert_eq!(check_new(path).map_err(|problem| problem.to_string()), Err(words.to_owned()), "{path:?}");
    }
    let long = check_new(&format!("a/{}", "é".repeat(200))).expect_err("too long").to_string();
    assert_eq!(long, format!("its part `{}…` has 400 bytes; a part may have 255", "é".repeat(64)));
    assert_eq!(check(&"a".repeat(300)).expect_err("too long").to_string(), "it is longer than 255 characters");
}

#[test]
fn an_error_escapes_invisible_characters() {
    for (text, words) in [
        ("src/app.js", "src/app.js"),
        ("a\u{202e}b\u{7}\u{ffff}", "a\\u{202e}b\\u{7}\\u{ffff}"),
        (&"é".repeat(64), &"é".repeat(64)),
        (&"a".repeat(65), &format!("{}…", "a".repeat(64))),
    ] {
        assert_eq!(shown(text), words);
    }
}

#[test]
fn every_spelling_of_the_git_folder_is_recognised() {
    for part in [".git", ".GIT", ".git.", ".git ", "git~1", "GIT~1", ".git::$DATA", ".g\u{200c}it"] {
        assert!(is_git_folder(part), "{part:?}");
    }
    for part in [".gitignore", ".github", "git", "git~2", "a.git", ""] {
        assert!(!is_git_folder(part), "{part:?}");
    }
}

#[test]
fn names_that_differ_only_in_case_fold_to_the_same_name() {
    for (one, other) in
        [("App.js", "aPP.JS"), ("straße", "STRASSE"), ("STRAẞE", "strasse"), ("ÜBER", "über"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("ſ", "S")]
    {
        assert_eq!(fold(one), fold(other), "{one} {other}");
    }
    for (one, other) in [("a", "b"), ("a", "á"), ("ss", "s")] {
        assert_ne!(fold(one), fold(other), "{one} {other}");
    }
}

#[test]
fn every_character_folds_like_its_other_cases() {
    for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32).map(String::from) {
        let folded = fold(&character);
        for same in [&folded, &character.to_lowercase(), &character.to_uppercase()] {
            assert_eq!(fold(same), folded, "{character:?} {same:?}");
        }
    }
}

#[test]
fn names_with_a_dot_at_their_start_are_hidden() {
    for path in [".env", "a/.git", ".well-known/x", "a/.b/c"] {
        assert!(is_hidden(path), "{path}");
    }
    for path in ["a.b", "a/b.c/d", "a..b"] {
        assert!(!is_hidden(path), "{path}");
    }
}
