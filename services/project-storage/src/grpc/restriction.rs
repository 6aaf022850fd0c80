//! Keys that are restricted to projects. Each RPC says in the table of [`super`] how it names projects; one that does not say so does not
//! compile. To such a key every other project looks absent, whether it exists or not.

use std::sync::Arc;

use chassis::{
    context::Context,
    identity::{Grant, User},
};
use proto::{
    error::{ErrorCode, Fault},
    id::ProjectId,
    project_storage as pb,
};
use tonic::Request;

use crate::{
    app::App,
    error::{Error, SERVICE},
    model::project::{Role, Target},
    read::member,
};

/// The user of a request, if its key is restricted.
fn restricted<T>(request: &Request<T>) -> Option<&User> {
    request.extensions().get::<Context>()?.user.as_ref().filter(|user| user.projects().is_some())
}

/// What the key of a request may do; `None` without a restriction.
pub(super) fn grant<T>(request: &Request<T>) -> Option<Arc<Grant>> {
    restricted(request)?.grant.clone()
}

/// Refuses another project. What is no id is refused by the handler.
pub(super) fn one<T>(request: &Request<T>, project_id: &str) -> Result<(), Error> {
    restricted(request).map_or(Ok(()), |user| reaches(user, project_id))
}

/// The same with the context of a request stream.
pub(super) fn of_stream(context: &Context, project_id: &str) -> Result<(), Error> {
    let user = context.user.as_ref().filter(|user| user.projects().is_some());
    user.map_or(Ok(()), |user| reaches(user, project_id))
}

fn reaches(user: &User, project_id: &str) -> Result<(), Error> {
    match project_id.parse::<ProjectId>() {
        Ok(id) if !user.reaches(id) => Err(Error::ProjectNotFound),
        _ => Ok(()),
    }
}

/// Refuses what is about no single project.
pub(super) fn none<T>(request: &Request<T>) -> Result<(), Error> {
    if restricted(request).is_some() { Err(of_no_project()) } else { Ok(()) }
}

/// The refusal of what is about no single project.
pub(super) fn of_no_project() -> Error {
    let text = "a key that is restricted to projects cannot do this, because it is not about one of them";
    Error::Fault(Fault::new(SERVICE, ErrorCode::Forbidden, "PROJECTS_RESTRICTED", text))
}

/// Replaces the draft id of a request by the id of its project, so that the request cannot create one.
pub(super) async fn target<T>(
    app: &App,
    request: &mut Request<T>,
    fields: impl Fn(&mut T) -> (&mut String, &mut String),
) -> Result<(), Error> {
    let Some(user) = restricted(request).cloned() else { return Ok(()) };
    let (project_id, draft_id) = fields(request.get_mut());
    if draft_id.is_empty() || !project_id.is_empty() {
        return reaches(&user, project_id);
    }
    let Some(draft) = super::decode::draft(&mut proto::error::Violations::default(), draft_id) else { return Ok(()) };
    let found = member::find(app.pool(), user.id, &Target::Draft(draft), Role::Viewer).await?;
    if !user.reaches(found.project.id) {
        return Err(Error::ProjectNotFound);
    }
    *project_id = found.project.id.to_string();
    draft_id.clear();
    Ok(())
}

/// Hides where the project of an answer was forked from, as for a user who may not read that project.
pub(super) fn hide(grant: Option<&Grant>, project: Option<&mut pb::Project>) {
    let (Some(grant), Some(origin)) = (grant, project.and_then(|project| project.forked_from.as_mut())) else { return };
    if origin.project_id.parse().is_ok_and(|id| !grant.reaches(id)) {
        origin.project_id.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_a_fork_is_hidden_unless_the_key_reaches_it() {
        let (own, other) = (ProjectId::generate(), ProjectId::generate());
        let restricted = Grant { can_write: true, projects: Some(vec![own]) };
        let all = Grant { can_write: true, projects: None };
        for (grant, origin, shown) in
            [(None, other, true), (Some(&all), other, true), (Some(&restricted), own, true), (Some(&restricted), other, false)]
        {
            let forked_from = Some(pb::ForkOrigin { project_id: origin.to_string(), ..Default::default() });
            let mut project = pb::Project { forked_from, ..Default::default() };
            hide(grant, Some(&mut project));
            assert_eq!(project.forked_from.expect("an origin").project_id.is_empty(), !shown);
        }
        hide(Some(&restricted), None);
        hide(Some(&restricted), Some(&mut pb::Project::default()));
    }
}
