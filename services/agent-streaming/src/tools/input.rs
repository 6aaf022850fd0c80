//! What a viewer sees of a call while its arguments still stream. The content of `write_file` is text, delivered as it comes;
//! the arguments of the other tools stay the JSON that they are.

mod scanner;

use self::scanner::{Scanner, Token};

/// The arguments of one call, fragment by fragment.
#[derive(Debug)]
pub struct InputStream(Kind);

#[derive(Debug)]
enum Kind {
    Plain,
    Write(Box<Write>),
}

/// What a fragment brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputEvent {
    /// `write_file` has said which file; comes once, before any text.
    Opened { path: String },
    /// More of the file's content.
    Text(String),
    /// More of the arguments of any other tool, unchanged.
    Json(String),
}

#[derive(Debug, Default)]
struct Write {
    scanner: Scanner,
    path: Option<String>,
    /// Content that came before the path.
    early: String,
    opened: bool,
}

impl InputStream {
    #[must_use]
    pub fn new(tool: &str) -> Self {
        Self(if tool == "write_file" { Kind::Write(Box::default()) } else { Kind::Plain })
    }

    /// Takes the next fragment. Fragments may be split anywhere, also inside an escape.
    pub fn push(&mut self, fragment: &str) -> Vec<InputEvent> {
        match &mut self.0 {
            Kind::Plain if fragment.is_empty() => Vec::new(),
            Kind::Plain => vec![InputEvent::Json(fragment.to_owned())],
            Kind::Write(write) => write.push(fragment),
        }
    }
}

impl Write {
    fn push(&mut self, fragment: &str) -> Vec<InputEvent> {
        let (mut events, mut text) = (Vec::new(), String::new());
        let Self { scanner, path, early, opened } = self;
        scanner.push(fragment, &mut |token| match token {
            Token::Path(more) if !*opened => path.get_or_insert_default().push_str(more),
            Token::Content(more) if *opened => text.push_str(more),
            Token::Content(more) => early.push_str(more),
            Token::PathEnd if !*opened => {
                *opened = true;
                events.push(InputEvent::Opened { path: path.take().unwrap_or_default() });
                text.push_str(&std::mem::take(early));
            }
            Token::Path(_) | Token::PathEnd => {}
        });
        if !text.is_empty() {
            events.push(InputEvent::Text(text));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// Opened path and all text, and whether text only came after the path.
    fn read<'a>(fragments: impl IntoIterator<Item = &'a str>) -> (Option<String>, String) {
        let mut stream = InputStream::new("write_file");
        let (mut path, mut text) = (None, String::new());
        for event in fragments.into_iter().flat_map(|f| stream.push(f)) {
            match event {
                InputEvent::Opened { path: opened } => assert_eq!(path.replace(opened), None),
                InputEvent::Text(more) => {
                    assert!(path.is_some() && !more.is_empty());
                    text.push_str(&more);
                }
                InputEvent::Json(_) => panic!("write_file has no raw arguments"),
            }
        }
        (path, text)
    }

    fn by_characters(json: &str) -> (Option<String>, String) {
        let ends: Vec<usize> = json.char_indices().map(|(at, _)| at).chain([json.len()]).collect();
        read(ends.windows(2).map(|w| &json[w[0]..w[1]]))
    }

    #[test]
    fn table() {
        for (json, path, text) in [
            (r#"{"path":"a.js","content":"x\ny"}"#, Some("a.js"), "x\ny"),
            (r#" { "content" : "early" , "path" : "b" } "#, Some("b"), "early"),
            (r#"{"path":"\u00e9\/\"\\","content":"\b\f\n\r\t\u0041\ud83d\ude00😀"}"#, Some("é/\"\\"), "\u{8}\u{c}\n\r\tA😀😀"),
            (r#"{"other":{"path":"no","a":["}",1,"\""]},"n":-1.5e3,"t":true,"path":"yes","content":""}"#, Some("yes"), ""),
            (r#"{"path":"first","path":"second","content":"1","content":"2"}"#, Some("first"), "1"),
            (r#"{"path":7,"content":null}"#, None, ""),
            (r#"{"content":"never opened"}"#, None, ""),
            (r#"{"path":"a","content":"cut in the mid"#, Some("a"), "cut in the mid"),
            (r#"{"path":"a","content":"\ud83dx\ud83d\ud83d\ude00\ude00"}"#, Some("a"), "\u{fffd}x\u{fffd}😀\u{fffd}"),
            (r#"{"path":"a","content":"\ud83d"}"#, Some("a"), "\u{fffd}"),
            (r#"{"p\u0061th":"a","content":"b"}"#, Some("a"), "b"),
            (r#"{"path":"a","content":"\x"} garbage {"path":"b"}"#, Some("a"), ""),
            ("[]", None, ""),
            ("{}", None, ""),
            ("", None, ""),
        ] {
            assert_eq!(read([json]), (path.map(str::to_owned), text.to_owned()), "{json}");
            assert_eq!(by_characters(json), read([json]), "{json} by characters");
        }
    }

    #[test]
    fn text_comes_as_it_streams() {
        let mut stream = InputStream::new("write_file");
        assert_eq!(stream.push(r#"{"path":"a.j"#), []);
        assert_eq!(stream.push(r#"s","content":"on"#), [InputEvent::Opened { path: "a.js".into() }, InputEvent::Text("on".into())]);
        assert_eq!(stream.push(r"e\ntwo\u00"), [InputEvent::Text("e\ntwo".into())]);
        assert_eq!(stream.push(r#"e9"}"#), [InputEvent::Text("é".into())]);
    }

    #[test]
    fn other_tools_keep_their_json() {
        let mut stream = InputStream::new("edit_file");
        assert_eq!(stream.push(r#"{"path":"a"#), [InputEvent::Json(r#"{"path":"a"#.into())]);
        assert_eq!(stream.push(""), []);
    }

    proptest! {
        /// What streamed is what the whole arguments say, whatever the order, the escapes and the splits.
        #[test]
        fn the_stream_equals_the_value(
            path in "\\PC{0,12}", content in "(\\PC|[\n\t\"\\\\\u{1}😀é]){0,40}", order in any::<bool>(), more in any::<bool>(), ascii in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut pairs = vec![("path", json!(path)), ("content", json!(content))];
            if order { pairs.reverse(); }
            if more { pairs.insert(1, ("x", json!({"content": ["y", null, 1]}))); }
            let value = Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>());
            let mut text = value.to_string();
            if ascii {
                text = text.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("\\u{u:04X}")).collect() }).collect();
            }
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| ends[cut.index(ends.len())]).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            prop_assert_eq!(read(at.windows(2).map(|w| &text[w[0]..w[1]])), (Some(path), content));
        }
    }
}
