//! The parts of messages: how many and how long they may be. The service that makes them and the one that stores them cut them by the same
//! rule.

use crate::project_storage::{MessagePart, TokenUsage, ToolCall, message_part::Kind};

/// Texts and tool calls of one message.
pub const MAX_PARTS: usize = 200;
/// Tool calls of one message. They leave room for the texts, of which the last one is the most important.
pub const MAX_CALLS: usize = 150;
/// Bytes of all texts of one message.
pub const TEXT_BYTES: usize = 128 * 1024;
/// Bytes of the arguments and results of all tool calls of one message.
const CALL_BYTES: usize = 64 * 1024;
/// Bytes of the arguments of a tool call.
pub const ARGUMENT_BYTES: usize = 4 * 1024;
/// Bytes of the result of a tool call.
const RESULT_BYTES: usize = 1024;
/// Bytes of the id, of the tool and of the reason of a tool call.
const NAME_BYTES: usize = 100;

/// The texts and tool calls of a message within the limits, then the number of those that are left out, then the usage. Files among the
/// parts are dropped: they come from the revision.
#[must_use]
pub fn fit(parts: Vec<MessagePart>) -> Vec<MessagePart> {
    let (mut kept, mut calls, mut omitted, mut usage) = (Vec::new(), 0, 0_u32, None);
    let (mut text_left, mut call_left) = (TEXT_BYTES, CALL_BYTES);
    for part in parts {
        let is_full = kept.len() == MAX_PARTS;
        match part.kind {
            Some(Kind::Usage(tokens)) => usage = Some(tokens),
            Some(Kind::Omitted(count)) => omitted = omitted.saturating_add(count),
            Some(Kind::Text(_)) if is_full || text_left == 0 => omitted = omitted.saturating_add(1),
            Some(Kind::ToolCall(_)) if is_full || calls == MAX_CALLS => omitted = omitted.saturating_add(1),
            Some(Kind::Text(mut text)) => {
                let truncated = cut(&mut text, &mut text_left);
                kept.push(MessagePart { kind: Some(Kind::Text(text)), truncated: part.truncated || truncated });
            }
            Some(Kind::ToolCall(mut call)) => {
                calls += 1;
                let truncated = cut_call(&mut call, &mut call_left);
                kept.push(MessagePart { kind: Some(Kind::ToolCall(call)), truncated: part.truncated || truncated });
            }
            Some(Kind::File(_)) | None => {}
        }
    }
    kept.extend((omitted > 0).then(|| Kind::Omitted(omitted).into()));
    kept.extend(usage.filter(|usage| *usage != TokenUsage::default()).map(|usage| Kind::Usage(usage).into()));
    kept
}

/// The parts of a message that was stored without any.
#[must_use]
pub fn of_text(text: &str) -> Vec<MessagePart> {
    if text.is_empty() { Vec::new() } else { fit(vec![Kind::Text(text.to_owned()).into()]) }
}

impl From<Kind> for MessagePart {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind), truncated: false }
    }
}

/// Cuts a text to at most `limit` bytes at a character boundary. Returns whether it was longer.
pub fn truncate(text: &mut String, limit: usize) -> bool {
    let is_longer = text.len() > limit;
    if is_longer {
        text.truncate(text.floor_char_boundary(limit));
    }
    is_longer
}

/// Cuts a text to what is left, and takes it from that.
fn cut(text: &mut String, left: &mut usize) -> bool {
    let truncated = truncate(text, *left);
    // After a cut nothing fits, even if a character is longer than the rest.
    *left = if truncated { 0 } else { *left - text.len() };
    truncated
}

fn cut_call(call: &mut ToolCall, left: &mut usize) -> bool {
    let mut truncated = false;
    for text in [&mut call.id, &mut call.tool, &mut call.error_reason] {
        truncated |= truncate(text, NAME_BYTES);
    }
    for (text, limit) in [(&mut call.result, RESULT_BYTES), (&mut call.arguments, ARGUMENT_BYTES)] {
        truncated |= truncate(text, limit);
        truncated |= cut(text, left);
    }
    truncated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project_storage::ChangedFile;

    fn text(text: &str) -> MessagePart {
        Kind::Text(text.to_owned()).into()
    }

    fn call(id: &str, arguments: &str) -> MessagePart {
        Kind::ToolCall(ToolCall { id: id.to_owned(), tool: "search".to_owned(), arguments: arguments.to_owned(), ..ToolCall::default() })
            .into()
    }

    fn omitted(count: u32) -> MessagePart {
        Kind::Omitted(count).into()
    }

    #[test]
    fn parts_within_the_limits_are_kept() {
        let usage = MessagePart::from(Kind::Usage(TokenUsage { input_tokens: 1, ..TokenUsage::default() }));
        let expected = [text("one"), call("c", "{}"), text("two"), usage.clone()];
        let file = Kind::File(ChangedFile::default()).into();
        let parts = vec![text("one"), usage, call("c", "{}"), file, text("two"), MessagePart::default()];
        assert_eq!(fit(parts), expected);
        assert_eq!(fit(vec![Kind::Usage(TokenUsage::default()).into()]), []);
        assert_eq!((of_text(""), of_text("a")), (vec![], vec![text("a")]));
    }

    #[test]
    fn too_many_parts_are_counted() {
        let parts = (0..MAX_PARTS + 2).map(|_| text("x")).chain([omitted(3)]).collect();
        let fitted = fit(parts);
        assert_eq!((fitted.len(), &fitted[MAX_PARTS]), (MAX_PARTS + 1, &omitted(5)));
        assert_eq!(fit(fitted.clone()), fitted, "what fits stays as it is");
    }

    #[test]
    fn a_long_part_is_cut_with_a_mark() {
        let fitted = fit(vec![call("c", &"é".repeat(ARGUMENT_BYTES)), text(&"xé".repeat(TEXT_BYTES)), text("more"), call("d", "{}")]);
        let Some(Kind::ToolCall(cut)) = &fitted[0].kind else { panic!("{fitted:?}") };
        let Some(Kind::Text(rest)) = &fitted[1].kind else { panic!("{fitted:?}") };
        assert_eq!((cut.arguments.len(), fitted[0].truncated, fitted[1].truncated), (ARGUMENT_BYTES, true, true));
        assert_eq!(rest.len(), TEXT_BYTES - 1);
        assert_eq!(fitted[2..], [call("d", "{}"), omitted(1)]);
        assert_eq!(fit(fitted.clone()), fitted, "what fits stays as it is");
    }

    #[test]
    fn many_calls_leave_room_for_the_last_text() {
        let calls = (0..MAX_PARTS).map(|n| call(&n.to_string(), &"x".repeat(ARGUMENT_BYTES)));
        let fitted = fit(calls.chain([text("Done")]).collect());
        assert_eq!(fitted[MAX_CALLS..], [text("Done"), omitted(50)]);
        let arguments = |part: &MessagePart| if let Some(Kind::ToolCall(call)) = &part.kind { call.arguments.len() } else { 0 };
        assert_eq!(fitted.iter().map(arguments).sum::<usize>(), CALL_BYTES);
        assert_eq!((fitted[15].truncated, fitted[16].truncated), (false, true));
    }
}
