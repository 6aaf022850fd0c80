//! `backlot token` and `backlot keys`: what an operator derives from the cluster secret. The access tables of the services define the RPCs
//! that an operator may call.

use anyhow::Context as _;
use chassis::{
    config::{Env, SettingDoc},
    identity::{Caller, Signer},
    secret::ClusterSecret,
};
use clap::ValueEnum as _;

use crate::role::Role;

/// Parses the argument of `--for`. The gateway accepts no caller tokens.
///
/// # Errors
/// A text with the valid names.
pub fn service(name: &str) -> Result<Role, String> {
    let role = Role::from_str(name, false).ok().filter(|role| Role::SERVICES.contains(role));
    role.ok_or_else(|| format!("must be one of {}", Role::SERVICES.map(Role::name).join(", ")))
}

/// A caller token that the service accepts for a minute.
///
/// # Errors
/// The environment is invalid, or there is no cluster secret.
pub fn operator(mut env: Env, service: Role) -> anyhow::Result<String> {
    let secret = ClusterSecret::read_root(&mut env);
    env.check()?;
    Signer::new(Caller::Operator, &secret).sign(service.caller(), None).context("the token could not be signed")
}

/// The keys of one role as one line, for its BACKLOT_ROLE_KEYS.
///
/// # Errors
/// The environment is invalid, or there is no cluster secret.
pub fn keys(mut env: Env, role: Role) -> anyhow::Result<String> {
    let secret = ClusterSecret::read_root(&mut env);
    env.check()?;
    secret.bundle(role.caller()).context("the command needs the cluster secret")
}

/// The settings of both commands.
#[must_use]
pub fn settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    ClusterSecret::read_root(&mut env);
    env.settings().to_vec()
}

#[cfg(test)]
mod tests {
    use chassis::verifier::{Keys, Verifier};

    use super::*;

    const SECRET: &str = "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7";

    #[test]
    fn the_service_accepts_the_token_of_an_operator() {
        let token = operator(Env::of([("BACKLOT_CLUSTER_SECRET", SECRET)]), service("rate-limit").expect("a service")).expect("token");
        let (_, keys) = tokio::sync::watch::channel(Vec::new());
        let verifier = |service| Verifier::new(service, &ClusterSecret::of_bytes(SECRET.as_bytes()), Keys::Local(keys.clone()));
        assert_eq!(verifier(Caller::RateLimit).caller(&token).expect("accepted").0, Caller::Operator);
        assert!(verifier(Caller::Auth).caller(&token).is_err());
    }

    #[test]
    fn without_a_cluster_secret_no_token_and_no_secret_is_created() {
        let folder = tempfile::tempdir().expect("folder");
        let env = Env::of([("BACKLOT_DATA_DIR", folder.path().display().to_string())]);
        let error = operator(env, Role::Auth).expect_err("no cluster").to_string();
        assert!(error.contains("is not set and there is no"), "{error}");
        assert_eq!(folder.path().read_dir().expect("folder").count(), 0);
    }

    #[test]
    fn the_gateway_accepts_no_caller_token() {
        assert_eq!(service("gateway").unwrap_err(), "must be one of auth, agent-streaming, project-storage, rate-limit, compile");
    }
}
