//! Row A18 of the test programme, for every RPC of every access table: callers that the table does not name, and caller tokens that are not
//! good, are refused before anything else.

use anyhow::{Context as _, Result};
use backlot::role::Role;
use chassis::{
    client::CALLER_HEADER,
    clock,
    config::Env,
    identity::{Caller, Signer},
    secret::ClusterSecret,
    testing,
};
use proto::error::Fault;
use test_support::{Cluster, contract, grpc};
use tonic::Status;

#[tokio::test(flavor = "multi_thread")]
async fn a18_each_rpc_refuses_callers_that_its_table_does_not_name() -> Result<()> {
    let cluster = Cluster::start().await?;
    let user = cluster.person().await?.access_token().await?;
    let secret = ClusterSecret::read_root(&mut Env::of([("BACKLOT_DATA_DIR", cluster.data_dir().to_string_lossy())]));
    let ended = clock::now().unix_timestamp().unsigned_abs() - 31;
    let (rpcs, mut asked) = (contract::rpcs(), 0);
    for role in Role::SERVICES {
        let me = Caller::named(role.name()).context("a caller")?;
        let elsewhere = if me == Caller::Auth { Caller::RateLimit } else { Caller::Auth };
        let channel = grpc::connect(&cluster.grpc[role.name()]).await?;
        for rule in role.rules() {
            let rpc = rpcs.iter().find(|rpc| grpc::service_of(rpc) == role.name() && rpc.name() == rule.rpc);
            let rpc = rpc.context(rule.rpc)?;
            let refusal = async |token: Option<&str>| {
                let headers: Vec<_> = token.map(|token| (CALLER_HEADER, token)).into_iter().collect();
                reason(grpc::call(channel.clone(), rpc, Vec::new(), &headers).await)
            };
            let (named, others): (Vec<_>, Vec<_>) = Caller::NAMED.into_iter().partition(|from| rule.callers.contains(from));
            // These first: good tokens make the connection one of the cluster, which is not closed after some refusals.
            for from in others {
                let token = Signer::new(from, &secret).sign(me, None)?;
                assert_eq!(refusal(Some(&token)).await, "CALLER_DENIED", "{} by {}", rule.rpc, from.name());
            }
            if !rule.callers.contains(&Caller::Direct) {
                assert_eq!(refusal(None).await, "CALLER_DENIED", "{}: without a caller token", rule.rpc);
            }
            for from in named {
                let row = format!("{} by {}", rule.rpc, from.name());
                let late = testing::caller_token_until(&secret, from, me, ended);
                assert_eq!(refusal(Some(&late)).await, "TOKEN_INVALID", "{row}: expired");
                let other = Signer::new(from, &secret).sign(elsewhere, None)?;
                assert_eq!(refusal(Some(&other)).await, "TOKEN_INVALID", "{row}: for {}", elsewhere.name());
            }
            assert_eq!(refusal(Some(&user)).await, "TOKEN_INVALID", "{}: a user token as caller token", rule.rpc);
            asked += 1;
        }
    }
    assert_eq!(asked, rpcs.len(), "an RPC has no row");
    cluster.stop().await
}

fn reason(answer: Result<Vec<u8>, Status>) -> String {
    answer.map_or_else(|status| Fault::from_status(&status).reason, |_| "accepted".to_owned())
}
