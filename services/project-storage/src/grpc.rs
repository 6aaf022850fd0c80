//! The gRPC adapter. Each RPC decodes its request, calls one function, and encodes the result.

mod archives;
mod blobs;
mod conflicts;
mod contents;
mod decode;
mod deletions;
mod encode;
mod file_history;
mod files;
mod forks;
mod history;
mod imports;
mod labels;
mod locks;
mod messages;
mod parts;
mod previews;
mod projects;
mod restriction;
mod reverts;
mod reviews;
mod search;
mod sites;
mod templates;
mod text;
mod turns;
mod usage;
mod watch;

use std::sync::Arc;

use chassis::error::status;
use proto::{
    id::{ProjectId, UserId},
    project_storage as pb,
};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    app::App,
    error::Error,
    model::project::{Role, Target},
    read::member,
};

/// The implementation of the generated service.
pub(crate) struct Service(pub(crate) Arc<App>);

fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(status)
}

/// The request once more.
fn copy_of<T: Clone>(request: &Request<T>) -> Request<T> {
    Request::from_parts(request.metadata().clone(), request.extensions().clone(), request.get_ref().clone())
}

/// A read. If something is missing, it is repeated once, as a write is: it looks its project up again, which may have been purged
/// between the look-up and the read.
macro_rules! read {
    ($handler:path, $app:expr, $request:ident) => {{
        let repeated = copy_of(&$request);
        match $handler($app, $request).await {
            Err(error) if error.is_missing() => $handler($app, repeated).await,
            result => result,
        }
    }};
}

/// Why a stream of a user's project ends. If something is missing, the project is looked up again.
async fn stream_status(app: &App, (user, project): (UserId, ProjectId), error: Error) -> Status {
    let purged = match error.is_missing() {
        true => member::find(app.pool(), user, &Target::Id(project), Role::Viewer).await.err(),
        false => None,
    };
    status(purged.unwrap_or(error))
}

/// Checks a request of a key that is restricted to projects, by how the request names projects:
///
/// - `one`: by `project_id`. `shown`: the same, and the answer has the project.
/// - `two`: also by `source_project_id`.
/// - `target`: by `project_id` or `draft_id`, and the answer has the project. `begin`: the same without the project.
/// - `listed`: it may name none. Its handler answers with those that the key reaches.
/// - `none`: it is about no single project.
/// - `internal`: a service or an operator calls it without a user, or it is about the row of a turn.
macro_rules! restrict {
    (one, $app:expr, $request:ident) => {
        restriction::one(&$request, &$request.get_ref().project_id).map_err(status)?
    };
    (shown, $app:expr, $request:ident) => {
        restrict!(one, $app, $request)
    };
    (two, $app:expr, $request:ident) => {{
        restrict!(one, $app, $request);
        restriction::one(&$request, &$request.get_ref().source_project_id).map_err(status)?
    }};
    (target, $app:expr, $request:ident) => {
        restriction::target($app, &mut $request, |message| (&mut message.project_id, &mut message.draft_id)).await.map_err(status)?
    };
    (begin, $app:expr, $request:ident) => {
        restrict!(target, $app, $request)
    };
    (none, $app:expr, $request:ident) => {
        restriction::none(&$request).map_err(status)?
    };
    (listed, $app:expr, $request:ident) => {};
    (internal, $app:expr, $request:ident) => {};
}

/// Hides in an answer what such a key does not reach.
macro_rules! hide {
    (shown, $grant:expr, $answer:ident) => {
        restriction::hide($grant.as_deref(), $answer.project.as_mut())
    };
    (two, $grant:expr, $answer:ident) => {
        hide!(shown, $grant, $answer)
    };
    (target, $grant:expr, $answer:ident) => {
        hide!(shown, $grant, $answer)
    };
    ($other:ident, $grant:expr, $answer:ident) => {
        let _ = $grant;
    };
}

/// Implements the service: one line per RPC.
macro_rules! rpcs {
    (
        reads { $($read:ident($read_request:ident) -> $read_response:ident = $reader:path, $read_class:ident;)* }
        writes { $($name:ident($request:ident) -> $response:ident = $handler:path, $class:ident;)* }
    ) => {
        #[tonic::async_trait]
        impl pb::project_storage_service_server::ProjectStorageService for Service {
            $(#[allow(unused_mut, reason = "only some requests and answers are changed")]
            async fn $read(&self, mut request: Request<pb::$read_request>) -> Result<Response<pb::$read_response>, Status> {
                restrict!($read_class, &self.0, request);
                let grant = restriction::grant(&request);
                let mut found = read!($reader, &self.0, request).map_err(status)?;
                hide!($read_class, grant, found);
                Ok(Response::new(found))
            })*

            $(#[allow(unused_mut, reason = "only some requests and answers are changed")]
            async fn $name(&self, mut request: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                restrict!($class, &self.0, request);
                let grant = restriction::grant(&request);
                let mut done = $handler(&self.0, request).await.map_err(status)?;
                hide!($class, grant, done);
                Ok(Response::new(done))
            })*

            type ImportArchiveStream = imports::ImportStream;

            async fn import_archive(&self, request: Request<Streaming<pb::ImportArchiveRequest>>) -> Result<Response<imports::ImportStream>, Status> {
                answer(imports::import(&self.0, request).await)
            }

            type ExportProjectStream = archives::ExportStream;

            async fn export_project(&self, request: Request<pb::ExportProjectRequest>) -> Result<Response<archives::ExportStream>, Status> {
                restrict!(one, &self.0, request);
                answer(read!(archives::export, &self.0, request))
            }

            async fn upload_file(&self, request: Request<Streaming<pb::UploadFileRequest>>) -> Result<Response<pb::UploadFileResponse>, Status> {
                let grant = restriction::grant(&request);
                let mut done = blobs::upload(&self.0, request).await.map_err(status)?;
                hide!(shown, grant, done);
                Ok(Response::new(done))
            }

            type PublishSiteStream = sites::PublishStream;

            async fn publish_site(&self, request: Request<Streaming<pb::PublishSiteRequest>>) -> Result<Response<sites::PublishStream>, Status> {
                answer(sites::publish(&self.0, request).await)
            }

            type ExportDeploymentStream = sites::ExportStream;

            async fn export_deployment(
                &self,
                request: Request<pb::ExportDeploymentRequest>,
            ) -> Result<Response<sites::ExportStream>, Status> {
                restrict!(one, &self.0, request);
                answer(read!(sites::export, &self.0, request))
            }

            type DownloadSiteFileStream = sites::DownloadStream;

            async fn download_site_file(
                &self,
                request: Request<pb::DownloadSiteFileRequest>,
            ) -> Result<Response<sites::DownloadStream>, Status> {
                answer(read!(sites::download, &self.0, request))
            }

            type ReadFilesStream = contents::ReadStream;

            async fn read_files(&self, request: Request<pb::ReadFilesRequest>) -> Result<Response<contents::ReadStream>, Status> {
                restrict!(one, &self.0, request);
                answer(read!(contents::read, &self.0, request))
            }

            type WatchProjectStream = watch::WatchStream;

            async fn watch_project(&self, request: Request<pb::WatchProjectRequest>) -> Result<Response<watch::WatchStream>, Status> {
                restrict!(one, &self.0, request);
                answer(watch::watch(&self.0, request).await)
            }

            type DownloadPreviewFileStream = previews::DownloadStream;

            async fn download_preview_file(
                &self,
                request: Request<pb::DownloadPreviewFileRequest>,
            ) -> Result<Response<previews::DownloadStream>, Status> {
                answer(read!(previews::download, &self.0, request))
            }

            type DownloadFileStream = blobs::DownloadStream;

            async fn download_file(&self, request: Request<pb::DownloadFileRequest>) -> Result<Response<blobs::DownloadStream>, Status> {
                restrict!(one, &self.0, request);
                answer(read!(blobs::download, &self.0, request))
            }
        }
    };
}

rpcs! {
    reads {
        list_projects(ListProjectsRequest) -> ListProjectsResponse = projects::list, listed;
        get_project(GetProjectRequest) -> GetProjectResponse = projects::get, shown;
        list_deletions(ListDeletionsRequest) -> ListDeletionsResponse = deletions::list, internal;
        get_usage(GetUsageRequest) -> GetUsageResponse = usage::account, none;
        get_project_usage(GetProjectUsageRequest) -> GetProjectUsageResponse = usage::project, one;
        list_forks(ListForksRequest) -> ListForksResponse = forks::list, one;
        list_revisions(ListRevisionsRequest) -> ListRevisionsResponse = history::list, one;
        get_revision(GetRevisionRequest) -> GetRevisionResponse = history::get, one;
        diff_revisions(DiffRevisionsRequest) -> DiffRevisionsResponse = history::diff, one;
        list_file_revisions(ListFileRevisionsRequest) -> ListFileRevisionsResponse = file_history::list, one;
        blame_file(BlameFileRequest) -> BlameFileResponse = file_history::blame, one;
        list_labels(ListLabelsRequest) -> ListLabelsResponse = labels::list, one;
        list_locks(ListLocksRequest) -> ListLocksResponse = locks::list, one;
        list_messages(ListMessagesRequest) -> ListMessagesResponse = messages::list, one;
        search_messages(SearchMessagesRequest) -> SearchMessagesResponse = search::messages, listed;
        load_project(LoadProjectRequest) -> LoadProjectResponse = files::load, target;
        list_files(ListFilesRequest) -> ListFilesResponse = files::list, one;
        get_file(GetFileRequest) -> GetFileResponse = files::get, one;
        search_files(SearchFilesRequest) -> SearchFilesResponse = search::files, one;
        list_conflicts(ListConflictsRequest) -> ListConflictsResponse = conflicts::list, one;
        get_conflict(GetConflictRequest) -> GetConflictResponse = conflicts::get, one;
        list_templates(ListTemplatesRequest) -> ListTemplatesResponse = templates::list, none;
        get_template(GetTemplateRequest) -> GetTemplateResponse = templates::get, none;
        get_template_file(GetTemplateFileRequest) -> GetTemplateFileResponse = templates::file, none;
        list_template_reviews(ListTemplateReviewsRequest) -> ListTemplateReviewsResponse = reviews::list, none;
        list_template_reports(ListTemplateReportsRequest) -> ListTemplateReportsResponse = reviews::reports, internal;
        read_preview_file(ReadPreviewFileRequest) -> ReadPreviewFileResponse = previews::read, internal;
        get_preview_tree(GetPreviewTreeRequest) -> GetPreviewTreeResponse = previews::tree, internal;
        read_preview_contents(ReadPreviewContentsRequest) -> ReadPreviewContentsResponse = previews::contents, internal;
        get_site(GetSiteRequest) -> GetSiteResponse = sites::get, one;
        list_deployments(ListDeploymentsRequest) -> ListDeploymentsResponse = sites::list, one;
        read_site_file(ReadSiteFileRequest) -> ReadSiteFileResponse = sites::read, internal;
        get_turn_tree(GetTurnTreeRequest) -> GetTurnTreeResponse = turns::tree, internal;
        read_turn_files(ReadTurnFilesRequest) -> ReadTurnFilesResponse = turns::read, internal;
        list_turn_messages(ListTurnMessagesRequest) -> ListTurnMessagesResponse = turns::list_messages, internal;
    }
    writes {
        create_project(CreateProjectRequest) -> CreateProjectResponse = projects::create, none;
        update_project(UpdateProjectRequest) -> UpdateProjectResponse = projects::update, shown;
        delete_project(DeleteProjectRequest) -> DeleteProjectResponse = projects::delete, one;
        undelete_project(UndeleteProjectRequest) -> UndeleteProjectResponse = projects::undelete, shown;
        acknowledge_deletions(AcknowledgeDeletionsRequest) -> AcknowledgeDeletionsResponse = deletions::acknowledge, internal;
        fork_project(ForkProjectRequest) -> ForkProjectResponse = forks::fork, none;
        merge_project(MergeProjectRequest) -> MergeProjectResponse = forks::merge, two;
        delete_file(DeleteFileRequest) -> DeleteFileResponse = blobs::delete, shown;
        restore_revision(RestoreRevisionRequest) -> RestoreRevisionResponse = history::restore, shown;
        revert_revision(RevertRevisionRequest) -> RevertRevisionResponse = reverts::revert, shown;
        undo_revision(UndoRevisionRequest) -> UndoRevisionResponse = reverts::undo, shown;
        redo_revision(RedoRevisionRequest) -> RedoRevisionResponse = reverts::redo, shown;
        set_label(SetLabelRequest) -> SetLabelResponse = labels::set, one;
        delete_label(DeleteLabelRequest) -> DeleteLabelResponse = labels::delete, one;
        set_lock(SetLockRequest) -> SetLockResponse = locks::set, one;
        delete_lock(DeleteLockRequest) -> DeleteLockResponse = locks::delete, one;
        update_message(UpdateMessageRequest) -> UpdateMessageResponse = messages::update, one;
        delete_message(DeleteMessageRequest) -> DeleteMessageResponse = messages::delete, one;
        set_reaction(SetReactionRequest) -> SetReactionResponse = messages::set_reaction, one;
        delete_reaction(DeleteReactionRequest) -> DeleteReactionResponse = messages::delete_reaction, one;
        save_project(SaveProjectRequest) -> SaveProjectResponse = files::save, target;
        resolve_conflict(ResolveConflictRequest) -> ResolveConflictResponse = conflicts::resolve, shown;
        create_preview(CreatePreviewRequest) -> CreatePreviewResponse = previews::create, one;
        delete_preview(DeletePreviewRequest) -> DeletePreviewResponse = previews::delete, one;
        unpublish_site(UnpublishSiteRequest) -> UnpublishSiteResponse = sites::unpublish, one;
        activate_deployment(ActivateDeploymentRequest) -> ActivateDeploymentResponse = sites::activate, one;
        publish_template(PublishTemplateRequest) -> PublishTemplateResponse = templates::publish, none;
        use_template(UseTemplateRequest) -> UseTemplateResponse = templates::use_template, none;
        unpublish_template(UnpublishTemplateRequest) -> UnpublishTemplateResponse = templates::unpublish, none;
        rate_template(RateTemplateRequest) -> RateTemplateResponse = reviews::rate, none;
        delete_template_review(DeleteTemplateReviewRequest) -> DeleteTemplateReviewResponse = reviews::delete, none;
        report_template(ReportTemplateRequest) -> ReportTemplateResponse = reviews::report, none;
        moderate_template(ModerateTemplateRequest) -> ModerateTemplateResponse = reviews::moderate, internal;
        dismiss_template_reports(DismissTemplateReportsRequest) -> DismissTemplateReportsResponse = reviews::dismiss, internal;
        begin_turn(BeginTurnRequest) -> BeginTurnResponse = turns::begin, begin;
        commit_turn(CommitTurnRequest) -> CommitTurnResponse = turns::commit, internal;
        end_turn(EndTurnRequest) -> EndTurnResponse = turns::end, internal;
    }
}
