//! A scanner of the arguments of `write_file`. It emits the strings `path` and `content` while they are streamed, and skips everything
//! else. It reports no errors: invalid arguments are refused when they are complete.

/// A part of the path or of the content.
pub(super) enum Token<'a> {
    Path(&'a str),
    PathEnd,
    Content(&'a str),
}

#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    escape: Escape,
    /// A high surrogate that waits for its low surrogate.
    high: Option<u16>,
    key: String,
    path_seen: bool,
    content_seen: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// Before a key, a comma or the end.
    Members,
    Text(Role),
    Colon,
    Value,
    /// Inside a skipped array or object. `text` says whether inside a string of it.
    Skip {
        depth: u32,
        text: bool,
        escaped: bool,
    },
    /// A number, `true`, `false` or `null`.
    Scalar,
    /// After the object, or after invalid JSON.
    Over,
}

/// The role of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    Path,
    Content,
    Other,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Backslash,
    /// The number of digits so far and their value.
    Unicode(u8, u16),
}

impl Scanner {
    pub(super) fn push(&mut self, fragment: &str, emit: &mut impl FnMut(Token<'_>)) {
        let mut rest = fragment;
        while let Some(first) = rest.chars().next() {
            if let State::Text(role) = self.state
                && self.escape == Escape::None
                && !matches!(first, '"' | '\\')
            {
                let end = rest.find(['"', '\\']).unwrap_or(rest.len());
                self.lone_surrogate(role, emit);
                self.text(role, &rest[..end], emit);
                rest = &rest[end..];
                continue;
            }
            match self.state {
                State::Text(role) => self.in_text(role, first, emit),
                _ => self.structure(first),
            }
            rest = &rest[first.len_utf8()..];
        }
    }

    fn structure(&mut self, c: char) {
        if let State::Skip { depth, text, escaped } = &mut self.state {
            match c {
                _ if *escaped => *escaped = false,
                '\\' if *text => *escaped = true,
                '"' => *text = !*text,
                '{' | '[' if !*text => *depth += 1,
                '}' | ']' if !*text => *depth -= 1,
                _ => {}
            }
            if *depth == 0 {
                self.state = State::Members;
            }
            return;
        }
        self.state = match (self.state, c) {
            (State::Scalar, ',') => State::Members,
            (State::Scalar | State::Members, '}') => State::Over,
            (State::Scalar, _) => State::Scalar,
            (state, ' ' | '\t' | '\n' | '\r') => state,
            (State::Start, '{') | (State::Members, ',') => State::Members,
            (State::Members, '"') => {
                self.key.clear();
                State::Text(Role::Key)
            }
            (State::Colon, ':') => State::Value,
            (State::Value, _) => {
                let role = self.role();
                match c {
                    '"' => State::Text(role),
                    '{' | '[' => State::Skip { depth: 1, text: false, escaped: false },
                    _ => State::Scalar,
                }
            }
            _ => State::Over,
        };
    }

    /// The role of the value after the current key. For a duplicate key the first one counts.
    fn role(&mut self) -> Role {
        match self.key.as_str() {
            "path" if !std::mem::replace(&mut self.path_seen, true) => Role::Path,
            "content" if !std::mem::replace(&mut self.content_seen, true) => Role::Content,
            _ => Role::Other,
        }
    }

    fn in_text(&mut self, role: Role, c: char, emit: &mut impl FnMut(Token<'_>)) {
        match (self.escape, c) {
            (Escape::None, '\\') => self.escape = Escape::Backslash,
            (Escape::None, _) => {
                self.lone_surrogate(role, emit);
                self.state = if role == Role::Key { State::Colon } else { State::Members };
                if role == Role::Path {
                    emit(Token::PathEnd);
                }
            }
            (Escape::Backslash, 'u') => self.escape = Escape::Unicode(0, 0),
            (Escape::Backslash, _) => {
                self.escape = Escape::None;
                self.lone_surrogate(role, emit);
                let plain = match c {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '"' | '\\' | '/' => c,
                    _ => return self.state = State::Over,
                };
                self.text(role, plain.encode_utf8(&mut [0; 4]), emit);
            }
            (Escape::Unicode(digits, value), _) => {
                let Some(digit) = c.to_digit(16).and_then(|d| u16::try_from(d).ok()) else { return self.state = State::Over };
                let value = value << 4 | digit;
                self.escape = if digits == 3 { Escape::None } else { Escape::Unicode(digits + 1, value) };
                if digits == 3 {
                    self.unit(role, value, emit);
                }
            }
        }
    }

    /// Handles one UTF-16 code unit.
    fn unit(&mut self, role: Role, unit: u16, emit: &mut impl FnMut(Token<'_>)) {
        let high = self.high.take();
        if (0xd800..0xdc00).contains(&unit) {
            self.replacement(role, high, emit);
            self.high = Some(unit);
            return;
        }
        let pair = [high.unwrap_or_default(), unit];
        let units = if high.is_some() { &pair[..] } else { &pair[1..] };
        let text: String = char::decode_utf16(units.iter().copied()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        self.text(role, &text, emit);
    }

    fn lone_surrogate(&mut self, role: Role, emit: &mut impl FnMut(Token<'_>)) {
        let high = self.high.take();
        self.replacement(role, high, emit);
    }

    fn replacement(&mut self, role: Role, half: Option<u16>, emit: &mut impl FnMut(Token<'_>)) {
        if half.is_some() {
            self.text(role, "\u{fffd}", emit);
        }
    }

    fn text(&mut self, role: Role, text: &str, emit: &mut impl FnMut(Token<'_>)) {
        match role {
            Role::Key => self.key.push_str(text),
            Role::Path => emit(Token::Path(text)),
            Role::Content => emit(Token::Content(text)),
            Role::Other => {}
        }
    }
}
