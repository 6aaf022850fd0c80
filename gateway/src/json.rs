//! ProtoJSON in and out: request messages from path, query and body, and messages as responses. An error names the field and the limit.
//! Unknown and repeated fields are refused.

pub(crate) mod body;
pub(crate) mod diagnostics;
pub(crate) mod form;
pub(crate) mod forward;
pub(crate) mod limits;
pub(crate) mod params;
mod query_value;
pub(crate) mod receive;
pub(crate) mod reply;
mod value_count;
