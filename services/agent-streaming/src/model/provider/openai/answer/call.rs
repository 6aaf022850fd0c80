//! Assembles tool calls from fragments. Servers identify calls in different ways: the index may be missing or always 0, the id may come
//! once, with every fragment, or be new in each fragment, and the name may come in pieces.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::{
    NAME,
    opaque::{CALL_FIELDS, keep},
};
use crate::model::provider::{
    ModelEvent, ProviderError,
    calls::{IdGenerator, opaque, parse_arguments},
    http::malformed,
};

#[derive(Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// The ids of the tools. If it is empty, every name counts as complete.
    tools: Vec<&'static str>,
}

#[derive(Default)]
struct Call {
    /// The id within the turn.
    id: String,
    /// The first of the server's own ids.
    wire_id: String,
    /// All of the server's own ids.
    wire_ids: HashSet<String>,
    index: Option<u64>,
    name: String,
    /// `ToolStarted` was emitted, with the complete name.
    started: bool,
    arguments: String,
    brackets: BracketCounter,
    /// The fields that are sent back with the call.
    fields: Map<String, Value>,
}

/// Counts the open brackets of a JSON text that comes in fragments, so that arguments are parsed only when they may be complete.
#[derive(Default)]
struct BracketCounter {
    depth: usize,
    /// There was a bracket.
    any: bool,
    in_string: bool,
    escaped: bool,
}

impl BracketCounter {
    fn push(&mut self, fragment: &str) {
        for byte in fragment.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => {
                    self.any = true;
                    self.depth += 1;
                }
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.any && self.depth == 0 && !self.in_string
    }
}

impl Call {
    fn is_complete(&self) -> bool {
        self.brackets.is_closed() && parse_arguments(&self.arguments).is_some()
    }

    /// Adds a name, which may be the next piece, the same name again, or the name so far with more characters.
    fn add_name(&mut self, name: &str) {
        if name.starts_with(&self.name) {
            name.clone_into(&mut self.name);
        } else if !self.started {
            self.name.push_str(name);
        }
    }

    /// Emits the start of the call once, with the arguments that came before the name.
    fn start(&mut self, out: &mut Vec<ModelEvent>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(ModelEvent::ToolStarted { call_id: self.id.clone(), tool: self.name.clone() });
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

    /// Adds a fragment to its call. Returns whether the fragment has content.
    pub(super) fn fragment(&mut self, fragment: &Value, ids: &mut IdGenerator, out: &mut Vec<ModelEvent>) -> bool {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, name) = (text(&fragment["id"]), text(&fragment["function"]["name"]));
        let index = fragment["index"].as_u64();
        let arguments = match &fragment["function"]["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            object => object.to_string(),
        };
        let before = self.calls.len();
        let at = self.find(&id, index, &name, !arguments.trim().is_empty()).unwrap_or_else(|| {
            self.calls.push(Call { id: ids.call(&id), index, ..Call::default() });
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
        if !name.is_empty() && !call.started {
            call.add_name(&name);
        }
        let name_is_complete = self.tools.is_empty() || self.tools.contains(&call.name.as_str()) || !arguments.is_empty();
        if name_is_complete && !call.name.is_empty() {
            call.start(out);
        }
        let has_content = at == before || !name.is_empty() || !arguments.is_empty();
        if !arguments.is_empty() {
            call.arguments.push_str(&arguments);
            call.brackets.push(&arguments);
            if call.started {
                out.push(ModelEvent::ToolInputDelta { call_id: call.id.clone(), json: arguments });
            }
        }
        has_content
    }

    /// The call that a fragment continues. `None` for the first fragment of a new call.
    fn find(&self, id: &str, index: Option<u64>, name: &str, has_arguments: bool) -> Option<usize> {
        let same_index = |call: &Call| index.is_none() || call.index.is_none() || call.index == index;
        let known = self.calls.iter().rposition(|call| !id.is_empty() && call.wire_ids.contains(id) && same_index(call));
        // A known id selects its call. Otherwise the fragment belongs to the last call with its index, or to the last call.
        let at = match (known, index) {
            (Some(at), _) => at,
            (None, Some(_)) => self.calls.iter().rposition(|call| call.index == index)?,
            (None, None) => self.calls.len().checked_sub(1)?,
        };
        let call = &self.calls[at];
        let id = match index {
            _ if id.is_empty() || known.is_some() || call.wire_ids.is_empty() => IdMatch::Same,
            Some(_) => IdMatch::Changed,
            None => IdMatch::New,
        };
        (!starts_new_call(call, name, id, has_arguments)).then_some(at)
    }

    /// Emits the complete calls. If the answer was cut (`complete` is false), the last call is left out, even if it looks complete. The
    /// first call carries the fields of the message that are sent back.
    pub(super) fn ready(
        &mut self,
        complete: bool,
        mut message: Map<String, Value>,
        out: &mut Vec<ModelEvent>,
    ) -> Result<(), ProviderError> {
        let count = if complete { self.calls.len() } else { self.calls.len().saturating_sub(1) };
        for call in &mut self.calls[..count] {
            if call.name.is_empty() {
                return Err(malformed(NAME, "a tool call without a name"));
            }
            call.start(out);
            let input = match parse_arguments(&call.arguments) {
                Some(input) => input,
                None if complete => Value::String(call.arguments.clone()),
                None => continue,
            };
            let parts = [("fields", std::mem::take(&mut call.fields)), ("message", std::mem::take(&mut message))];
            let opaque = opaque(NAME, &call.wire_id, parts);
            out.push(ModelEvent::ToolReady { call_id: call.id.clone(), input, opaque });
        }
        Ok(())
    }
}

/// How the id of a fragment relates to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdMatch {
    /// The fragment has an id of the call, or none.
    Same,
    /// The fragment has another id, but the index of the call. Some servers send a new id with every fragment.
    Changed,
    /// The fragment has another id and no index.
    New,
}

/// Whether a fragment starts a new call instead of continuing this one. A different name starts a new call, unless it is a piece of the
/// name. The same name starts a new call once the arguments so far are complete.
fn starts_new_call(call: &Call, name: &str, id: IdMatch, has_arguments: bool) -> bool {
    if id == IdMatch::New && (!name.is_empty() || (has_arguments && call.is_complete())) {
        return true;
    }
    if name.is_empty() || call.name.is_empty() {
        return false;
    }
    if name != call.name {
        return call.started || id != IdMatch::Same;
    }
    call.is_complete() && (has_arguments || id != IdMatch::Same)
}
