//! The default policies over HTTP and gRPC, with counters in the process and in Redis.

use anyhow::{Context as _, Result};
use chassis::testing;
use futures::future::try_join_all;
use proto::{
    agent_streaming::{ListAgentsRequest, StartTurnRequest, agent_streaming_service_client::AgentStreamingServiceClient},
    error::Fault,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person, grpc};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_turn_of_a_minute_is_refused_in_process() -> Result<()> {
    fourth_turn(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_turn_of_a_minute_is_refused_with_redis() -> Result<()> {
    let redis = testing::redis().await;
    fourth_turn(&[("REDIS_URL", &redis.url)]).await
}

/// The shipped policies except `general`, which would refuse before `agent` does.
const GENERAL: &str = "policies: [{ name: general, limit: 10000, window: 1s }]";

async fn fourth_turn(settings: &[(&str, &str)]) -> Result<()> {
    let policies = tempfile::NamedTempFile::new()?;
    std::fs::write(&policies, GENERAL)?;
    let policies = policies.path().to_string_lossy();
    let cluster = &Cluster::with(&[&[("BACKLOT_POLICIES", &*policies)], settings].concat()).await?;
    let person = cluster.person().await?.with_token().await?;
    let body = |key: &str| json!({ "draftId": "d", "prompt": "a counter", "idempotencyKey": key });
    let first = person.post("/api/turns", body("k1")).await?;
    for _ in 0..3 {
        assert_eq!(person.post("/api/turns", body("k1")).await?["id"], first["id"], "a retry returns the same turn and is not counted");
    }
    person.post("/api/turns", body("k2")).await?;
    person.post("/api/turns", body("k3")).await?;

    let response = person.request(Method::POST, "/api/turns").json(&body("k4")).send().await?;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (retry_after, policy, limit) = (header("retry-after"), header("ratelimit-policy"), header("ratelimit"));
    assert!((1..=60).contains(&retry_after.parse::<u32>()?), "Retry-After: {retry_after}");
    assert!(policy.contains(r#""agent";q=3;w=60"#), "RateLimit-Policy: {policy}");
    assert!(limit.contains(r#""agent";r=0;t="#), "RateLimit: {limit}");
    let problem: Value = response.json().await?;
    assert_eq!((problem["reason"].as_str(), problem["metadata"]["policy"].as_str()), (Some("RATE_LIMITED"), Some("agent")), "{problem}");

    assert_eq!(person.post("/api/turns", body("k1")).await?["id"], first["id"], "also after the refusal");
    let (status, problem) =
        person.refused(Method::POST, "/api/turns", json!({ "draftId": "d", "prompt": "another", "idempotencyKey": "k1" })).await?;
    assert_eq!((status.as_u16(), problem["reason"].as_str()), (422, Some("KEY_REUSED")));
    over_grpc(cluster, &person).await
}

async fn over_grpc(cluster: &Cluster, person: &Person) -> Result<()> {
    let channel = grpc::connect(&cluster.grpc["agent-streaming"]).await?;
    let mut client = AgentStreamingServiceClient::new(channel);
    let mut request = tonic::Request::new(StartTurnRequest { draft_id: "d".into(), prompt: "a counter".into(), ..Default::default() });
    let token = person.token.clone().unwrap_or_default();
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let status = client.start_turn(request).await.expect_err("the fourth");
    let fault = Fault::from_status(&status);
    assert_eq!((status.code(), fault.reason.as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    assert_eq!(fault.quota.first().map(|q| q.policy.as_str()), Some("agent"));
    assert!(fault.retry_after.is_some_and(|wait| !wait.is_zero()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_grpc_calls_are_counted_by_general() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_POLICIES", "")]).await?;
    let person = cluster.person().await?;
    let token = person.access_token().await?;
    let mut client = AgentStreamingServiceClient::new(grpc::connect(&cluster.grpc["agent-streaming"]).await?);
    let mut refused = None;
    // The sign-up and the token request are counted, too.
    for _ in 0..11 {
        let mut request = tonic::Request::new(ListAgentsRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        refused = refused.or(client.list_agents(request).await.err());
    }
    let fault = Fault::from_status(&refused.context("nothing was refused")?);
    assert_eq!((fault.reason.as_str(), fault.quota.first().map(|q| q.policy.as_str())), ("RATE_LIMITED", Some("general")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_policies_are_enforced() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_POLICIES", "")]).await?;
    let person = cluster.person().await?;
    let http = &person.http;
    let mut statuses = Vec::new();
    let mut policies = Vec::new();
    // The sign-up counts as one of the five attempts in fifteen minutes.
    for name in ["nobody", "nobody", "nobody", "another", "a third"] {
        let body = json!({ "email": format!("{name}@example.com"), "password": "not the password" });
        let answer = http.post(format!("{}/api/auth/signin", cluster.url)).json(&body).send().await?;
        statuses.push(answer.status().as_u16());
        policies.push(answer.json::<Value>().await?["metadata"]["policy"].as_str().map(str::to_owned));
    }
    assert_eq!(statuses, [401, 401, 401, 401, 429]);
    assert_eq!(policies[4].as_deref(), Some("auth"));

    // Concurrent, so that a slow machine does not spread them over several windows.
    let answers = try_join_all((0..40).map(|_| person.request(Method::GET, "/api/agents").send())).await?;
    let refused = answers.into_iter().find(|response| response.status() == StatusCode::TOO_MANY_REQUESTS);
    let refused: Value = refused.context("forty requests within ten seconds")?.json().await?;
    assert_eq!(refused["metadata"]["policy"], "general", "{refused}");

    let saver = cluster_with_wide_general().await?;
    let person = saver.person().await?;
    for n in 0..30 {
        let body = json!({ "draftId": "d", "changes": [{ "path": "a.txt", "write": { "text": n.to_string() } }] });
        person.post("/api/projects/save", body).await?;
    }
    let body = json!({ "draftId": "d", "changes": [{ "path": "a.txt", "write": { "text": "more" } }] });
    let (status, problem) = person.refused(Method::POST, "/api/projects/save", body).await?;
    assert_eq!((status.as_u16(), problem["metadata"]["policy"].as_str()), (429, Some("save")));
    saver.stop().await?;
    cluster.stop().await
}

/// A cluster with the shipped policies except `general`, which would refuse before `save` does.
async fn cluster_with_wide_general() -> Result<Cluster> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "policies:\n  - { name: general, limit: 100000, window: 10s, algorithm: gcra }\n")?;
    Cluster::with(&[("BACKLOT_POLICIES", &file.path().to_string_lossy())]).await
}
