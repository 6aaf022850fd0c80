//! The revisions of a project: the list, their differences, the history of a file, labels, locks, restores, reverts, undo and redo.

use std::sync::Arc;

use axum::extract::State;
use proto::project_storage::{
    BlameFileRequest, DeleteLabelRequest, DeleteLockRequest, DiffRevisionsRequest, GetRevisionRequest, ListFileRevisionsRequest,
    ListLabelsRequest, ListLocksRequest, ListRevisionsRequest, RedoRevisionRequest, RestoreRevisionRequest, RevertRevisionRequest,
    SetLabelRequest, SetLockRequest, UndoRevisionRequest,
};

use super::change::change;
use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        params::{Params, PathParams},
        reply::{Reply, reply},
    },
    upstream::present,
};

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListRevisionsRequest>) -> Reply {
    reply(app.upstream.projects().list_revisions(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn get(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetRevisionRequest>) -> Reply {
    reply(&present(app.upstream.projects().get_revision(caller.context.request(request)).await?.into_inner().revision)?)
}

pub(crate) async fn diff(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DiffRevisionsRequest>) -> Reply {
    reply(app.upstream.projects().diff_revisions(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn of_file(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<ListFileRevisionsRequest>,
) -> Reply {
    reply(app.upstream.projects().list_file_revisions(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn blame(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<BlameFileRequest>) -> Reply {
    reply(app.upstream.projects().blame_file(caller.context.request(request)).await?.get_ref())
}

change!(restore, RestoreRevisionRequest, restore_revision, [project_id, revision]);
change!(revert, RevertRevisionRequest, revert_revision, [project_id, revision]);
change!(revert_turn, RevertRevisionRequest, revert_revision, [project_id, turn_id]);
change!(undo, UndoRevisionRequest, undo_revision, [project_id]);
change!(redo, RedoRevisionRequest, redo_revision, [project_id]);

pub(crate) async fn labels(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListLabelsRequest>) -> Reply {
    reply(app.upstream.projects().list_labels(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn set_label(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    ids: PathParams,
    Json(mut request, _share): Json<SetLabelRequest>,
) -> Reply {
    ids.bind(&mut request.project_id, "project_id")?;
    ids.bind(&mut request.label, "label")?;
    reply(&present(app.upstream.projects().set_label(caller.context.request(request)).await?.into_inner().label)?)
}

pub(crate) async fn delete_label(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DeleteLabelRequest>) -> Reply {
    reply(app.upstream.projects().delete_label(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn locks(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListLocksRequest>) -> Reply {
    reply(app.upstream.projects().list_locks(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn set_lock(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    ids: PathParams,
    Json(mut request, _share): Json<SetLockRequest>,
) -> Reply {
    ids.bind(&mut request.project_id, "project_id")?;
    ids.bind(&mut request.path, "path")?;
    reply(&present(app.upstream.projects().set_lock(caller.context.request(request)).await?.into_inner().lock)?)
}

pub(crate) async fn delete_lock(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DeleteLockRequest>) -> Reply {
    reply(app.upstream.projects().delete_lock(caller.context.request(request)).await?.get_ref())
}
