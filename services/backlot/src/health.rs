//! `backlot health`: the probe for container engines. The image has no shell, so it has no other program for this.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use chassis::{
    client,
    config::{Env, SettingDoc},
    identity::Caller,
    postgres, secret,
    tls::Tls,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    role::Role,
    settings::listen::{gateway_address, grpc_address},
};

/// A probe that takes longer fails.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks a role, at the address that the environment sets, whether it is ready.
///
/// # Errors
/// The role does not answer, or it is not ready.
pub fn command(mut env: Env, role: Role) -> anyhow::Result<()> {
    let address = match role {
        Role::Gateway => gateway_address(&mut env),
        service => grpc_address(&mut env, service),
    };
    // The listener of the gateway has no certificate of the cluster.
    let data = secret::data_dir(&mut env);
    let tls = if role == Role::Gateway { None } else { Tls::read(&mut env, role.caller(), &data) };
    env.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let probe = async {
            match role {
                Role::Gateway => ready(reachable(address)).await,
                service => serving(reachable(address), service, tls).await,
            }
        };
        tokio::time::timeout(LIMIT, probe).await.context("the role did not answer in time")?
    })
}

/// The settings that the command reads.
#[must_use]
pub fn settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    gateway_address(&mut env);
    grpc_address(&mut env, Role::Auth);
    let data = secret::data_dir(&mut env);
    Tls::read(&mut env, Caller::Auth, &data);
    env.settings().to_vec()
}

/// Checks `/readyz` of the gateway.
///
/// # Errors
/// The gateway does not answer, or it is not ready.
pub async fn ready(address: SocketAddr) -> anyhow::Result<()> {
    // The probe stays on this machine, so it uses no proxy. It also needs no certificates, which a minimal machine does not have.
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(LIMIT).build().context("cannot create an HTTP client")?;
    let answer = client.get(format!("http://{address}/readyz")).send().await.context("the gateway does not answer")?;
    let status = answer.status();
    // The answer names what is missing.
    let text = answer.text().await.unwrap_or_default();
    ensure!(status.is_success(), "the gateway is not ready: {status} {}", text.trim());
    Ok(())
}

/// Checks that the health service of a role reports SERVING.
async fn serving(address: SocketAddr, role: Role, tls: Option<Arc<Tls>>) -> anyhow::Result<()> {
    let uri = format!("http://{address}").parse().context("the address is invalid")?;
    let channel = client::connect_without_token(role.caller(), &uri, tls);
    let mut client = HealthClient::new(channel);
    let status = match status(&mut client, grpc_name(role)).await {
        Err(status) if status.code() == tonic::Code::NotFound => bail!("{address} is another service than {}", role.name()),
        status => status.context("the service does not answer")?,
    };
    if status == ServingStatus::Serving {
        return Ok(());
    }
    // A service without PostgreSQL has no such entry.
    let database = self::status(&mut client, postgres::ENGINE).await;
    let missing = if matches!(database, Ok(ServingStatus::NotServing)) { ", PostgreSQL cannot be used" } else { "" };
    bail!("the service is not ready: {}{missing}", status.as_str_name())
}

/// The name of a role's service in the contract.
fn grpc_name(role: Role) -> &'static str {
    match role {
        Role::Auth => proto::auth::auth_service_server::SERVICE_NAME,
        Role::AgentStreaming => proto::agent_streaming::agent_streaming_service_server::SERVICE_NAME,
        Role::ProjectStorage => proto::project_storage::project_storage_service_server::SERVICE_NAME,
        Role::RateLimit => proto::rate_limit::rate_limit_service_server::SERVICE_NAME,
        Role::Compile => proto::compile::compile_service_server::SERVICE_NAME,
        // The gateway is asked over HTTP.
        Role::Gateway => "",
    }
}

async fn status(client: &mut HealthClient<tonic::transport::Channel>, service: &str) -> Result<ServingStatus, tonic::Status> {
    Ok(client.check(HealthCheckRequest { service: service.to_owned() }).await?.into_inner().status())
}

/// The address at which this machine can reach a listener. A listener on all addresses is reached at loopback.
#[must_use]
pub fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_loopback() {
        for (listener, expected) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:81", "[::1]:81"), ("10.0.0.7:82", "10.0.0.7:82"), ("127.0.0.1:83", "127.0.0.1:83")]
        {
            assert_eq!(reachable(listener.parse().expect("address")).to_string(), expected);
        }
    }
}
