//! Tool calls, put together from fragments. Backends disagree on what names a call: the index may be missing or always 0, the
//! id may come once, on every fragment, or be new each time.

use serde_json::Value;

use super::NAME;
use crate::provider::{
    ModelEvent, ProviderError,
    calls::{Names, parse_arguments},
    http::malformed,
};

#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

struct Call {
    /// Ours.
    id: String,
    /// Theirs: every id that a fragment of this call had.
    wire_ids: Vec<String>,
    index: Option<u64>,
    name: String,
    arguments: String,
}

impl Call {
    fn is_whole(&self) -> bool {
        !self.arguments.is_empty() && parse_arguments(&self.arguments).is_some()
    }
}

impl Calls {
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn fragment(&mut self, fragment: &Value, names: &mut Names, out: &mut Vec<ModelEvent>) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, name) = (text(&fragment["id"]), text(&fragment["function"]["name"]));
        let index = fragment["index"].as_u64();
        let arguments = match &fragment["function"]["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            object => object.to_string(),
        };
        let at = self.place(&id, index, &name, !arguments.is_empty()).unwrap_or_else(|| {
            let call = Call { id: names.call(&id), wire_ids: Vec::new(), index, name: String::new(), arguments: String::new() };
            self.0.push(call);
            self.0.len() - 1
        });
        let call = &mut self.0[at];
        if !id.is_empty() && !call.wire_ids.contains(&id) {
            call.wire_ids.push(id);
        }
        let begins = call.name.is_empty() && !name.is_empty();
        if begins {
            call.name = name;
            out.push(ModelEvent::ToolStarted { call_id: call.id.clone(), tool: call.name.clone() });
            // Arguments that came before the name.
            if !call.arguments.is_empty() {
                out.push(ModelEvent::ToolInputDelta { call_id: call.id.clone(), json: call.arguments.clone() });
            }
        }
        if !arguments.is_empty() {
            call.arguments.push_str(&arguments);
            if !call.name.is_empty() {
                out.push(ModelEvent::ToolInputDelta { call_id: call.id.clone(), json: arguments });
            }
        }
    }

    /// The call that a fragment goes on with; `None` for a new one. Among calls of one index an id finds its own, else the last
    /// one is meant. A fragment with another name begins a call, and so does one that names the tool again although the
    /// arguments so far are whole; an id that is only different does not: it may change on every fragment.
    fn place(&self, id: &str, index: Option<u64>, name: &str, has_arguments: bool) -> Option<usize> {
        let same_index = |call: &Call| index.is_none() || call.index.is_none() || call.index == index;
        let known = self.0.iter().rposition(|call| !id.is_empty() && call.wire_ids.iter().any(|known| known == id) && same_index(call));
        let at = match (known, index) {
            (Some(at), _) => at,
            (None, Some(_)) => self.0.iter().rposition(|call| call.index == index)?,
            (None, None) => self.0.len().checked_sub(1)?,
        };
        let call = &self.0[at];
        let new_id = !id.is_empty() && known.is_none();
        let begins = !name.is_empty() && !call.name.is_empty() && (name != call.name || (call.is_whole() && (has_arguments || new_id)));
        (!begins).then_some(at)
    }

    /// Every call that can be made. Where the answer was cut the last call may be cut too, however whole it looks.
    pub(super) fn ready(&self, whole: bool, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        let count = if whole { self.0.len() } else { self.0.len().saturating_sub(1) };
        for call in &self.0[..count] {
            if call.name.is_empty() {
                return Err(malformed(NAME, "a tool call without a name"));
            }
            let input = match parse_arguments(&call.arguments) {
                Some(input) => input,
                None if whole => Value::String(call.arguments.clone()),
                None => continue,
            };
            out.push(ModelEvent::ToolReady { call_id: call.id.clone(), input });
        }
        Ok(())
    }
}
