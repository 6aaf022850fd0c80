//! Calls of an operator to a role of a cluster.

use anyhow::{Context as _, Result};
use chassis::{
    client::{self, ServiceChannel},
    config::Env,
    identity::Caller,
    secret::{self, ClusterSecret},
    tls::Tls,
};

use proto::error::Fault;
use tonic::Status;

use crate::{role::Role, up};

/// What the calls need of the environment.
pub(crate) struct Access {
    secret: ClusterSecret,
    role: Role,
    /// The setting that names the URL.
    setting: &'static str,
    url: String,
}

impl Access {
    /// `setting` names the URL of the role; `default` and `help` document it.
    pub(crate) fn read(env: &mut Env, role: Role, setting: &'static str, (default, help): (&'static str, &'static str)) -> Self {
        let given: Option<String> = env.derived(setting, default, help);
        let data = secret::data_dir(env);
        let url = given.unwrap_or_else(|| {
            let running = up::Endpoints::read(&data).and_then(|running| running.grpc.of(role).map(str::to_owned));
            running.unwrap_or_else(|| format!("http://{}", role.default_grpc_listen()))
        });
        let tls = Tls::read(env, Caller::Operator, &data);
        Self { secret: ClusterSecret::read_root(env).with_tls(tls), role, setting, url }
    }

    pub(crate) fn channel(&self) -> Result<ServiceChannel> {
        let uri = self.url.parse().with_context(|| format!("{}: {} is no URL", self.setting, self.url))?;
        Ok(client::connect(Caller::Operator, self.role.caller(), &uri, &self.secret))
    }
}

/// An error of the role, with its reason.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn refusal(status: Status) -> anyhow::Error {
    let fault = Fault::from_status(&status);
    anyhow::anyhow!("{} ({})", fault.message, fault.reason)
}
