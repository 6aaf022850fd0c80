//! Who may call which RPC: one row each. `Direct` stands exactly at those that carry `google.api.http`.

use chassis::{
    identity::Caller::{self, AgentStreaming, Direct, Gateway, Operator, ProjectStorage, RateLimit},
    server::{Rule, Size::Ordinary},
};

const PUBLIC: &[Caller] = &[Direct, Gateway];

pub const RULES: &[Rule] = &[
    // An operator opens accounts where sign-up is closed.
    Rule { rpc: "SignUp", callers: &[Direct, Gateway, Operator], user: false, size: Ordinary },
    Rule { rpc: "SignIn", callers: PUBLIC, user: false, size: Ordinary },
    Rule { rpc: "SignOut", callers: PUBLIC, user: false, size: Ordinary },
    Rule { rpc: "GetSession", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "CreateAccessToken", callers: PUBLIC, user: false, size: Ordinary },
    Rule {
        rpc: "GetKeySet",
        callers: &[Direct, Gateway, AgentStreaming, ProjectStorage, RateLimit, Operator],
        user: false,
        size: Ordinary,
    },
    Rule { rpc: "WatchRevocations", callers: &[Gateway, ProjectStorage], user: false, size: Ordinary },
];

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_rpc_has_one_row_and_direct_means_public() {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("descriptors");
        let service = pool.get_service_by_name("backlot.auth.v1.AuthService").expect("service");
        let http = pool.get_extension_by_name("google.api.http").expect("annotation");
        for method in service.methods() {
            let rows: Vec<&Rule> = RULES.iter().filter(|rule| rule.rpc == method.name()).collect();
            assert_eq!(rows.len(), 1, "{}", method.name());
            let public = method.options().has_extension(&http);
            assert_eq!(rows[0].callers.contains(&Direct), public, "{}", method.name());
            assert!(rows[0].callers.contains(&Gateway), "{}", method.name());
        }
        assert_eq!(service.methods().count(), RULES.len(), "a row without an RPC");
    }
}
