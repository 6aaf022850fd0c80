//! Events of projects.

use std::pin::Pin;

use chassis::{context::Context, error::status};
use futures::{Stream, StreamExt as _};
use proto::{error::Violations, id::ProjectId, project_storage as pb};
use tonic::{Request, Status};

use super::{decode, encode};
use crate::{
    app::App,
    error::Error,
    watch::{
        follow::{self, Event},
        watchers::Watcher,
    },
};

/// The messages of a watcher.
pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchProjectResponse, Status>> + Send>>;

pub(super) async fn watch(app: &App, request: Request<pb::WatchProjectRequest>) -> Result<WatchStream, Error> {
    let context = Context::of(&request);
    let (user, session) = context.user().map(|user| (user.id, user.session_id))?;
    let pb::WatchProjectRequest { project_id, after } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let project = decode::checked(violations, project)?;
    let events = follow::follow(app.watch.clone(), Watcher { project, user, session }, after).await?;
    Ok(Box::pin(events.map(move |batch| batch.map(|batch| message(project, batch)).map_err(status))))
}

fn message(project: ProjectId, batch: Vec<Event>) -> pb::WatchProjectResponse {
    let event = |event| {
        let (seq, kind) = match event {
            Event::Committed(revision) => {
                let committed = pb::RevisionCommitted { revision: Some(encode::revision(&revision.0)) };
                (revision.0.number, pb::project_event::Kind::RevisionCommitted(committed))
            }
            Event::Reset(head) => {
                let number = head.as_ref().map_or(0, |head| head.number);
                let reset = pb::HeadReset { revision: head.as_deref().map(encode::revision) };
                (number, pb::project_event::Kind::HeadReset(reset))
            }
        };
        pb::ProjectEvent { seq, project_id: project.to_string(), kind: Some(kind) }
    };
    pb::WatchProjectResponse { events: batch.into_iter().map(event).collect() }
}
