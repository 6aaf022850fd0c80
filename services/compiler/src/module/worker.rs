//! Scripts of workers. A browser applies the import map of a page to no worker, so that their imports are addresses: the module has marks,
//! which the walk fills.

use compiler_client::message::facts::Kind;

use super::is_script;
use crate::tree::resolve::PUBLIC;

/// The query of a script whose address a page gives to `new Worker`.
pub(crate) const ADDRESS: &str = "?worker&url";

/// What an import of a worker's script is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// A function that starts it.
    Worker,
    Shared,
    Address,
}

impl Form {
    /// That of a query, if it asks for a worker.
    pub(crate) fn of(query: &str) -> Option<Self> {
        match query {
            "?worker" | "?worker&inline" => Some(Self::Worker),
            "?sharedworker" | "?sharedworker&inline" => Some(Self::Shared),
            ADDRESS | "?sharedworker&url" => Some(Self::Address),
            _ => None,
        }
    }

    /// The code of the module that the import gets. `script` is relative to it.
    pub(crate) fn code(self, script: &str) -> String {
        let address = format!("new URL({}, import.meta.url)", super::data::quoted(script));
        let class = match self {
            Self::Address => return format!("export default {address}.href;\n"),
            Self::Worker => "Worker",
            Self::Shared => "SharedWorker",
        };
        format!("export default function (options) {{\n  return new {class}({address}, {{ type: \"module\", name: options?.name }});\n}}\n")
    }
}

/// What becomes of a worker's script, or why it cannot be one. One of `public` is served as it is.
pub(super) fn kind(path: &str) -> Result<Kind, String> {
    match path.strip_prefix(PUBLIC).is_some_and(|rest| rest.starts_with('/')) {
        true => Ok(Kind::Address),
        false if is_script(path) => Ok(Kind::Worker),
        false => Err("a worker must be a script".to_owned()),
    }
}
