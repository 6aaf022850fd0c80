//! The JSON names of fields. The services use the names of the contract, such as `display_name`; in JSON it is `displayName`.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use crate::contract::pool;

/// The names of the contract that differ in JSON.
static NAMES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let messages = pool().all_messages().filter(|message| message.full_name().starts_with("backlot."));
    let fields = messages.flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(|field| field.name() != field.json_name()).map(|field| (field.name().to_owned(), field.json_name().to_owned())).collect()
});

/// The path of a field: `changes[3].new_path` as `changes[3].newPath`. A name that the contract does not have stays as it was sent.
pub(super) fn field(path: &str) -> Cow<'_, str> {
    renamed(path, |_| false)
}

/// The names in a text. Quoted parts are values of the client or of a project, and stay as they are.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    renamed(text, |c| matches!(c, '`' | '"'))
}

/// Replaces the words of a text by their JSON form, except between two equal quotes.
fn renamed(text: &str, is_quote: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains('_') {
        return Cow::Borrowed(text);
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut out, mut rest, mut open) = (String::with_capacity(text.len()), text, None);
    while let Some(first) = rest.chars().next() {
        let end = match first {
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            // An escaped quote does not end a quoted value.
            '\\' if open == Some('"') => rest.chars().take(2).map(char::len_utf8).sum(),
            _ => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        match open {
            None if is_quote(first) => open = Some(first),
            Some(quote) if first == quote => open = None,
            _ => {}
        }
        out.push_str(NAMES.get(word).filter(|_| open.is_none()).map_or(word, String::as_str));
        rest = after;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_contract_becomes_its_json_name() {
        for message in pool().all_messages().filter(|message| message.full_name().starts_with("backlot.")) {
            for named in message.fields() {
                assert_eq!((field(named.name()), text(named.name())), (named.json_name().into(), named.json_name().into()));
            }
        }
    }

    #[test]
    fn only_field_names_change() {
        for (original, renamed) in [
            ("display_name: must be 1 to 120 characters", "displayName: must be 1 to 120 characters"),
            ("changes[0].rename.new_path: is taken", "changes[0].rename.newPath: is taken"),
            ("must be empty when project_id is given", "must be empty when projectId is given"),
            ("must be ON_CONFLICT_FAIL or ON_CONFLICT_MERGE", "must be ON_CONFLICT_FAIL or ON_CONFLICT_MERGE"),
            ("`src/project_id.js` exists; page_token", "`src/project_id.js` exists; pageToken"),
            ("open_only: got \"page_token\"", "openOnly: got \"page_token\""),
            (r#"after: got "a\" page_token"; page_token"#, r#"after: got "a\" page_token"; pageToken"#),
            ("type_name: is not a field of this request", "type_name: is not a field of this request"),
            ("must be 1 to 128 of A-Za-z0-9_-", "must be 1 to 128 of A-Za-z0-9_-"),
            ("no underscores", "no underscores"),
            ("`left open page_token", "`left open page_token"),
        ] {
            assert_eq!(text(original), renamed);
        }
        assert_eq!(
            (field("my_own_field"), field("if_match"), field("é_x.base_revision")),
            ("my_own_field".into(), "ifMatch".into(), "é_x.baseRevision".into())
        );
    }
}
