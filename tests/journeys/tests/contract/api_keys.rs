//! API keys at every public RPC, straight at the services: what the scope and the projects of a key allow.

use anyhow::{Context as _, Result};
use prost_reflect::MethodDescriptor;
use proto::{error::Fault, id::ProjectId, id::TurnId};
use serde_json::{Value, json};
use test_support::{Cluster, Person, contract, grpc};
use tonic::{Code, Status};

use crate::bad_input_grpc::{OPEN, foreign};

/// The access token of a new key.
async fn token_of_key(person: &Person, scope: &str, projects: &[&str]) -> Result<String> {
    let body = json!({ "displayName": "test", "scope": scope, "projectIds": projects });
    let made = person.post("/api/auth/keys", body).await?;
    let exchanged = person.http.post(format!("{}/api/auth/token", person.url)).json(&json!({ "apiKey": made["secret"] })).send().await?;
    let token: Value = exchanged.error_for_status()?.json().await?;
    Ok(format!("Bearer {}", token["accessToken"].as_str().context("a token")?))
}

/// RPCs of the account. Those of a person's own provider keys are in agent-streaming.
fn is_account(rpc: &MethodDescriptor) -> bool {
    rpc.parent_service().name() == "AuthService" || rpc.name().contains("ProviderKey")
}

fn reads(rpc: &MethodDescriptor) -> bool {
    proto::READ_ONLY_METHODS.contains(&format!("/{}/{}", rpc.parent_service().full_name(), rpc.name()).as_str())
}

/// Code, reason and text of a refusal.
fn refusal(answer: &Result<Vec<u8>, Status>) -> Option<(Code, String, String)> {
    let status = answer.as_ref().err()?;
    let fault = Fault::from_status(status);
    Some((status.code(), fault.reason, fault.message))
}

fn lacks_scope(answer: &Result<Vec<u8>, Status>) -> bool {
    refusal(answer).is_some_and(|(code, reason, _)| code == Code::PermissionDenied && reason == "SCOPE_REQUIRED")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_passes_only_what_its_scope_allows() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let reader = token_of_key(&person, "API_KEY_SCOPE_READ", &[]).await?;
    let writer = token_of_key(&person, "API_KEY_SCOPE_WRITE", &[]).await?;
    let (mut account, mut changes, mut reading) = (0, 0, 0);
    for rpc in contract::rpcs().into_iter().filter(|rpc| contract::is_public(rpc) && !OPEN.contains(&rpc.name())) {
        let channel = grpc::connect(&cluster.grpc[&grpc::service_of(&rpc)]).await?;
        let call = async |token: &str| grpc::call(channel.clone(), &rpc, Vec::new(), &[("authorization", token)]).await;
        let (by_reader, by_writer, name) = (call(&reader).await, call(&writer).await, rpc.full_name());
        match (is_account(&rpc), reads(&rpc)) {
            (true, _) => account += 1,
            (false, false) => changes += 1,
            (false, true) => reading += 1,
        }
        assert_eq!(lacks_scope(&by_reader), is_account(&rpc) || !reads(&rpc), "{name} with a key that reads: {by_reader:?}");
        assert_eq!(lacks_scope(&by_writer), is_account(&rpc), "{name} with a key that writes: {by_writer:?}");
    }
    assert!(account > 8 && changes > 25 && reading > 25, "{account} of the account, {changes} changes, {reading} reads");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_restricted_key_every_other_project_looks_absent() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let mine = person.turn(json!({ "draftId": "mine", "prompt": "a counter" })).await?;
    let other = person.turn(json!({ "draftId": "other", "prompt": "a counter" })).await?;
    let key = token_of_key(&person, "API_KEY_SCOPE_WRITE", &[&mine.project]).await?;
    let absent = (ProjectId::generate().to_string(), TurnId::generate().to_string());
    let mut compared = 0;
    for rpc in contract::rpcs().into_iter().filter(|rpc| contract::is_public(rpc) && !OPEN.contains(&rpc.name()) && !is_account(rpc)) {
        let Some(of_other) = foreign(&rpc, &other.project, &other.turn) else { continue };
        let of_absent = foreign(&rpc, &absent.0, &absent.1).context("the same fields")?;
        let channel = grpc::connect(&cluster.grpc[&grpc::service_of(&rpc)]).await?;
        let call = async |message| grpc::call(channel.clone(), &rpc, message, &[("authorization", &key)]).await;
        let (of_other, of_absent) = (call(of_other).await, call(of_absent).await);
        let name = rpc.full_name();
        match (&of_other, &of_absent) {
            // An empty list.
            (Ok(one), Ok(two)) => assert!(one.is_empty() && two.is_empty(), "{name}: {one:?}"),
            _ => assert_eq!(refusal(&of_other), refusal(&of_absent), "{name}"),
        }
        compared += 1;
    }
    assert!(compared > 40, "{compared} RPCs were compared");
    cluster.stop().await
}
