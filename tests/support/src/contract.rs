//! The HTTP bindings of all public RPCs, read from the descriptors of the contract.

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value};

/// An HTTP binding of an RPC.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The HTTP method, such as `POST`.
    pub method: String,
    /// The path template, such as `/api/projects/{project_id}/files/{path=**}`.
    pub template: String,
    /// Whether the message is in the body. Otherwise it is in the path and the query, and the body may have one field of it.
    pub has_body: bool,
    pub rpc: MethodDescriptor,
}

impl Binding {
    #[must_use]
    pub fn input(&self) -> MessageDescriptor {
        self.rpc.input()
    }

    /// The names of the variables of the template, such as `project_id`.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let parts = self.template.split('{').skip(1);
        parts.filter_map(|p| p.split(['}', '=']).next()).map(str::to_owned).collect()
    }

    /// The path with the values of the variables.
    pub fn path(&self, value: impl Fn(&str) -> String) -> String {
        let mut parts = self.template.split('{');
        let mut path = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (variable, rest) = part.split_once('}').unwrap_or((part, ""));
            path.push_str(&value(variable.split('=').next().unwrap_or_default()));
            path.push_str(rest);
        }
        path
    }

    /// The fields that are not in the path.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldDescriptor> {
        let variables = self.variables();
        self.input().fields().filter(|f| !variables.contains(&f.name().to_owned())).collect()
    }
}

/// The descriptors of the whole contract.
///
/// # Panics
/// If the descriptors cannot be decoded.
#[must_use]
pub fn pool() -> DescriptorPool {
    DescriptorPool::decode(proto::DESCRIPTORS).expect("descriptors")
}

/// All RPCs of the services of Backlot.
#[must_use]
pub fn rpcs() -> Vec<MethodDescriptor> {
    let pool = pool();
    pool.services().filter(|s| s.full_name().starts_with("backlot.")).flat_map(|s| s.methods().collect::<Vec<_>>()).collect()
}

/// All bindings of all public RPCs.
#[must_use]
pub fn bindings() -> Vec<Binding> {
    rpcs().into_iter().flat_map(|rpc| rules_of(&rpc).into_iter().filter_map(move |rule| binding(&rpc, &rule))).collect()
}

/// The RPC of which both sides stream, so that `google.api.http` cannot bind it, and the gateway has routes of its own for it.
const OWN_ROUTES: &str = "backlot.project_storage.v1.ProjectStorageService.ImportArchive";

/// Whether the RPC is part of the HTTP API: by `google.api.http`, or by routes of the gateway's own.
#[must_use]
pub fn is_public(rpc: &MethodDescriptor) -> bool {
    !rules_of(rpc).is_empty() || rpc.full_name() == OWN_ROUTES
}

fn rules_of(rpc: &MethodDescriptor) -> Vec<DynamicMessage> {
    let extension = rpc.parent_pool().get_extension_by_name("google.api.http").expect("google.api.http");
    let options = rpc.options();
    if !options.has_extension(&extension) {
        return Vec::new();
    }
    let Some(rule) = options.get_extension(&extension).as_message().cloned() else { return Vec::new() };
    let more: Vec<_> = rule
        .get_field_by_name("additional_bindings")
        .and_then(|v| v.as_list().map(<[Value]>::to_vec))
        .unwrap_or_default()
        .iter()
        .filter_map(|v| v.as_message().cloned())
        .collect();
    std::iter::once(rule).chain(more).collect()
}

fn binding(rpc: &MethodDescriptor, rule: &DynamicMessage) -> Option<Binding> {
    let text = |name: &str| rule.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let method = ["get", "put", "post", "delete", "patch"].into_iter().find(|m| !text(m).is_empty())?;
    Some(Binding { method: method.to_uppercase(), template: text(method), has_body: text("body") == "*", rpc: rpc.clone() })
}

/// A JSON value with the wrong type for the field.
#[must_use]
pub fn wrong_type(field: &FieldDescriptor) -> serde_json::Value {
    use serde_json::json;
    if field.is_list() {
        return json!({ "not": "a list" });
    }
    match field.kind() {
        Kind::String | Kind::Bytes => json!(7),
        Kind::Enum(_) => json!("NO_SUCH_NAME"),
        Kind::Bool => json!("maybe"),
        Kind::Message(_) => json!("not an object"),
        _ => json!("seven"),
    }
}
