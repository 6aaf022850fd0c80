//! Locks of paths.

use chassis::{clock::timestamp, context::Context};
use proto::{error::Violations, project_storage as pb};
use tonic::Request;

use super::decode;
use crate::{
    app::App,
    error::Error,
    locks,
    model::{
        lock::{Lock, LockScope},
        path::FilePath,
    },
};

pub(super) async fn list(app: &App, request: Request<pb::ListLocksRequest>) -> Result<pb::ListLocksResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &request.into_inner().project_id);
    let project = decode::checked(violations, project)?;
    let found = locks::list(app.pool(), user.id, project).await?;
    Ok(pb::ListLocksResponse { locks: found.into_iter().map(encode).collect() })
}

pub(super) async fn set(app: &App, request: Request<pb::SetLockRequest>) -> Result<pb::SetLockResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::SetLockRequest { project_id, path, scope } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let scope = match pb::LockScope::try_from(scope) {
        Ok(pb::LockScope::Agents | pb::LockScope::Unspecified) => LockScope::Agents,
        Ok(pb::LockScope::Everybody) => LockScope::Everybody,
        Err(_) => {
            violations.add("scope", "must be LOCK_SCOPE_AGENTS or LOCK_SCOPE_EVERYBODY");
            LockScope::Agents
        }
    };
    let project = decode::checked(violations, project)?;
    let path = parse(&path)?;
    let lock = locks::set(app.pool(), user.id, project, &path, scope).await?;
    Ok(pb::SetLockResponse { lock: Some(encode(lock)) })
}

pub(super) async fn delete(app: &App, request: Request<pb::DeleteLockRequest>) -> Result<pb::DeleteLockResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::DeleteLockRequest { project_id, path } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let project = decode::checked(violations, project)?;
    locks::delete(app.pool(), user.id, project, &parse(&path)?).await?;
    Ok(pb::DeleteLockResponse {})
}

fn parse(path: &str) -> Result<FilePath, Error> {
    FilePath::parse(path).map_err(|problem| Error::invalid_path("path".to_owned(), path, &problem))
}

fn encode(lock: Lock) -> pb::Lock {
    let scope = match lock.scope {
        LockScope::Agents => pb::LockScope::Agents,
        LockScope::Everybody => pb::LockScope::Everybody,
    };
    pb::Lock { path: lock.path, scope: scope.into(), user_id: lock.user.to_string(), create_time: Some(timestamp(lock.created_at)) }
}
