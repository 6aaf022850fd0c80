use proptest::prelude::*;

use super::*;

/// The file after an edit, and the note in the summary.
fn edited(file: &str, old: &str, new: &str) -> (String, String) {
    let change = change("f", file, old, new).unwrap_or_else(|failure| panic!("{file:?} {old:?}: {}", failure.message));
    (format!("{}{}{}", &file[..change.place.start], change.new_text, &file[change.place.end..]), change.note)
}

fn refused(file: &str, old: &str) -> Failure {
    change("f", file, old, "new").err().unwrap_or_else(|| panic!("{file:?} {old:?} was found"))
}

#[test]
fn a_text_is_found_despite_invisible_differences() {
    for (file, old, new, result, note) in [
        // Line endings.
        ("a\r\nb\r\nc\r\n", "a\nb\n", "a\nx\ny\n", "a\r\nx\r\ny\r\nc\r\n", "line endings"),
        ("a\nb\nc\n", "a\r\nb\r\n", "x\r\ny\r\n", "x\ny\nc\n", "line endings"),
        ("a\rb\rc\r", "a\nb", "a\nx", "a\rx\rc\r", "line endings"),
        ("a\nb\nc\r\nd\r\n", "c\nd", "c\nx", "a\nb\nc\r\nx\r\n", "line endings"),
        ("a\r\nb\nc\nd", "a\nb\nc", "a\nx\nc", "a\r\nx\nc\nd", "line endings"),
        ("x\r\nfoo\r\n", "\nfoo", "", "x\r\n", "line endings"),
        // Invisible characters.
        ("a  \nb\t\nc\n", "a\nb\nc", "a\nx\nc", "a  \nx\nc\n", "blanks at the ends of lines"),
        ("a\nb\n", "a \nb", "a \nx", "a\nx\n", "blanks at the ends of lines"),
        ("foo\nbar", "foo \nbar ", "foo\nbaz", "foo\nbaz", "blanks at the ends of lines"),
        ("\u{feff}a\nb\n", "\u{feff}b", "x", "\u{feff}a\nx\n", "characters without width"),
        ("\u{feff}a\r\nb\r\n", "a\nb\n", "x\nb\n", "\u{feff}x\r\nb\r\n", "line endings"),
        ("a\u{200b}b c", "ab c", "ab d", "a\u{200b}b d", "characters without width"),
        ("a\nlast", "last\n", "end\n", "a\nend", "file does not end with a line break"),
        // Spaces, quotes and letters.
        ("let a\u{a0}= 1;", "let a = 1;", "let a = 2;", "let a\u{a0}= 2;", "kinds of spaces"),
        ("it’s “so”, he said", "it's \"so\", he said", "it's \"so\", she said", "it’s “so”, she said", "kinds of quotes"),
        ("it's \"so\"", "it’s “so”", "it’s “not so”", "it's \"not so\"", "kinds of quotes"),
        ("cafe\u{301} au lait", "café au lait", "café noir", "cafe\u{301} noir", "Unicode forms of letters"),
        ("café au lait", "cafe\u{301} au lait", "cafe\u{301} noir", "café noir", "Unicode forms of letters"),
        ("\u{1112}\u{1161}\u{11ab} a", "한 a", "한 b", "\u{1112}\u{1161}\u{11ab} b", "Unicode forms of letters"),
        // Indentation.
        ("{\n\ta\n\t\tb\n}\n", "{\n    a\n        b\n}", "{\n    a\n        c\n    d\n}", "{\n\ta\n\t\tc\n\td\n}\n", "indentation"),
        ("{\n\ta\n\t\tb\n}\n", "{\n  a\n    b\n}", "{\n  if x {\n    a\n  }\n}", "{\n\tif x {\n\t\ta\n\t}\n}\n", "indentation"),
        ("{\n    a\n}\n", "{\n\ta\n", "{\n\ta\n\t\tb\n", "{\n    a\n        b\n}\n", "indentation"),
        ("\tfoo(a,\n\t    b)\n", "    foo(a,\n        b)\n", "    foo(a,\n        c)\n", "\tfoo(a,\n\t    c)\n", "indentation"),
        ("\tif x {\n\t\ty\n\t}\n", "if x {\n        y\n    }", "if z {\n        y\n    }", "\tif z {\n\t\ty\n\t}\n", "indentation"),
        // Several differences at once.
        (
            "\t‘a’\r\n\tb \r\n",
            "    'a'\n    b\n",
            "    'a'\n    c\n",
            "\t‘a’\r\n\tc\r\n",
            "line endings, blanks at the ends of lines, kinds of quotes and tabs",
        ),
    ] {
        let (found, summary) = edited(file, old, new);
        assert_eq!(found, result, "{file:?} {old:?}");
        assert!(summary.starts_with("; matched although the ") && summary.contains(note), "{file:?}: {summary}");
    }
}

#[test]
fn unchanged_lines_keep_their_bytes() {
    let file = "“a”\u{a0}x\n‘b’ \nc\u{200b}\n\td\n";
    let (found, _) = edited(file, "\"a\" x\n'b'\nc\n    d\n", "new\n\"a\" x\nmore\n'b'\nc\nend\n");
    assert_eq!(found, "new\n“a”\u{a0}x\nmore\n‘b’ \nc\u{200b}\nend\n");
}

#[test]
fn an_exact_match_takes_precedence() {
    // If the kinds of quotes were ignored, there would be two matches.
    assert_eq!(edited("'a' ‘a’", "'a'", "b"), ("b ‘a’".into(), String::new()));
    assert_eq!(edited("a\nb\r\nc", "a\nb", "x\ny"), ("x\ny\r\nc".into(), String::new()));
    assert_eq!(edited("\ta\n    a\n", "    a", "b"), ("\ta\nb\n".into(), String::new()));
}

#[test]
fn new_lines_get_the_line_endings_of_the_file() {
    let note = "; with the line endings of the file".to_owned();
    assert_eq!(edited("a\r\nb\r\n", "b", "x\ny"), ("a\r\nx\r\ny\r\n".into(), note));
    assert_eq!(edited("a\nb\n", "b", "x\ny"), ("a\nx\ny\n".into(), String::new()));
    assert_eq!(edited("a\nb\n", "b", "x\r\ny"), ("a\nx\r\ny\n".into(), String::new()), "explicit line breaks");
    assert_eq!(edited("a\r\nb\r\n", "a\r\nb", "a\nb").0, "a\nb\r\n", "explicit line breaks");
    assert_eq!(edited("a\r\nb\r\nc\r\n", "a\r\nb", "a\nx\nb").0, "a\r\nx\r\nb\r\nc\r\n", "the line endings of the old text");
    assert_eq!(edited("a\nb\r\nc\r\n", "b\r\nc", "x\ny\nz").0, "a\nx\r\ny\r\nz\r\n", "the line endings of the old text");
    assert_eq!(edited("a\nb\r\nc", "a\nb\r\nc", "x\ny").0, "x\ny", "the old text has two kinds");
    assert_eq!(edited("a", "a", "x\ny"), ("x\ny".into(), String::new()));
}

#[test]
fn an_ambiguous_place_is_refused() {
    let many = refused("a\r\nb\r\n\r\na\r\nb\r\n", "a\nb\n");
    assert_eq!((many.reason, many.nearest_line, many.nearest_region.as_str()), ("MANY_MATCHES", 1, "a\nb"));
    assert!(many.message.contains("occurs 2 times in f (with other ") && many.message.contains("at lines 1, 4; "), "{}", many.message);
    for (file, old) in [
        ("‘a’ “a”\n“a” ‘a’", "'a'"),
        // Tabs in one line and spaces in the other leave no form for new lines.
        ("\ta\n    b\n", "    a\n\tb\n"),
        // A tab outside of the indentation.
        ("x = 1;\ty", "x = 1;    y"),
        // Another number of spaces is another place.
        ("  a\n", "    a\nb"),
        // The blanks at the end are not at the end of a line.
        ("a\r\nbc", "a\nb "),
        // A part of a letter.
        ("x\r\ne\u{301}", "x\ne"),
        ("a\r\nb", " \n"),
        ("ab", "\n"),
    ] {
        let failure = refused(file, old);
        assert!(matches!(failure.reason, "NO_MATCH" | "MANY_MATCHES"), "{file:?}");
    }
}

#[test]
fn a_refusal_describes_differences_that_are_hard_to_see() {
    for (file, old, words) in [
        ("f {\n  a;\n}\n", "f {\n    a;\n}", "line 2 has 2 spaces where old_text has 4 spaces"),
        ("f {\n\ta;\tb\n}\n", "f {\n\ta;    b\n}", "line 2 has a tab where old_text has 4 spaces"),
        (
            "\tfirst\n    second\n",
            "    first\n\tsecond\n",
            "line 1 has a tab where old_text has 4 spaces; line 2 has 4 spaces where old_text has a tab",
        ),
        ("let total = 1 – 2;\n", "let total = 1 - 2;", "line 1 has \"–\" (U+2013) where old_text has \"-\""),
        ("const name = аbc;\n", "const name = abc;", "line 1 has \"а\" (U+0430) where old_text has \"a\""),
        ("wait for it…\n", "wait for it...", "line 1 has \"…\" (U+2026) where old_text has \"...\""),
        ("soft\u{ad}hyphen here\n", "softhyphen here", "(U+00AD) where old_text has nothing"),
        ("return Value;\n", "return value;", "line 1 has \"V\" where old_text has \"v\""),
        ("a = [1,2,3];\n", "a = [1, 2, 3];", "line 1 has \"2,\" where old_text has \" 2, \""),
        // Ignored differences are not described.
        ("it’s so\r\n  then\r\n", "it's so\n    then\n", "f: line 2 has 2 spaces where old_text has 4 spaces"),
    ] {
        let failure = refused(file, old);
        assert_eq!(failure.reason, "NO_MATCH", "{file:?}");
        assert!(failure.message.contains(words), "{file:?}: {}", failure.message);
    }
    let visible = refused("function add(a, b) {\n", "function add(x, y) {");
    assert_eq!(visible.message, "old_text is not in f; it must match exactly, with the same spaces and line breaks");
    let many: String = (0..9).map(|n| format!("  some line {n}\n")).collect();
    assert_eq!(refused(&many, &many.replace("  some", " some")).message.matches("where old_text has").count(), 3);
}

#[test]
fn a_large_file_of_equal_lines_takes_little_time() {
    let file = "same line\r\n".repeat(20_000);
    assert_eq!(refused(&file, "same line\n").reason, "MANY_MATCHES");
    assert_eq!(refused(&file, &format!("{}end", "same line\n".repeat(200))).reason, "NO_MATCH");
}

/// A line in its plain form, as a file may contain it, and as a model may write it.
fn line() -> impl Strategy<Value = (String, String, String)> {
    let word = prop::sample::select(vec![("a'b", "a’b"), ("\"c\"", "“c”"), ("d e", "d\u{a0}e"), ("é", "e\u{301}"), ("f", "f"), ("", "")]);
    let end = prop::sample::select(vec!["", " ", "\t"]);
    (word, end, 0..3_usize, any::<bool>()).prop_map(|((plain, fancy), end, depth, is_fancy)| {
        let (there, asked) = if is_fancy { (fancy, plain) } else { (plain, fancy) };
        (
            format!("{}{plain}", "    ".repeat(depth)),
            format!("{}{there}{end}", "\t".repeat(depth)),
            format!("{}{asked}", "    ".repeat(depth)),
        )
    })
}

proptest! {
    /// An edit changes nothing outside of its place, and the place equals the new text in the normal form.
    #[test]
    fn only_the_place_changes_and_equals_the_new_text(
        lines in prop::collection::vec(line(), 1..6), before in "[xyz\n]{0,5}", after in "[xyz\n]{0,5}",
        crlf in any::<bool>(), keep in 0..6_usize, more in "[a-c\n ]{0,6}",
    ) {
        let breaks = |text: String| if crlf { text.replace('\n', "\r\n") } else { text };
        let body: String = lines.iter().map(|(_, there, _)| format!("{there}\n")).collect();
        let file = breaks(format!("{before}\n{body}{after}"));
        let old: String = lines.iter().map(|(_, _, asked)| format!("{asked}\n")).collect();
        let new: String = lines.iter().take(keep).map(|(_, _, asked)| format!("{asked}\n")).chain([more, "\n".into()]).collect();
        if let Ok(change) = change("f", &file, &old, &new) {
            let plain = |text: &str, form: form::Form| form::NormalizedText::new(text, form, true).text;
            let equal = |form: form::Form| plain(&file[change.place.clone()], form) == plain(&old, form)
                && plain(&change.new_text, form) == plain(&new, form);
            prop_assert!(form::Form::levels()[3].iter().any(|form| equal(*form)), "{:?} {:?} {:?}", file, old, change.new_text);
            if crlf && !change.note.is_empty() {
                prop_assert!(!change.new_text.replace("\r\n", "").contains('\n'), "{:?}", change.new_text);
            }
        }
    }

    /// No file and no text makes the search panic.
    #[test]
    fn any_texts_can_be_compared(file in "(\\PC|[\r\n\t \u{feff}\u{301}’]){0,40}", old in "(\\PC|[\r\n\t \u{301}']){1,6}", new in "(\\PC|[\r\n\t]){0,6}") {
        match change("f", &file, &old, &new) {
            Ok(change) => prop_assert!(file.get(change.place).is_some()),
            Err(failure) => prop_assert!(["NO_MATCH", "MANY_MATCHES"].contains(&failure.reason)),
        }
    }
}
