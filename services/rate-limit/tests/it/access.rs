//! Who may call which RPC, through the production server.

use chassis::{context::Context, identity::Caller};
use proto::{
    error::{ErrorCode, Fault},
    rate_limit::{ListPoliciesRequest, rate_limit_service_client::RateLimitServiceClient},
};
use rate_limit::Policies;
use tonic::{Request, transport::Endpoint};

use crate::harness::{Running, check, one_unit, start};

/// The names of the policies in use.
async fn list(running: &Running, caller: Caller) -> Result<Vec<String>, Fault> {
    let request = Context::background().request(ListPoliciesRequest {});
    let answer = running.client(caller).list_policies(request).await.map_err(|s| Fault::from_status(&s))?;
    Ok(answer.into_inner().policies.into_iter().map(|policy| policy.name).collect())
}

#[tokio::test]
async fn services_and_operators_may_call_the_rpcs_of_the_access_table() {
    let running = start(&[]).await;
    for caller in [Caller::Gateway, Caller::Auth, Caller::AgentStreaming, Caller::ProjectStorage, Caller::Operator] {
        assert!(check(&mut running.client(caller), vec![one_unit("general", caller.name())]).await.expect("allowed").allowed, "{caller:?}");
    }
    let shipped: Vec<_> = Policies::shipped().names().map(str::to_owned).collect();
    for caller in [Caller::Gateway, Caller::Operator] {
        assert_eq!(list(&running, caller).await.as_ref(), Ok(&shipped), "{caller:?}");
    }
    for caller in [Caller::Auth, Caller::AgentStreaming, Caller::ProjectStorage] {
        let fault = list(&running, caller).await.expect_err(caller.name());
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Forbidden, "CALLER_DENIED"));
    }
    running.stop().await;
}

#[tokio::test]
async fn other_callers_are_refused() {
    let running = start(&[]).await;
    let channel = Endpoint::from(running.uri().clone()).connect_lazy();
    let mut direct = RateLimitServiceClient::new(channel);
    let status = direct.list_policies(Request::new(ListPoliciesRequest {})).await.expect_err("no caller token");
    assert_eq!(Fault::from_status(&status).reason, "CALLER_DENIED");

    let mut forged = Request::new(ListPoliciesRequest {});
    forged.metadata_mut().insert("x-backlot-caller", "gateway".parse().expect("ascii"));
    let status = direct.list_policies(forged).await.expect_err("a forged caller token");
    assert_eq!(Fault::from_status(&status).reason, "TOKEN_INVALID");
    running.stop().await;
}
