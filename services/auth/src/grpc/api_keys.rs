//! Decodes and encodes the RPCs of API keys.

use chassis::{
    clock::{now, timestamp},
    context::Context,
    identity::{Grant, MAX_PROJECTS},
};
use proto::{
    auth::{
        ApiKey, ApiKeyScope, CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest, DeleteApiKeyResponse, ListApiKeysRequest,
        ListApiKeysResponse,
    },
    error::Violations,
    id::ProjectId,
};
use time::Duration;

use super::decode::{check_required_name, service_account};
use crate::{
    api_key::{self, NewKey},
    app::App,
    error::{Error, SERVICE},
    session::{KEY_LIFETIME, Key, MAX_KEY_LIFETIME, Session},
};

pub(super) async fn create(app: &App, context: &Context, request: CreateApiKeyRequest) -> Result<CreateApiKeyResponse, Error> {
    let (session, secret) = api_key::create(app, context, new_key(request)?, now()).await?;
    Ok(CreateApiKeyResponse { api_key: encode(session), secret: secret.expose().to_owned() })
}

pub(super) async fn list(app: &App, context: &Context, request: ListApiKeysRequest) -> Result<ListApiKeysResponse, Error> {
    let mut violations = Violations::default();
    let service_account = service_account(&mut violations, &request.service_account_id);
    violations.check(SERVICE)?;
    let found = api_key::list(&app.pool, context, service_account, now()).await?;
    Ok(ListApiKeysResponse { api_keys: found.into_iter().filter_map(encode).collect() })
}

pub(super) async fn delete(app: &App, context: &Context, request: DeleteApiKeyRequest) -> Result<DeleteApiKeyResponse, Error> {
    let mut violations = Violations::default();
    let id = violations.parse("api_key_id", &request.api_key_id);
    let service_account = service_account(&mut violations, &request.service_account_id);
    violations.check(SERVICE)?;
    api_key::delete(app, context, (id.ok_or(Error::KeyNotFound)?, service_account), now()).await?;
    Ok(DeleteApiKeyResponse {})
}

fn new_key(request: CreateApiKeyRequest) -> Result<NewKey, Error> {
    let scope = request.scope();
    let CreateApiKeyRequest { display_name, project_ids, lifetime_days, service_account_id, .. } = request;
    let mut violations = Violations::default();
    check_required_name(&mut violations, &display_name);
    if scope == ApiKeyScope::Unspecified {
        violations.add("scope", "must be API_KEY_SCOPE_READ or API_KEY_SCOPE_WRITE");
    }
    let lifetime = if lifetime_days == 0 { KEY_LIFETIME } else { Duration::days(lifetime_days.into()) };
    if lifetime > MAX_KEY_LIFETIME {
        violations.add("lifetime_days", format!("must be at most {}", MAX_KEY_LIFETIME.whole_days()));
    }
    let projects = projects(&mut violations, &project_ids);
    let service_account = service_account(&mut violations, &service_account_id);
    violations.check(SERVICE)?;
    Ok(NewKey { service_account, display_name, grant: Grant { can_write: scope == ApiKeyScope::Write, projects }, lifetime })
}

/// The projects, each once; `None` for all.
fn projects(violations: &mut Violations, ids: &[String]) -> Option<Vec<ProjectId>> {
    if ids.len() > MAX_PROJECTS {
        violations.add("project_ids", format!("must be at most {MAX_PROJECTS} projects"));
        return None;
    }
    let parse = |(at, id): (usize, &String)| violations.parse::<ProjectId>(&format!("project_ids[{at}]"), id);
    let mut projects: Vec<ProjectId> = ids.iter().enumerate().filter_map(parse).collect();
    projects.sort_unstable();
    projects.dedup();
    (!ids.is_empty()).then_some(projects)
}

/// The key of a session; `None` for a session of another kind.
fn encode(session: Session) -> Option<ApiKey> {
    let last_use_time = session.was_used().then(|| timestamp(session.last_used_at));
    let Key { grant, last_four } = session.key?;
    let scope = if grant.can_write { ApiKeyScope::Write } else { ApiKeyScope::Read };
    Some(ApiKey {
        id: session.id.to_string(),
        display_name: session.display_name,
        scope: scope.into(),
        project_ids: grant.projects.unwrap_or_default().iter().map(ToString::to_string).collect(),
        last_four,
        create_time: Some(timestamp(session.created_at)),
        expire_time: Some(timestamp(session.expires_at)),
        last_use_time,
        network: session.origin.network,
    })
}
