//! The RPCs of stored keys of providers.

use chassis::{clock, context::Context};
use proto::{
    agent_streaming::{
        CreateProviderKeyRequest, CreateProviderKeyResponse, DeleteProviderKeyRequest, DeleteProviderKeyResponse, ListProviderKeysRequest,
        ListProviderKeysResponse, ProviderKey, UpdateProviderKeyRequest, UpdateProviderKeyResponse,
    },
    error::{Fault, Violations},
    id::ProjectId,
};
use tonic::Request;
use uuid::Uuid;

use crate::{
    app::App,
    error::{Error, SERVICE},
    model::provider::Kind,
    own_keys::{
        KeyOwner, StoredKey,
        manage::{self, KeyChange, NewKey},
        rules,
    },
};

const NAME_CHARS: usize = 120;
const URL_BYTES: usize = 2_048;

pub(super) async fn create(app: &App, request: Request<CreateProviderKeyRequest>) -> Result<CreateProviderKeyResponse, Error> {
    let context = Context::of(&request);
    let new = decode_new(request.into_inner())?;
    Ok(CreateProviderKeyResponse { provider_key: Some(encode(manage::create(app, &context, new).await?)) })
}

pub(super) async fn list(app: &App, request: Request<ListProviderKeysRequest>) -> Result<ListProviderKeysResponse, Error> {
    let context = Context::of(&request);
    let mut violations = Violations::default();
    let project = decode_project(&mut violations, &request.get_ref().project_id);
    violations.check(SERVICE)?;
    let keys = manage::list(app, &context, project).await?;
    Ok(ListProviderKeysResponse { provider_keys: keys.into_iter().map(encode).collect() })
}

pub(super) async fn update(app: &App, request: Request<UpdateProviderKeyRequest>) -> Result<UpdateProviderKeyResponse, Error> {
    let context = Context::of(&request);
    let change = decode_change(request.into_inner())?;
    Ok(UpdateProviderKeyResponse { provider_key: Some(encode(manage::update(app, &context, change).await?)) })
}

pub(super) async fn delete(app: &App, request: Request<DeleteProviderKeyRequest>) -> Result<DeleteProviderKeyResponse, Error> {
    let context = Context::of(&request);
    let mut violations = Violations::default();
    let id: Option<Uuid> = violations.parse("key_id", &request.get_ref().key_id);
    violations.check(SERVICE)?;
    manage::delete(app, &context, id.ok_or(Error::ProviderKeyNotFound)?).await?;
    Ok(DeleteProviderKeyResponse {})
}

fn decode_new(request: CreateProviderKeyRequest) -> Result<NewKey, Fault> {
    let mut violations = Violations::default();
    let kind = Kind::parse(&request.provider);
    if kind.is_none() {
        violations.add("provider", "must be anthropic or openai");
    }
    rules::check_key(&mut violations, &request.key);
    violations.length("base_url", &request.base_url, 0..=URL_BYTES);
    check_name(&mut violations, &request.display_name);
    let project = decode_project(&mut violations, &request.project_id);
    violations.check(SERVICE)?;
    let kind = kind.unwrap_or(Kind::OpenAi);
    Ok(NewKey { kind, key: request.key, base_url: request.base_url, display_name: request.display_name, project })
}

fn decode_change(request: UpdateProviderKeyRequest) -> Result<KeyChange, Error> {
    let mut violations = Violations::default();
    let id: Option<Uuid> = violations.parse("key_id", &request.key_id);
    if !request.key.is_empty() {
        rules::check_key(&mut violations, &request.key);
    }
    violations.length("base_url", request.base_url.as_deref().unwrap_or_default(), 0..=URL_BYTES);
    if let Some(name) = &request.display_name {
        check_name(&mut violations, name);
    }
    violations.check(SERVICE)?;
    let id = id.ok_or(Error::ProviderKeyNotFound)?;
    Ok(KeyChange { id, key: request.key, base_url: request.base_url, display_name: request.display_name })
}

fn decode_project(violations: &mut Violations, text: &str) -> Option<ProjectId> {
    if text.is_empty() { None } else { violations.parse("project_id", text) }
}

fn check_name(violations: &mut Violations, name: &str) {
    if name.chars().count() > NAME_CHARS {
        violations.add("display_name", format!("must have at most {NAME_CHARS} characters"));
    }
    violations.no_misleading_characters("display_name", name);
}

fn encode(key: StoredKey) -> ProviderKey {
    ProviderKey {
        id: key.id.to_string(),
        provider: key.kind.name().to_owned(),
        project_id: match key.owner {
            KeyOwner::Person(_) => String::new(),
            KeyOwner::Project(project) => project.to_string(),
        },
        display_name: key.display_name,
        base_url: key.base_url,
        last_four: key.last_four,
        create_time: Some(clock::timestamp(key.created_at)),
        update_time: Some(clock::timestamp(key.updated_at)),
        last_use_time: key.used_at.map(clock::timestamp),
        user_id: key.stored_by.to_string(),
    }
}
