//! Tool calls, put together from fragments. Backends disagree on what names a call: the index may be missing or always 0, the
//! id may come once, on every fragment, or be new each time; and the name may come in pieces.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::{
    NAME,
    seal::{CALL_FIELDS, keep},
};
use crate::model::provider::{
    ModelEvent, ProviderError,
    calls::{Names, opaque, parse_arguments},
    http::malformed,
};

#[derive(Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// The tools that there are; empty: any name is whole as it comes.
    tools: Vec<&'static str>,
}

#[derive(Default)]
struct Call {
    /// Ours.
    id: String,
    /// Theirs: the first one, and every one that a fragment of this call had.
    wire_id: String,
    wire_ids: HashSet<String>,
    index: Option<u64>,
    name: String,
    /// The name is whole, and was handed out.
    announced: bool,
    arguments: String,
    /// Where they stand.
    balance: Balance,
    /// What goes back on the call.
    fields: Map<String, Value>,
}

/// The brackets of a JSON text that comes in pieces: arguments are parsed only where they can be whole.
#[derive(Default)]
struct Balance {
    depth: usize,
    /// A bracket came.
    begun: bool,
    in_string: bool,
    escaped: bool,
}

impl Balance {
    fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => {
                    self.begun = true;
                    self.depth += 1;
                }
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}

impl Call {
    fn is_whole(&self) -> bool {
        self.balance.is_closed() && parse_arguments(&self.arguments).is_some()
    }

    /// The name has come in pieces, or again, or has grown.
    fn add_name(&mut self, name: &str) {
        if name.starts_with(&self.name) {
            name.clone_into(&mut self.name);
        } else if !self.announced {
            self.name.push_str(name);
        }
    }

    fn announce(&mut self, out: &mut Vec<ModelEvent>) {
        if !std::mem::replace(&mut self.announced, true) {
            out.push(ModelEvent::ToolStarted { call_id: self.id.clone(), tool: self.name.clone() });
            // Arguments that came before the name.
            if !self.arguments.is_empty() {
                out.push(ModelEvent::ToolInputDelta { call_id: self.id.clone(), json: self.arguments.clone() });
            }
        }
    }
}

impl Calls {
    pub(super) fn new(tools: Vec<&'static str>) -> Self {
        Self { tools, ..Self::default() }
    }

    pub(super) fn any(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Whether the fragment brought more of a call.
    pub(super) fn fragment(&mut self, fragment: &Value, names: &mut Names, out: &mut Vec<ModelEvent>) -> bool {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, name) = (text(&fragment["id"]), text(&fragment["function"]["name"]));
        let index = fragment["index"].as_u64();
        let arguments = match &fragment["function"]["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            object => object.to_string(),
        };
        let before = self.calls.len();
        let at = self.place(&id, index, &name, !arguments.trim().is_empty()).unwrap_or_else(|| {
            self.calls.push(Call { id: names.call(&id), index, ..Call::default() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[at];
        if !id.is_empty() {
            if call.wire_ids.is_empty() {
                id.clone_into(&mut call.wire_id);
            }
            call.wire_ids.insert(id);
        }
        keep(&CALL_FIELDS, fragment, &mut call.fields);
        if !name.is_empty() && !call.announced {
            call.add_name(&name);
        }
        let whole = self.tools.is_empty() || self.tools.contains(&call.name.as_str()) || !arguments.is_empty();
        if whole && !call.name.is_empty() {
            call.announce(out);
        }
        let came = at == before || !name.is_empty() || !arguments.is_empty();
        if !arguments.is_empty() {
            call.arguments.push_str(&arguments);
            call.balance.push(&arguments);
            if call.announced {
                out.push(ModelEvent::ToolInputDelta { call_id: call.id.clone(), json: arguments });
            }
        }
        came
    }

    /// The call that a fragment goes on with; `None` for a new one.
    fn place(&self, id: &str, index: Option<u64>, name: &str, has_arguments: bool) -> Option<usize> {
        let same_index = |call: &Call| index.is_none() || call.index.is_none() || call.index == index;
        let known = self.calls.iter().rposition(|call| !id.is_empty() && call.wire_ids.contains(id) && same_index(call));
        // Among calls of one index an id finds its own, else the last one is meant.
        let at = match (known, index) {
            (Some(at), _) => at,
            (None, Some(_)) => self.calls.iter().rposition(|call| call.index == index)?,
            (None, None) => self.calls.len().checked_sub(1)?,
        };
        let call = &self.calls[at];
        let id = match index {
            _ if id.is_empty() || known.is_some() || call.wire_ids.is_empty() => Id::Same,
            Some(_) => Id::Changed,
            None => Id::New,
        };
        (!begins(call, name, id, has_arguments)).then_some(at)
    }

    /// Every call that can be made. Where the answer was cut the last call may be cut too, however whole it looks. The first call
    /// carries what goes back on the message.
    pub(super) fn ready(&mut self, whole: bool, mut message: Map<String, Value>, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        let count = if whole { self.calls.len() } else { self.calls.len().saturating_sub(1) };
        for call in &mut self.calls[..count] {
            if call.name.is_empty() {
                return Err(malformed(NAME, "a tool call without a name"));
            }
            call.announce(out);
            let input = match parse_arguments(&call.arguments) {
                Some(input) => input,
                None if whole => Value::String(call.arguments.clone()),
                None => continue,
            };
            let parts = [("fields", std::mem::take(&mut call.fields)), ("message", std::mem::take(&mut message))];
            let opaque = opaque(NAME, &call.wire_id, parts);
            out.push(ModelEvent::ToolReady { call_id: call.id.clone(), input, opaque });
        }
        Ok(())
    }
}

/// What a fragment's id says about its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    /// It is the call's, or there is none.
    Same,
    /// Another one under the call's index: it may change on every fragment.
    Changed,
    /// Another one, and nothing else names the call.
    New,
}

/// Whether a fragment begins a call rather than goes on with this one. Another name begins one, unless it is a piece of the name;
/// so does the same name once the arguments so far are whole.
fn begins(call: &Call, name: &str, id: Id, has_arguments: bool) -> bool {
    if id == Id::New && (!name.is_empty() || (has_arguments && call.is_whole())) {
        return true;
    }
    if name.is_empty() || call.name.is_empty() {
        return false;
    }
    if name != call.name {
        return call.announced || id != Id::Same;
    }
    call.is_whole() && (has_arguments || id != Id::Same)
}
