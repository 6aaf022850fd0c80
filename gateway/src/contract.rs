//! The contract as the gateway reads it at run time: descriptors, comments, and the HTTP bindings of `google.api.http`.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, MethodDescriptor, Value as Field};

/// One HTTP binding of an RPC.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    /// `GET` and so on.
    pub(crate) method: &'static str,
    /// `/api/projects/{project_id}/files/{path=**}`.
    pub(crate) template: String,
    /// `*` if the request is the body, else empty.
    pub(crate) body: String,
    /// The field of the response that is the body, else empty.
    pub(crate) response_body: String,
    pub(crate) rpc: MethodDescriptor,
}

impl Binding {
    /// Whether the path has this field.
    pub(crate) fn has_variable(&self, name: &str) -> bool {
        self.template.contains(&format!("{{{name}}}")) || self.template.contains(&format!("{{{name}="))
    }
}

/// All messages, enumerations and services.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(proto::DESCRIPTORS).expect("the contract's descriptors are readable"))
}

/// Every HTTP binding of the contract.
pub(crate) fn bindings() -> Vec<Binding> {
    let Some(http) = pool().get_extension_by_name("google.api.http") else { return Vec::new() };
    let mut bindings = Vec::new();
    for rpc in pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = rpc.options();
        if !options.has_extension(&http) {
            continue;
        }
        if let Field::Message(rule) = &*options.get_extension(&http) {
            bindings.extend(binding(&rpc, rule));
            if let Some(Field::List(more)) = rule.get_field_by_name("additional_bindings").as_deref() {
                bindings.extend(more.iter().filter_map(Field::as_message).filter_map(|rule| binding(&rpc, rule)));
            }
        }
    }
    bindings
}

fn binding(rpc: &MethodDescriptor, rule: &DynamicMessage) -> Option<Binding> {
    let text = |name: &str| rule.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let verbs = [("GET", "get"), ("PUT", "put"), ("POST", "post"), ("DELETE", "delete"), ("PATCH", "patch")];
    let (method, field) = verbs.into_iter().find(|(_, field)| rule.has_field_by_name(field))?;
    Some(Binding { method, template: text(field), body: text("body"), response_body: text("response_body"), rpc: rpc.clone() })
}

/// The comment above a declaration, with each paragraph on one line.
pub(crate) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.as_ref().map_or(&[][..], |info| &info.location);
    let text = locations.iter().find(|location| location.path == path).map_or("", |location| location.leading_comments());
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|p| !p.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n")
}
