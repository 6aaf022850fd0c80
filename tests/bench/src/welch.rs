//! Whether the time of a call tells if an address has an account: Welch's t between calls for a known and for unknown addresses. The hash is
//! cheap here, so that it hides nothing of the rest.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use anyhow::{Result, ensure};
use chassis::{
    client::{self, ServiceChannel},
    context::Context,
    identity::Caller,
};
use proto::auth::{RequestPasswordResetRequest, SignInRequest, SignUpRequest, auth_service_client::AuthServiceClient};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tonic::Code;

use crate::{
    environment::{Cluster, Environment, progress},
    table::{Goal, Table, Unit},
};

/// Calls for each kind of address.
const SAMPLES: usize = 5_000;
/// The first calls, which are not counted.
const WARM_UP: usize = 200;
/// Accounts, and addresses without one, that sign-ins try in turn. Both are tried equally often, because a limit keeps a count of each.
const ADDRESSES: u32 = 50;
/// A larger t is a difference that an attacker could measure.
const MAX_T: f64 = 4.5;
/// The part of all times that counts. The longest ones come from other work of the machine and hide small differences.
const KEPT: f64 = 0.95;

#[derive(Debug, Clone, Copy)]
enum Call {
    SignIn,
    Reset,
    SignUp,
}

impl Call {
    const ALL: [(Self, &'static str); 3] = [(Self::SignIn, "sign-in"), (Self::Reset, "request of a reset"), (Self::SignUp, "sign-up")];

    /// Makes the call from a new address, with a new password.
    async fn make(self, client: &mut AuthServiceClient<ServiceChannel>, email: String, number: u32) -> Result<()> {
        let (context, password) = (at(number), format!("correct horse battery {number}"));
        match self {
            Self::SignIn => {
                let request = SignInRequest { email, password, ..Default::default() };
                let status = client.sign_in(context.request(request)).await.err().map(|status| status.code());
                ensure!(status == Some(Code::Unauthenticated), "a wrong password: {status:?}");
            }
            Self::Reset => {
                client.request_password_reset(context.request(RequestPasswordResetRequest { email })).await?;
            }
            Self::SignUp => {
                let answer = client.sign_up(context.request(SignUpRequest { email, password, ..Default::default() })).await?;
                ensure!(answer.get_ref().session.is_none(), "a sign-up that proves its address starts no session");
            }
        }
        Ok(())
    }
}

pub(crate) async fn measure(environment: &Environment, upstream: &str, policies: (&str, &str), table: &mut Table) -> Result<()> {
    let cluster = environment.cluster("welch", upstream, &[policies]).await?;
    // A second auth on the same database, in the mode in which a sign-up tells nothing.
    let settings = [
        ("DATABASE_URL", &*environment.url("welch")),
        ("BACKLOT_RATE_LIMIT_URL", cluster.grpc.rate_limit.as_str()),
        ("BACKLOT_SIGNUP", "verify"),
    ];
    let process = environment.role("welch-auth", "auth", &settings).await?;
    let mut client = auth(&process.url, &cluster)?;
    create_accounts(&cluster).await?;
    let mut random = StdRng::seed_from_u64(7);
    let mut number = 0;
    for (call, name) in Call::ALL {
        progress(&format!("time of a {name} for known and unknown addresses"));
        let mut times = [Vec::new(), Vec::new()];
        while times.iter().any(|times| times.len() < SAMPLES + WARM_UP) {
            // In random order, so that what one call leaves to do delays both kinds.
            let kind = usize::from(random.random::<bool>());
            number += 1;
            let email = match (call, kind) {
                (Call::SignIn, 0) => format!("person{}@example.org", number % ADDRESSES),
                (Call::SignIn, _) => format!("nobody{}@example.org", number % ADDRESSES),
                (_, 0) => cluster.person.email.clone(),
                (_, _) => format!("nobody{number}@example.org"),
            };
            let started = Instant::now();
            call.make(&mut client, email, number).await?;
            times[kind].push(started.elapsed().as_secs_f64());
        }
        let [known, unknown] = times.map(|times| times[WARM_UP..].to_vec());
        let t = welch(&known, &unknown).abs();
        table.row(format!("Welch's t of a {name}, known and unknown address"), Unit::Factor, (MAX_T, t), Goal::Bound(MAX_T));
    }
    Ok(())
}

/// Signs up the accounts whose sign-ins are measured.
async fn create_accounts(cluster: &Cluster) -> Result<()> {
    let mut client = auth(&cluster.grpc.auth, cluster)?;
    for number in 0..ADDRESSES {
        let request = SignUpRequest {
            email: format!("person{number}@example.org"),
            password: format!("correct horse battery of person {number}"),
            ..Default::default()
        };
        client.sign_up(at(number).request(request)).await?;
    }
    Ok(())
}

/// A client of auth that calls as the gateway does.
pub(crate) fn auth(uri: &str, cluster: &Cluster) -> Result<AuthServiceClient<ServiceChannel>> {
    Ok(AuthServiceClient::new(client::connect(Caller::Gateway, Caller::Auth, &uri.parse()?, &cluster.secret)))
}

/// The context of a client with this address.
pub(crate) fn at(address: u32) -> Context {
    Context { client_address: Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + address))), ..Context::background() }
}

/// Welch's t of two samples, without the longest times of both together.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<f64> = one.iter().chain(other).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let longest = all.get((all.len() as f64 * KEPT) as usize).copied().unwrap_or(f64::INFINITY);
    let (one, other) = (moments(one, longest), moments(other, longest));
    (one.0 - other.0) / (one.1 + other.1).sqrt()
}

/// The mean of the times below a limit, and its variance.
fn moments(times: &[f64], limit: f64) -> (f64, f64) {
    let kept: Vec<f64> = times.iter().copied().filter(|time| *time < limit).collect();
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 samples")]
    let count = kept.len() as f64;
    let mean = kept.iter().sum::<f64>() / count;
    let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_have_a_small_t_and_different_ones_a_large_one() {
        let times = |from: f64| (0..1_000_u32).map(|n| from + f64::from(n * 7_919 % 1_000) * 1e-6).collect::<Vec<_>>();
        assert!(welch(&times(0.001), &times(0.001)).abs() < 0.01);
        assert!(welch(&times(0.001), &times(0.001_2)) < -MAX_T, "a difference of a fifth of a millisecond");
        assert!(welch(&times(0.001_2), &times(0.001)) > MAX_T);
    }
}
