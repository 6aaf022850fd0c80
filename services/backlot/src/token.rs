//! `backlot token`: the cluster secret in the hands of an operator. The access tables of the services name what it may call.

use anyhow::{Context as _, bail};
use chassis::{
    config::{Env, SettingDoc},
    identity::{Caller, Signer},
    secret::{self, ClusterSecret},
};
use clap::ValueEnum as _;

use crate::settings::Role;

/// A service as `--for` names it; the gateway accepts no caller token.
///
/// # Errors
/// The names that there are.
pub fn service(name: &str) -> Result<Role, String> {
    let role = Role::from_str(name, false).ok().filter(|role| Role::SERVICES.contains(role));
    role.ok_or_else(|| format!("must be one of {}", Role::SERVICES.map(Role::name).join(", ")))
}

/// A caller token that the service accepts for a minute.
///
/// # Errors
/// The environment is at fault, or it names no cluster.
pub fn operator(mut env: Env, service: Role) -> anyhow::Result<String> {
    let folder = secret::data_dir(&mut env);
    let key = folder.join("cluster.key");
    // Reading the secret would make a key, and a token of a new key opens nothing.
    if !env.is_set("BACKLOT_CLUSTER_SECRET") && !key.exists() {
        bail!("there is no cluster in {}: set BACKLOT_DATA_DIR to its folder, or BACKLOT_CLUSTER_SECRET", folder.display());
    }
    let secret = ClusterSecret::read(&mut env);
    env.check()?;
    let to = Caller::named(service.name()).context("a service without a name")?;
    Signer::new(Caller::Operator, &secret).sign(to, None).context("the token could not be signed")
}

/// What the command reads.
#[must_use]
pub fn settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    ClusterSecret::read(&mut env);
    env.settings().to_vec()
}

#[cfg(test)]
mod tests {
    use chassis::identity::{Keys, Verifier};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_named_service_accepts_it_as_the_operator() {
        let token = operator(Env::of([("BACKLOT_CLUSTER_SECRET", SECRET)]), service("rate-limit").expect("a service")).expect("token");
        let (_, keys) = tokio::sync::watch::channel(Vec::new());
        let verifier = |me| Verifier::new(me, &ClusterSecret::of_bytes(SECRET.as_bytes()), Keys::Local(keys.clone()));
        assert_eq!(verifier(Caller::RateLimit).caller(&token).expect("accepted").0, Caller::Operator);
        assert!(verifier(Caller::Auth).caller(&token).is_err());
    }

    #[test]
    fn without_a_cluster_there_is_no_token_and_no_key_is_made() {
        let folder = tempfile::tempdir().expect("folder");
        let env = Env::of([("BACKLOT_DATA_DIR", folder.path().display().to_string())]);
        let error = operator(env, Role::Auth).expect_err("no cluster").to_string();
        assert!(error.starts_with("there is no cluster in"), "{error}");
        assert_eq!(folder.path().read_dir().expect("folder").count(), 0);
    }

    #[test]
    fn the_gateway_takes_no_caller_token() {
        assert_eq!(service("gateway").unwrap_err(), "must be one of auth, agent-streaming, project-storage, rate-limit");
    }
}
