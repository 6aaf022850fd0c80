//! Compares access tables with the contract.

use prost_reflect::{DescriptorPool, MethodDescriptor, prost_types::method_options::IdempotencyLevel};

use crate::{
    identity::{Caller, Grant},
    server::{Rule, Scope, scope},
};

/// Checks the access table of a process with one service, see [`assert_access_tables`].
///
/// # Panics
/// The table and the contract differ.
pub fn assert_access_table(service: &str, rules: &[Rule]) {
    assert_access_tables(&[service], rules);
}

/// Checks the access table of services in one process, named as in the contract (`backlot.auth.v1.AuthService`):
///
/// - Every RPC has exactly one row, and there are no other rows.
/// - Direct callers may call an RPC if and only if it is part of the HTTP API by `google.api.http`. They may also call one in which both
///   sides stream, if it has a route of the gateway's own.
/// - The scope is `Internal` if and only if direct callers may not call the RPC.
/// - No key passes `Account` and `AccountWithoutFactor`, and a key that may only read passes no RPC of a user with side effects.
/// - `Read` and `Write` need a user. The contract marks the RPCs of `Read`, and only those, as without side effects.
///
/// # Panics
/// The table and the contract differ.
pub fn assert_access_tables(services: &[&str], rules: &[Rule]) {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("the contract's descriptors");
    let http = pool.get_extension_by_name("google.api.http").expect("google.api.http");
    let services = services.iter().map(|name| pool.get_service_by_name(name).expect("the service"));
    let methods: Vec<MethodDescriptor> = services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    for method in &methods {
        let name = method.name();
        let rows: Vec<&Rule> = rules.iter().filter(|rule| rule.rpc == name).collect();
        assert_eq!(rows.len(), 1, "rows of {name}");
        let (rule, is_public) = (rows[0], method.options().has_extension(&http) || is_own_route(method, rows[0]));
        assert_eq!(rule.callers.contains(&Caller::Direct), is_public, "{name}: direct callers and google.api.http");
        assert_eq!(rule.scope == Scope::Internal, !is_public, "{name}: the scope {:?}", rule.scope);
        let level = method.method_descriptor_proto().options.as_ref().map(|options| options.idempotency_level());
        let reads = level == Some(IdempotencyLevel::NoSideEffects);
        let key = |can_write| scope::missing(rule, &Grant { can_write, projects: None });
        assert!(reads || !rule.user || key(false).is_some(), "{name}: a key that may only read changes something");
        assert_eq!(rule.scope.is_of_account(), key(true).is_some(), "{name}: what a key may do with the account");
        match rule.scope {
            Scope::Read => assert!(rule.user && reads, "{name}: Read needs a user and an RPC without side effects"),
            Scope::Write => assert!(rule.user && !reads, "{name}: Write needs a user and an RPC with side effects"),
            Scope::Account | Scope::AccountWithoutFactor | Scope::Open | Scope::Internal => {}
        }
    }
    assert_eq!(methods.len(), rules.len(), "a row without an RPC");
}

/// An RPC of two streams has no binding, because `google.api.http` cannot describe it. The row says whether the gateway has a route.
fn is_own_route(method: &MethodDescriptor, rule: &Rule) -> bool {
    method.is_client_streaming() && method.is_server_streaming() && rule.callers.contains(&Caller::Direct)
}
