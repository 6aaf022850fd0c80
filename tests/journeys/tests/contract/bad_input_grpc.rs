//! Invalid input over gRPC, for every RPC of the descriptors: missing rights, malformed and empty messages, and resources of other users.

use std::time::Duration;

use anyhow::Result;
use chassis::testing::eventually;
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, Value, prost::Message};
use proto::error::Fault;
use serde_json::json;
use test_support::{Cluster, contract, grpc, issuer, person::PASSWORD};
use tonic::{Code, Status};

/// How long a service may take to learn of the end of a session.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// Public RPCs that need no access token.
pub(crate) const OPEN: &[&str] = &[
    "SignUp",
    "SignIn",
    "VerifySignIn",
    "StartPasskeyCeremony",
    "SignInWithPasskey",
    "SignOut",
    "CreateAccessToken",
    "GetKeySet",
    "VerifyEmail",
    "RequestPasswordReset",
    "ConfirmPasswordReset",
    "ListProviders",
];
/// Lists with only the caller's own entries, which are empty for a project of another user.
const OWN_ONLY: &[&str] = &["ListTurns"];
/// Public RPCs for which an empty request is valid.
const EMPTY_IS_VALID: &[&str] = &[
    "GetSession",
    "GetKeySet",
    "SignOut",
    "SendVerification",
    "ListSessions",
    "ListProviders",
    "ListIdentities",
    "RevokeSessions",
    "CreateRefreshToken",
    "ExportAccount",
    "GetFactors",
    "StartTotp",
    "DeleteTotp",
    "CreateRecoveryCodes",
    "ListApiKeys",
    "ListServiceAccounts",
    "ListPasskeys",
    "CreateProject",
    "ListProjects",
    "GetUsage",
    "GetTokenUsage",
    "ImportArchive",
    "ListTemplates",
    "ListAgents",
    "ListProviderKeys",
];

/// RPCs of auth that take what the caller asked for before (the question of a passkey, the link of a mail), and refuse a caller without it before they
/// look the session up.
const TAKES_OWN_FIRST: &[&str] = &["CreatePasskey", "ConfirmEmailChange"];

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_invalid_input() -> Result<()> {
    let (cluster, issuer) = issuer::trusted().await?;
    let (person, other) = (cluster.person().await?, cluster.person().await?);
    let theirs = other.turn(json!({ "draftId": "theirs", "prompt": "a counter" })).await?;
    let bearer = format!("Bearer {}", person.access_token().await?);
    let token: (&str, &str) = ("authorization", &bearer);
    let expired = format!("Bearer {}", issuer::tokens(&issuer, &person)?.0);
    for rpc in contract::rpcs() {
        let channel = grpc::connect(&cluster.grpc[&grpc::service_of(&rpc)]).await?;
        let call = async |message: Vec<u8>, headers: &[(&'static str, &str)]| grpc::call(channel.clone(), &rpc, message, headers).await;
        let name = rpc.full_name().to_owned();
        if !contract::is_public(&rpc) {
            let denied = typed(&name, call(Vec::new(), &[token]).await);
            assert_eq!((denied.code(), reason(&denied).as_str()), (Code::PermissionDenied, "CALLER_DENIED"), "{name}");
            continue;
        }
        let forged = typed(&name, call(Vec::new(), &[token, ("x-backlot-caller", "garbage")]).await);
        assert_eq!(forged.code(), Code::Unauthenticated, "{name}: forged caller token");
        if !OPEN.contains(&rpc.name()) {
            assert_eq!(typed(&name, call(Vec::new(), &[]).await).code(), Code::Unauthenticated, "{name}: no token");
            let garbage = typed(&name, call(Vec::new(), &[("authorization", "Bearer garbage")]).await);
            assert_eq!(garbage.code(), Code::Unauthenticated, "{name}: garbage token");
            let ended = typed(&name, call(Vec::new(), &[("authorization", &expired)]).await);
            assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unauthenticated, "TOKEN_INVALID"), "{name}: expired token");
        }
        let undecodable = typed(&name, call(vec![0xff; 64], &[token]).await);
        assert_eq!(undecodable.code(), Code::InvalidArgument, "{name}: undecodable bytes: {undecodable:?}");
        for (field, message) in invalid_utf8(&rpc) {
            let refused = typed(&name, call(message, &[token]).await);
            let named = Fault::from_status(&refused).violations.iter().any(|v| v.field == field);
            assert!(refused.code() == Code::InvalidArgument && named, "{name}.{field}: not UTF-8: {refused:?}");
        }
        if !EMPTY_IS_VALID.contains(&rpc.name()) {
            let empty = typed(&name, call(Vec::new(), &[token]).await);
            assert!(
                matches!(empty.code(), Code::InvalidArgument | Code::Unauthenticated | Code::NotFound),
                "{name}: empty request: {empty:?}"
            );
        }
        if let Some(foreign) = foreign(&rpc, &theirs.project, &theirs.turn) {
            let answer = call(foreign, &[token]).await;
            if OWN_ONLY.contains(&rpc.name()) {
                assert!(answer.expect(&name).is_empty(), "{name}: of another user");
            } else {
                let hidden = typed(&name, answer);
                assert!(matches!(hidden.code(), Code::NotFound | Code::InvalidArgument), "{name}: of another user: {hidden:?}");
            }
        }
        for text in long_texts(&rpc) {
            let long = typed(&name, call(text.1, &[token]).await);
            assert!(matches!(long.code(), Code::InvalidArgument | Code::NotFound | Code::Unauthenticated), "{name}.{}: {long:?}", text.0);
        }
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_of_a_service_refuses_the_token_of_an_ended_session() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let bearer = format!("Bearer {}", person.access_token().await?);
    person.post("/api/auth/signout", json!({})).await?;
    let mut of_auth = 0;
    for rpc in contract::rpcs().into_iter().filter(contract::is_public) {
        let (service, name) = (grpc::service_of(&rpc), rpc.full_name());
        let channel = grpc::connect(&cluster.grpc[&service]).await?;
        let refused = if service == "auth" {
            if OPEN.contains(&rpc.name()) || TAKES_OWN_FIRST.contains(&rpc.name()) {
                continue;
            }
            of_auth += 1;
            // It has no feed to wait for: each RPC looks the session up, after it has decoded the request.
            typed(name, grpc::call(channel, &rpc, complete(&rpc)?, &[("authorization", &bearer)]).await)
        } else {
            eventually(SEEN_WITHIN, || async {
                let answer = grpc::call(channel.clone(), &rpc, Vec::new(), &[("authorization", &bearer)]).await;
                answer.err().filter(|status| reason(status) == "SESSION_ENDED")
            })
            .await
        };
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "SESSION_ENDED"), "{name}");
    }
    assert!(of_auth > 25, "only {of_auth} RPCs of auth");
    cluster.stop().await
}

/// A request to auth whose fields are valid. It is empty for an RPC without a row here.
fn complete(rpc: &MethodDescriptor) -> Result<Vec<u8>> {
    let id = "01890000-0000-7000-8000-000000000000";
    let fields = match rpc.name() {
        "RevokeSession" => json!({ "sessionId": id }),
        "ChangePassword" => json!({ "currentPassword": PASSWORD, "password": PASSWORD }),
        "StepUp" => json!({ "password": PASSWORD }),
        "ConfirmTotp" => json!({ "code": "123456" }),
        "RenamePasskey" => json!({ "passkeyId": id, "displayName": "test" }),
        "DeletePasskey" => json!({ "passkeyId": id }),
        "CreateApiKey" => json!({ "displayName": "test", "scope": "API_KEY_SCOPE_READ" }),
        "DeleteApiKey" => json!({ "apiKeyId": id }),
        "CreateServiceAccount" => json!({ "displayName": "test" }),
        "UpdateServiceAccount" => json!({ "serviceAccountId": id, "displayName": "test" }),
        "DeleteServiceAccount" => json!({ "serviceAccountId": id }),
        "ChangeEmail" => json!({ "newEmail": "new@example.com" }),
        "UnlinkIdentity" => json!({ "identityId": id }),
        "DeleteAccount" => json!({ "email": "ada@example.org" }),
        _ => json!({}),
    };
    Ok(DynamicMessage::deserialize(rpc.input(), fields)?.encode_to_vec())
}

fn reason(status: &Status) -> String {
    Fault::from_status(status).reason
}

/// Expects an error with a reason that is not an internal error.
#[track_caller]
fn typed(name: &str, answer: Result<Vec<u8>, Status>) -> Status {
    let status = answer.expect_err(name);
    let fault = Fault::from_status(&status);
    assert!(!matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss), "{name}: {status:?}");
    assert!(fault.domain.ends_with(".backlot.dev"), "{name}: no reason in {status:?}");
    status
}

/// A request for the project and the turn of another user; `None` for RPCs without such fields.
pub(crate) fn foreign(rpc: &MethodDescriptor, project: &str, turn: &str) -> Option<Vec<u8>> {
    let mut message = DynamicMessage::new(rpc.input());
    let named =
        [("project_id", project), ("turn_id", turn)].into_iter().filter(|(field, _)| rpc.input().get_field_by_name(field).is_some());
    let set: Vec<_> = named.map(|(field, id)| message.set_field_by_name(field, Value::String(id.to_owned()))).collect();
    (!set.is_empty()).then(|| message.encode_to_vec())
}

/// One request per text field with invalid UTF-8.
fn invalid_utf8(rpc: &MethodDescriptor) -> Vec<(String, Vec<u8>)> {
    let fields = rpc.input().fields().filter(|f| matches!(f.kind(), Kind::String)).collect::<Vec<_>>();
    let tag = |number: u32| {
        let mut tag = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut tag);
        tag
    };
    fields.into_iter().map(|field| (field.name().to_owned(), [tag(field.number()), vec![1, 0xff]].concat())).collect()
}

/// One request per text field with 100,000 letters.
fn long_texts(rpc: &MethodDescriptor) -> Vec<(String, Vec<u8>)> {
    let fields: Vec<_> = rpc.input().fields().filter(|f| matches!(f.kind(), Kind::String) && !f.is_list()).collect();
    fields
        .into_iter()
        .map(|field| {
            let mut message = DynamicMessage::new(rpc.input());
            message.set_field(&field, Value::String("a".repeat(100_000)));
            (field.name().to_owned(), message.encode_to_vec())
        })
        .collect()
}
