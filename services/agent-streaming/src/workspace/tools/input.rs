//! The events of a call's arguments while they are streamed. The content of `write_file` becomes text; the arguments of other tools stay
//! JSON.

mod scanner;

use serde_json::Value;

use self::scanner::{Scanner, Token};
use super::paths;
use crate::turn::event;

/// Translates the fragments of one call's arguments to events.
#[derive(Debug)]
pub(crate) struct InputStream(Kind);

#[derive(Debug)]
enum Kind {
    /// A tool other than `write_file`. The flag says whether there was a fragment.
    Plain(bool),
    Write(Box<Write>),
}

/// An event of a call's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputEvent {
    /// The path of `write_file` is known. Comes once, before the text. Does not come if the path may mean another file.
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
    shown: FileDisplay,
    /// The bytes of the content that were emitted.
    sent: usize,
}

/// Whether viewers see the file while its content is streamed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FileDisplay {
    /// The path is not known yet.
    #[default]
    NotYet,
    Live,
    /// The path may mean another file, which is known only when the tool runs.
    Later,
}

impl InputStream {
    #[must_use]
    pub(crate) fn new(tool: &str) -> Self {
        Self(if tool == "write_file" { Kind::Write(Box::default()) } else { Kind::Plain(false) })
    }

    /// Takes the next fragment. Fragments may be split anywhere, even inside an escape sequence.
    pub(crate) fn push(&mut self, fragment: &str) -> Vec<InputEvent> {
        match &mut self.0 {
            Kind::Plain(_) if fragment.is_empty() => Vec::new(),
            Kind::Plain(seen) => {
                *seen = true;
                vec![InputEvent::Json(fragment.to_owned())]
            }
            Kind::Write(write) => write.push(fragment),
        }
    }

    /// The events of the repaired arguments that the fragments did not have: all of them, if the provider sent no fragments or they could
    /// not be parsed.
    pub(crate) fn finish(self, input: &Value) -> Vec<InputEvent> {
        match self.0 {
            // Short arguments are in `tool.ready`.
            Kind::Plain(false) if input.to_string().len() > event::READY_BYTES => vec![InputEvent::Json(input.to_string())],
            Kind::Plain(_) => Vec::new(),
            Kind::Write(write) => write.finish(input),
        }
    }
}

impl Write {
    fn push(&mut self, fragment: &str) -> Vec<InputEvent> {
        let (mut events, mut text) = (Vec::new(), String::new());
        let Self { scanner, path, early, shown, .. } = self;
        scanner.push(fragment, &mut |token| match (token, *shown) {
            (Token::Path(more), FileDisplay::NotYet) => path.get_or_insert_default().push_str(more),
            (Token::Content(more), FileDisplay::Live) => text.push_str(more),
            (Token::Content(more), FileDisplay::NotYet) => early.push_str(more),
            (Token::PathEnd, FileDisplay::NotYet) => {
                let (path, early) = (path.take().unwrap_or_default(), std::mem::take(early));
                *shown = open(&path, &mut events);
                if *shown == FileDisplay::Live {
                    text.push_str(&early);
                }
            }
            (Token::Path(_) | Token::PathEnd, _) | (Token::Content(_), FileDisplay::Later) => {}
        });
        self.sent += text.len();
        events.extend(Some(text).filter(|text| !text.is_empty()).map(InputEvent::Text));
        events
    }

    fn finish(mut self, input: &Value) -> Vec<InputEvent> {
        let mut events = Vec::new();
        if let Some(path) = input.get("path").and_then(Value::as_str)
            && self.shown == FileDisplay::NotYet
        {
            self.shown = open(path, &mut events);
        }
        let rest = input.get("content").and_then(Value::as_str).and_then(|content| content.get(self.sent..));
        events.extend(rest.filter(|rest| !rest.is_empty()).map(|rest| InputEvent::Text(rest.to_owned())));
        events
    }
}

fn open(path: &str, events: &mut Vec<InputEvent>) -> FileDisplay {
    if !paths::is_unambiguous(path) {
        return FileDisplay::Later;
    }
    events.push(InputEvent::Opened { path: paths::certain(path).into_owned() });
    FileDisplay::Live
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    /// The opened path and the text. Asserts that text comes only after the path.
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
    fn paths_and_contents_are_decoded() {
        for (json, path, text) in [
            (r#"{"path":"a.js","content":"x\ny"}"#, Some("a.js"), "x\ny"),
            (r#" { "content" : "early" , "path" : "b" } "#, Some("b"), "early"),
            (r#"{"path":"\u00e9\/\"","content":"\b\f\n\r\t\u0041\ud83d\ude00😀"}"#, Some("é/\""), "\u{8}\u{c}\n\r\tA😀😀"),
            (r#"{"other":{"path":"no","a":["}",1,"\""]},"n":-1.5e3,"t":true,"path":"yes","content":""}"#, Some("yes"), ""),
            (r#"{"path":"first","path":"second","content":"1","content":"2"}"#, Some("first"), "1"),
            (r#"{"path":7,"content":null}"#, None, ""),
            (r#"{"path":7,"path":"second","content":"x"}"#, None, ""),
            (r#"{"path":"a","content":null,"content":"second"}"#, Some("a"), ""),
            (r#"{"path":"./a","content":"x"}"#, Some("a"), "x"),
            (r#"{"path":"/a","content":"x"}"#, None, ""),
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
    fn text_is_emitted_with_each_fragment() {
        let mut stream = InputStream::new("write_file");
        assert_eq!(stream.push(r#"{"path":"a.j"#), []);
        assert_eq!(stream.push(r#"s","content":"on"#), [InputEvent::Opened { path: "a.js".into() }, InputEvent::Text("on".into())]);
        assert_eq!(stream.push(r"e\ntwo\u00"), [InputEvent::Text("e\ntwo".into())]);
        assert_eq!(stream.push(r#"e9"}"#), [InputEvent::Text("é".into())]);
    }

    #[test]
    fn the_arguments_of_other_tools_stay_json() {
        let mut stream = InputStream::new("edit_file");
        assert_eq!(stream.push(r#"{"path":"a"#), [InputEvent::Json(r#"{"path":"a"#.into())]);
        assert_eq!(stream.push(""), []);
    }

    proptest! {
        /// The streamed path and content equal those of the complete arguments, for every order, escaping and split.
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
            // A path that may mean another file is not shown.
            let shown = if paths::is_unambiguous(&path) { (Some(paths::certain(&path).into_owned()), content) } else { (None, String::new()) };
            prop_assert_eq!(read(at.windows(2).map(|w| &text[w[0]..w[1]])), shown);
        }
    }
}
