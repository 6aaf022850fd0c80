//! Invalid input over HTTP. The rows come from the descriptors, so a new route or field is tested without a change here. Every answer must be
//! a 4xx with a reason that names the field, if there is one. Nothing may be applied partially.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person, contract, contract::Binding, document, issuer};

/// RPCs that need no credential.
const OPEN: &[&str] = &[
    "SignUp",
    "SignIn",
    "VerifySignIn",
    "StartPasskeyCeremony",
    "SignInWithPasskey",
    "SignOut",
    "GetKeySet",
    "VerifyEmail",
    "RequestPasswordReset",
    "ConfirmPasswordReset",
    "ListProviders",
];

/// The limit of every text field of every public request, in bytes; 0 for fields with another rule. One byte more must be refused.
const LIMITS: &[(&str, usize)] = &[
    ("SignUpRequest.email", 254),
    ("SignUpRequest.password", 256),
    ("SignUpRequest.display_name", 80),
    ("SignInRequest.email", 254),
    ("SignInRequest.password", 256),
    ("SignUpRequest.user_agent", 512),
    ("SignUpRequest.invite_token", 256),
    ("SignInRequest.user_agent", 512),
    ("SignInRequest.challenge_solution", 256),
    ("SignOutRequest.session_token", 256),
    ("CreateAccessTokenRequest.session_token", 256),
    ("CreateAccessTokenRequest.refresh_token", 256),
    ("ChangePasswordRequest.current_password", 256),
    ("ChangePasswordRequest.password", 256),
    ("ChangePasswordRequest.user_agent", 512),
    ("StepUpRequest.password", 256),
    ("StepUpRequest.code", 64),
    ("VerifySignInRequest.sign_in_token", 256),
    ("VerifySignInRequest.code", 64),
    ("VerifySignInRequest.user_agent", 512),
    ("ConfirmTotpRequest.code", 64),
    ("StepUpRequest.ceremony_token", 256),
    ("StepUpRequest.credential", 16_384),
    ("StartPasskeyCeremonyRequest.sign_in_token", 256),
    ("CreatePasskeyRequest.ceremony_token", 256),
    ("CreatePasskeyRequest.credential", 16_384),
    ("CreatePasskeyRequest.display_name", 80),
    ("RenamePasskeyRequest.display_name", 80),
    ("DeletePasskeyRequest.passkey_id", 36),
    ("SignInWithPasskeyRequest.ceremony_token", 256),
    ("SignInWithPasskeyRequest.credential", 16_384),
    ("SignInWithPasskeyRequest.user_agent", 512),
    ("DeleteAccountRequest.email", 254),
    ("CreateRefreshTokenRequest.display_name", 80),
    ("CreateAccessTokenRequest.api_key", 256),
    ("CreateApiKeyRequest.display_name", 80),
    ("CreateApiKeyRequest.project_ids", 36),
    ("CreateApiKeyRequest.service_account_id", 36),
    ("ListApiKeysRequest.service_account_id", 36),
    ("DeleteApiKeyRequest.api_key_id", 36),
    ("DeleteApiKeyRequest.service_account_id", 36),
    ("CreateServiceAccountRequest.display_name", 80),
    ("UpdateServiceAccountRequest.display_name", 80),
    ("VerifyEmailRequest.token", 256),
    ("VerifyEmailRequest.password", 256),
    ("RequestPasswordResetRequest.email", 254),
    ("ChangeEmailRequest.new_email", 254),
    ("ConfirmEmailChangeRequest.token", 256),
    ("ConfirmPasswordResetRequest.token", 256),
    ("ConfirmPasswordResetRequest.password", 256),
    ("CreateProjectRequest.display_name", 120),
    ("CreateProjectRequest.draft_id", 128),
    ("CreateProjectRequest.request_id", 255),
    ("ListProjectsRequest.page_token", 0),
    ("ListProjectsRequest.query", 500),
    ("UpdateProjectRequest.display_name", 120),
    ("UpdateProjectRequest.if_match", 1024),
    ("DeleteProjectRequest.if_match", 1024),
    ("ForkProjectRequest.revision", 40),
    ("ForkProjectRequest.display_name", 120),
    ("ForkProjectRequest.draft_id", 128),
    ("ForkProjectRequest.request_id", 255),
    ("ListForksRequest.page_token", 0),
    ("MergeProjectRequest.source_project_id", 36),
    ("MergeProjectRequest.source_revision", 40),
    ("MergeProjectRequest.base_revision", 40),
    ("MergeProjectRequest.message", 1000),
    ("MergeProjectRequest.request_id", 255),
    ("MergeProjectRequest.if_match", 1024),
    ("SaveProjectRequest.project_id", 36),
    ("SaveProjectRequest.draft_id", 128),
    ("SaveProjectRequest.base_revision", 40),
    ("SaveProjectRequest.message", 1000),
    ("SaveProjectRequest.request_id", 255),
    ("SaveProjectRequest.if_match", 1024),
    ("LoadProjectRequest.project_id", 36),
    ("LoadProjectRequest.draft_id", 128),
    ("LoadProjectRequest.revision", 40),
    ("LoadProjectRequest.page_token", 0),
    ("ListFilesRequest.revision", 40),
    ("GetFileRequest.revision", 40),
    ("UploadFileRequest.message", 1000),
    ("UploadFileRequest.request_id", 255),
    ("UploadFileRequest.if_match", 1024),
    ("UploadFileRequest.if_none_match", 1),
    ("DeleteFileRequest.message", 1000),
    ("DeleteFileRequest.request_id", 255),
    ("DeleteFileRequest.if_match", 1024),
    ("DownloadFileRequest.revision", 40),
    ("ReadFilesRequest.revision", 40),
    ("ReadFilesRequest.paths", 255),
    ("SearchFilesRequest.query", 500),
    ("SearchFilesRequest.revision", 40),
    ("SearchFilesRequest.page_token", 0),
    ("ExportProjectRequest.format", 6),
    ("ExportProjectRequest.revision", 40),
    ("ListRevisionsRequest.page_token", 0),
    ("ListRevisionsRequest.path", 255),
    ("ListRevisionsRequest.user_id", 36),
    ("ListRevisionsRequest.turn_id", 36),
    ("ListFileRevisionsRequest.revision", 40),
    ("ListFileRevisionsRequest.page_token", 0),
    ("BlameFileRequest.revision", 40),
    ("BlameFileRequest.page_token", 0),
    ("DiffRevisionsRequest.revision", 40),
    ("DiffRevisionsRequest.base_revision", 40),
    ("DiffRevisionsRequest.turn_id", 36),
    ("DiffRevisionsRequest.path", 255),
    ("DiffRevisionsRequest.page_token", 0),
    ("RestoreRevisionRequest.base_revision", 40),
    ("RestoreRevisionRequest.message", 1000),
    ("RestoreRevisionRequest.request_id", 255),
    ("RestoreRevisionRequest.if_match", 1024),
    ("RevertRevisionRequest.revision", 40),
    ("RevertRevisionRequest.turn_id", 36),
    ("RevertRevisionRequest.base_revision", 40),
    ("RevertRevisionRequest.message", 1000),
    ("RevertRevisionRequest.request_id", 255),
    ("RevertRevisionRequest.if_match", 1024),
    ("UndoRevisionRequest.base_revision", 40),
    ("UndoRevisionRequest.request_id", 255),
    ("UndoRevisionRequest.if_match", 1024),
    ("RedoRevisionRequest.base_revision", 40),
    ("RedoRevisionRequest.request_id", 255),
    ("RedoRevisionRequest.if_match", 1024),
    ("ListConflictsRequest.page_token", 0),
    ("ListLabelsRequest.page_token", 0),
    ("SetLabelRequest.revision", 40),
    ("ListMessagesRequest.page_token", 0),
    ("SearchMessagesRequest.query", 500),
    ("SearchMessagesRequest.project_id", 36),
    ("SearchMessagesRequest.page_token", 0),
    ("UpdateMessageRequest.text", 32_768),
    ("SetReactionRequest.reason", 500),
    ("ResolveConflictRequest.base_revision", 40),
    ("ResolveConflictRequest.request_id", 255),
    ("ResolveConflictRequest.if_match", 1024),
    ("CreatePreviewRequest.revision", 40),
    ("CreatePreviewRequest.turn_id", 36),
    ("ListDeploymentsRequest.page_token", 0),
    ("ExportDeploymentRequest.format", 6),
    ("PublishTemplateRequest.project_id", 36),
    ("PublishTemplateRequest.revision", 40),
    ("PublishTemplateRequest.template_id", 36),
    ("PublishTemplateRequest.title", 120),
    ("PublishTemplateRequest.description", 2000),
    ("PublishTemplateRequest.category", 40),
    ("PublishTemplateRequest.picture", 255),
    ("PublishTemplateRequest.recommended_agent", 64),
    ("PublishTemplateRequest.request_id", 255),
    ("ListTemplatesRequest.query", 200),
    ("ListTemplatesRequest.category", 40),
    ("ListTemplatesRequest.tag", 30),
    ("ListTemplatesRequest.page_token", 0),
    ("UseTemplateRequest.display_name", 120),
    ("UseTemplateRequest.request_id", 255),
    ("ListTemplateReviewsRequest.page_token", 0),
    ("RateTemplateRequest.text", 2000),
    ("ReportTemplateRequest.reason", 500),
    ("StartTurnRequest.project_id", 36),
    ("StartTurnRequest.draft_id", 128),
    ("StartTurnRequest.prompt", 32_768),
    ("StartTurnRequest.agent", 64),
    ("StartTurnRequest.model", 128),
    ("StartTurnRequest.base_revision", 40),
    ("StartTurnRequest.idempotency_key", 255),
    ("StartTurnRequest.client_message_id", 128),
    ("StartTurnRequest.replaces_turn_id", 36),
    ("StartTurnRequest.plan_turn_id", 36),
    ("ListTurnsRequest.project_id", 36),
    ("ListTurnsRequest.draft_id", 128),
    ("ListTurnsRequest.client_message_id", 128),
    ("ListTurnsRequest.page_token", 0),
    ("GetFindingsRequest.revision", 40),
    ("CreateProviderKeyRequest.provider", 9),
    ("CreateProviderKeyRequest.key", 512),
    ("CreateProviderKeyRequest.base_url", 2048),
    ("CreateProviderKeyRequest.display_name", 120),
    ("CreateProviderKeyRequest.project_id", 36),
    ("ListProviderKeysRequest.project_id", 36),
    ("UpdateProviderKeyRequest.key", 512),
    ("UpdateProviderKeyRequest.base_url", 2048),
    ("UpdateProviderKeyRequest.display_name", 120),
    ("SelectAgentRequest.prompt", 32 * 1024),
    ("SelectAgentRequest.agent", 64),
    ("PlanTurnRequest.project_id", 36),
    ("PlanTurnRequest.prompt", 32 * 1024),
    ("PlanTurnRequest.agent", 64),
    ("PlanTurnRequest.model", 128),
    ("PlanTurnRequest.base_revision", 40),
    ("PlanTurnRequest.plan_turn_id", 36),
    ("ListAgentsRequest.page_token", 0),
    ("ListAgentsRequest.query", 200),
    ("ListAgentsRequest.category", 64),
];

/// The cluster, users and resources that the rows use.
struct Fixture {
    cluster: Cluster,
    person: Person,
    /// An expired token of `person`.
    expired: String,
    /// A project of `person`, which must not change.
    project: String,
    turn: String,
    /// A project of another user.
    foreign_project: String,
    foreign_turn: String,
    /// A valid token of a session that has ended.
    ended: String,
}

async fn fixture() -> Result<Fixture> {
    let (cluster, issuer) = issuer::trusted().await?;
    let (person, other) = (cluster.person().await?, cluster.person().await?);
    let mine = person.turn(json!({ "draftId": "mine", "prompt": "a counter" })).await?;
    let theirs = other.turn(json!({ "draftId": "theirs", "prompt": "a counter" })).await?;
    let (expired, good) = issuer::tokens(&issuer, &person)?;
    Person { token: Some(good), ..person.clone() }.get("/api/projects").await?;
    let person = person.with_token().await?;
    let gone = cluster.person().await?;
    let ended = gone.access_token().await?;
    gone.post("/api/auth/signout", json!({})).await?;
    Ok(Fixture {
        ended,
        cluster,
        person,
        expired,
        project: mine.project,
        turn: mine.turn,
        foreign_project: theirs.project,
        foreign_turn: theirs.turn,
    })
}

impl Fixture {
    fn value(&self, variable: &str) -> String {
        match variable {
            "project_id" => self.project.clone(),
            "turn_id" => self.turn.clone(),
            "path" => "index.html".to_owned(),
            "name" => "builder".to_owned(),
            // Nothing has these.
            "session_id" | "template_id" | "identity_id" | "key_id" | "api_key_id" | "service_account_id" | "passkey_id" => {
                "0190b3a0-0000-7000-8000-000000000000".to_owned()
            }
            "capability" => "a".repeat(26),
            "revision" => "a".repeat(40),
            "label" => "before the redesign".to_owned(),
            "number" => "1".to_owned(),
            "message_id" => uuid::Uuid::nil().to_string(),
            other => panic!("the path variable {other} needs a value here"),
        }
    }

    fn path(&self, binding: &Binding) -> String {
        binding.path(|v| self.value(v))
    }

    async fn send(&self, binding: &Binding, path: &str, body: Option<Vec<u8>>) -> Result<(StatusCode, Value)> {
        let method = Method::from_bytes(binding.method.as_bytes())?;
        let mut request = self.person.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        answer(request).await
    }
}

/// Sends a request. A refusal must be in the OpenAPI document.
async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value)> {
    let (http, request) = request.build_split();
    let request = request?;
    let (method, url) = (request.method().clone(), request.url().clone());
    let response = http.execute(request).await?;
    let status = response.status();
    let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let text = response.text().await?;
    if status.is_client_error() || status.is_server_error() {
        ensure!(kind.starts_with("application/problem+json"), "{status} with {kind}: {text}");
        document::check(url.origin().ascii_serialization().as_str(), (method.as_str(), url.path()), status, &serde_json::from_str(&text)?)
            .await?;
    }
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// Checks that a problem has all members, one of the allowed statuses, and the name of the field.
fn check(row: &str, (status, problem): &(StatusCode, Value), allowed: &[u16], field: Option<&str>) {
    assert!(allowed.contains(&status.as_u16()), "{row}: {status} {problem}");
    for key in ["type", "title", "status", "code", "reason", "traceId", "requestId"] {
        assert!(!problem[key].is_null(), "{row}: no {key} in {problem}");
    }
    if let Some(field) = field {
        let named = problem["errors"].as_array().into_iter().flatten().any(|e| e["field"].as_str().is_some_and(|f| has_field(f, field)));
        assert!(named, "{row}: {field} is not named in {problem}");
    }
}

/// Whether a field path contains the field, as `displayName` or `display_name`.
fn has_field(given: &str, field: &str) -> bool {
    given.replace('_', "").to_lowercase().split(['.', '[']).any(|part| part == field.replace('_', "").to_lowercase())
}

fn query(name: &str, value: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_invalid_input() -> Result<()> {
    let fixture = fixture().await?;
    let before = fixture.person.files(&fixture.project).await?;
    for binding in contract::bindings() {
        credentials(&fixture, &binding).await?;
        identities(&fixture, &binding).await?;
        methods(&fixture, &binding).await?;
        if binding.has_body {
            bodies(&fixture, &binding).await?;
        }
        for field in binding.fields() {
            types(&fixture, &binding, &field).await?;
        }
    }
    blank_prompts(&fixture).await?;
    assert_eq!(fixture.person.files(&fixture.project).await?, before, "no change was applied partially");
    fixture.cluster.stop().await
}

async fn credentials(fixture: &Fixture, binding: &Binding) -> Result<()> {
    let path = fixture.path(binding);
    let row = format!("{} {path}", binding.method);
    if OPEN.contains(&binding.rpc.name()) {
        return Ok(());
    }
    let method = Method::from_bytes(binding.method.as_bytes())?;
    let url = format!("{}{path}", fixture.person.url);
    for (what, request) in [
        ("no credential", fixture.person.http.request(method.clone(), &url)),
        ("garbage token", fixture.person.http.request(method.clone(), &url).bearer_auth("garbage")),
        ("expired token", fixture.person.http.request(method.clone(), &url).bearer_auth(&fixture.expired)),
        (
            "tampered token",
            fixture.person.http.request(method.clone(), &url).bearer_auth(tampered(fixture.person.token.as_deref().unwrap_or_default())),
        ),
        ("ended session", fixture.person.http.request(method.clone(), &url).bearer_auth(&fixture.ended)),
        ("unknown session", fixture.person.http.request(method.clone(), &url).header("cookie", format!("{}x", fixture.person.cookie))),
    ] {
        let request = if binding.has_body { request.json(&json!({})) } else { request };
        check(&format!("{row}: {what}"), &answer(request).await?, &[401], None);
    }
    Ok(())
}

/// The token with one changed character in its claims.
fn tampered(token: &str) -> String {
    let middle = token.find('.').unwrap_or_default() + 10;
    let other = if token.as_bytes().get(middle) == Some(&b'A') { "B" } else { "A" };
    format!("{}{other}{}", &token[..middle], &token[middle + 1..])
}

async fn identities(fixture: &Fixture, binding: &Binding) -> Result<()> {
    let unknown = uuid::Uuid::now_v7().to_string();
    // The path of an upload may be one that no file has.
    let is_new = |variable: &String| variable == "path" && binding.method == "PUT";
    for variable in binding.variables().into_iter().filter(|variable| !is_new(variable)) {
        let body = binding.has_body.then(|| b"{}".to_vec());
        let replaced = |with: &str| binding.path(|v| if v == variable { with.to_owned() } else { fixture.value(v) });
        let foreign = match variable.as_str() {
            "project_id" => &fixture.foreign_project,
            "turn_id" => &fixture.foreign_turn,
            _ => &unknown,
        };
        let row = |what: &str| format!("{} {}: {what} {variable}", binding.method, binding.template);
        // The turn has ended, so it is refused before the path.
        let has_ended = binding.rpc.name() == "GetStagedFile" && variable == "path";
        let allowed: &[u16] = if has_ended { &[409] } else { &[400, 404] };
        let absent = fixture.send(binding, &replaced(&unknown), body.clone()).await?;
        check(&row("unknown"), &absent, allowed, None);
        let hidden = fixture.send(binding, &replaced(foreign), body.clone()).await?;
        check(&row("of another user:"), &hidden, allowed, None);
        assert_eq!(
            (absent.0, &absent.1["reason"], &absent.1["title"]),
            (hidden.0, &hidden.1["reason"], &hidden.1["title"]),
            "{}",
            row("is answered like an unknown")
        );
        let shapes = ["%00", "..%2f..%2fetc%2fpasswd", "%ff%fe", "a%0d%0ab", "%F0%9F%92%A5", &"x".repeat(5000)];
        for shape in shapes {
            let refused = fixture.send(binding, &replaced(shape), body.clone()).await?;
            check(&row(&format!("malformed ({shape:.12})")), &refused, &[allowed, &[400, 404, 414, 431]].concat(), None);
        }
    }
    Ok(())
}

async fn methods(fixture: &Fixture, binding: &Binding) -> Result<()> {
    let path = fixture.path(binding);
    let mounted: Vec<String> = contract::bindings().into_iter().filter(|b| fixture.path(b) == path).map(|b| b.method).collect();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        if mounted.iter().any(|m| m == method) {
            continue;
        }
        let response = fixture.person.request(Method::from_bytes(method.as_bytes())?, &path).send().await?;
        assert_eq!(response.status(), 405, "{method} {path}");
        let allow = response.headers().get("allow").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        assert!(mounted.iter().all(|m| allow.contains(m.as_str())), "{method} {path}: Allow: {allow}");
        let problem: Value = response.json().await?;
        assert_eq!(problem["status"], 405, "{problem}");
    }
    Ok(())
}

async fn bodies(fixture: &Fixture, binding: &Binding) -> Result<()> {
    let path = fixture.path(binding);
    let row = |what: &str| format!("{} {path}: {what}", binding.method);
    for (what, body) in [("not JSON", &b"{"[..]), ("a list", b"[]"), ("not UTF-8", b"{\"a\":\"\xff\"}"), ("deep", &[b'['; 4000])] {
        check(&row(what), &fixture.send(binding, &path, Some(body.to_vec())).await?, &[400], None);
    }
    let unknown = fixture.send(binding, &path, Some(br#"{"noSuchField":1}"#.to_vec())).await?;
    check(&row("unknown field"), &unknown, &[400], Some("noSuchField"));
    let plain =
        fixture.person.request(Method::from_bytes(binding.method.as_bytes())?, &path).header("content-type", "text/plain").body("{}");
    check(&row("text/plain"), &answer(plain).await?, &[415], None);
    let huge = 80 * 1024 * 1024;
    let response = fixture
        .person
        .request(Method::from_bytes(binding.method.as_bytes())?, &path)
        .header("content-type", "application/json")
        .header("content-length", huge.to_string())
        .body(reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()));
    let refused = answer(response).await?;
    check(&row("oversize"), &refused, &[413], None);
    Ok(())
}

async fn types(fixture: &Fixture, binding: &Binding, field: &prost_reflect::FieldDescriptor) -> Result<()> {
    let path = fixture.path(binding);
    let name = field.json_name();
    let row = |what: &str| format!("{} {path}: {what} {name}", binding.method);
    let body_with = |value: Value| serde_json::to_vec(&BTreeMap::from([(name, value)]));
    if binding.has_body {
        let refused = fixture.send(binding, &path, Some(body_with(contract::wrong_type(field))?)).await?;
        check(&row("wrong type of"), &refused, &[400], Some(name));
    } else if !matches!(field.kind(), prost_reflect::Kind::String) {
        let refused = fixture.send(binding, &format!("{path}?{}", query(name, "seven")), None).await?;
        check(&row("wrong type of"), &refused, &[400], Some(name));
    }
    if field.name() == "page_size" {
        let refused = fixture.send(binding, &format!("{path}?pageSize=-1"), None).await?;
        check(&row("negative"), &refused, &[400], Some(name));
    }
    if field.name() == "page_token" {
        for token in ["x", "%%%", &"A".repeat(3000)] {
            let refused = fixture.send(binding, &format!("{path}?{}", query(name, token)), None).await?;
            check(&row("invalid"), &refused, &[400], Some(name));
        }
    }
    if matches!(field.kind(), prost_reflect::Kind::String) && !field.is_list() {
        let key = format!("{}.{}", binding.input().name(), field.name());
        let limit = LIMITS.iter().find(|(k, _)| *k == key).unwrap_or_else(|| panic!("{key} has no row in LIMITS")).1;
        if limit > 0 {
            over_limit(fixture, binding, name, limit).await?;
        }
    }
    Ok(())
}

async fn over_limit(fixture: &Fixture, binding: &Binding, name: &str, limit: usize) -> Result<()> {
    let path = fixture.path(binding);
    let text = "a".repeat(limit + 1);
    let refused = if binding.has_body {
        fixture.send(binding, &path, Some(serde_json::to_vec(&json!({ name: text }))?)).await?
    } else {
        fixture.send(binding, &format!("{path}?{}", query(name, &text)), None).await?
    };
    check(&format!("{} {path}: {name} of {} bytes", binding.method, limit + 1), &refused, &[400], Some(name));
    Ok(())
}

/// A prompt of white space is refused.
async fn blank_prompts(fixture: &Fixture) -> Result<()> {
    let rows = [
        ("/api/turns", json!({ "draftId": "blank", "prompt": " \n\t" }), "prompt"),
        ("/api/agent/stream", json!({ "draftId": "blank", "prompt": "\u{a0}\u{200b}" }), "prompt"),
        ("/api/chat", json!({ "id": "blank", "message": { "role": "user", "parts": [{ "type": "text", "text": " " }] } }), "parts"),
    ];
    let thread = json!({ "threadId": "blank", "runId": "r1", "messages": [{ "id": "m1", "role": "user", "content": " " }] });
    for (path, body, field) in rows.into_iter().chain([("/api/agui", thread, "messages")]) {
        let refused = answer(fixture.person.request(Method::POST, path).json(&body)).await?;
        check(&format!("blank prompt to {path}"), &refused, &[400], Some(field));
    }
    Ok(())
}

/// Changes whose paths are not allowed, or not allowed for new files.
fn bad_paths() -> Vec<(&'static str, Value, &'static str)> {
    let write = |path: &str| json!({ "path": path, "write": { "text": "x" } });
    let steps = [
        ("traversal", write("../etc/passwd")),
        ("absolute", write("/etc/passwd")),
        ("dot", write("a/./b")),
        ("empty part", write("a//b")),
        ("git", write(".git/config")),
        ("backslash", write("a\\b")),
        ("control", write("a\u{7}b")),
        ("not NFC", write("e\u{301}.txt")),
        ("long path", write(&"a".repeat(256))),
        ("device", write("src/aux.js")),
        ("stream", write("a:b")),
        ("question mark", json!({ "path": "what?", "create": { "text": "x" } })),
        ("dot at the end", write("trailing.")),
        ("space at the end", write("trailing /x")),
        ("direction", write("a\u{202e}b")),
        ("long part", write(&"é".repeat(128))),
        ("device as target", json!({ "path": "index.html", "rename": { "newPath": "CON.html" } })),
        ("no path", write("")),
        ("case twin", write("INDEX.html")),
        ("file as folder", write("index.html/x")),
    ];
    steps.into_iter().map(|(what, step)| (what, step, "INVALID_PATH")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_set_is_applied_completely_or_not_at_all() -> Result<()> {
    let fixture = fixture().await?;
    let before = fixture.person.files(&fixture.project).await?;
    let good = json!({ "path": "good.txt", "write": { "text": "good" } });
    let long = |n: usize| "a".repeat(n);
    let rows = [
        ("one byte over", json!({ "path": "big.txt", "write": { "text": long(51_201) } }), "FILE_TOO_LARGE"),
        ("absent", json!({ "path": "absent.txt", "delete": {} }), "FILE_NOT_FOUND"),
        ("taken", json!({ "path": "index.html", "create": { "text": "x" } }), "FILE_EXISTS"),
        ("old etag", json!({ "path": "index.html", "etag": format!("\"{}\"", "0".repeat(40)), "write": { "text": "x" } }), "FILE_CHANGED"),
        ("taken target", json!({ "path": "good.txt", "rename": { "newPath": "index.html" } }), "FILE_EXISTS"),
        ("no action", json!({ "path": "x.txt" }), "INVALID_FIELD"),
    ];
    for (what, bad, reason) in bad_paths().into_iter().chain(rows) {
        let body = json!({ "projectId": fixture.project, "changes": [good, bad] });
        let (status, problem) = fixture.person.refused(Method::POST, "/api/projects/save", body).await?;
        assert!(status.is_client_error() && problem["reason"] == reason, "{what}: {status} {problem}");
        let text = problem.to_string();
        let path = bad["path"].as_str().unwrap_or_default();
        assert!(text.contains("changes[1]") || path.is_empty() || text.contains(path), "{what}: the file is not named in {text}");
        if reason == "FILE_TOO_LARGE" {
            assert!(text.contains("51200") || text.contains("51,200"), "the limit is not named in {text}");
        }
    }
    // A read with such a path is not refused as invalid. The file does not exist.
    for (encoded, path) in [("src/aux.js", "src/aux.js"), ("a:b", "a:b"), ("what%3F", "what?"), ("trailing.", "trailing."), ("x%20", "x ")]
    {
        let file = format!("/api/projects/{}/files/{encoded}", fixture.project);
        let (status, problem) = fixture.person.refused(Method::GET, &file, json!({})).await?;
        assert_eq!(
            (status.as_u16(), &problem["reason"], &problem["metadata"]["path"]),
            (404, &json!("FILE_NOT_FOUND"), &json!(path)),
            "{problem}"
        );
    }
    let many: Vec<_> = (0..201).map(|n| json!({ "path": format!("f{n}.txt"), "write": { "text": "x" } })).collect();
    let (status, problem) =
        fixture.person.refused(Method::POST, "/api/projects/save", json!({ "projectId": fixture.project, "changes": many })).await?;
    assert!(status == 400 && problem.to_string().contains("200"), "{problem}");
    let body = json!({ "projectId": fixture.foreign_project, "changes": [good] });
    let (status, problem) = fixture.person.refused(Method::POST, "/api/projects/save", body).await?;
    assert_eq!((status.as_u16(), problem["reason"].as_str()), (404, Some("PROJECT_NOT_FOUND")));
    assert_eq!(fixture.person.files(&fixture.project).await?, before);
    let exact = json!({ "projectId": fixture.project, "changes": [{ "path": "full.txt", "write": { "text": long(51_200) } }, good] });
    fixture.person.post("/api/projects/save", exact).await?;
    fixture.cluster.stop().await
}
