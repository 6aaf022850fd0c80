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

/// Implements the service: one line per RPC.
macro_rules! rpcs {
    (
        reads { $($read:ident($read_request:ident) -> $read_response:ident = $reader:path;)* }
        writes { $($name:ident($request:ident) -> $response:ident = $handler:path;)* }
    ) => {
        #[tonic::async_trait]
        impl pb::project_storage_service_server::ProjectStorageService for Service {
            $(async fn $read(&self, request: Request<pb::$read_request>) -> Result<Response<pb::$read_response>, Status> {
                answer(read!($reader, &self.0, request))
            })*

            $(async fn $name(&self, request: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                answer($handler(&self.0, request).await)
            })*

            type ImportArchiveStream = imports::ImportStream;

            async fn import_archive(&self, request: Request<Streaming<pb::ImportArchiveRequest>>) -> Result<Response<imports::ImportStream>, Status> {
                answer(imports::import(&self.0, request).await)
            }

            type ExportProjectStream = archives::ExportStream;

            async fn export_project(&self, request: Request<pb::ExportProjectRequest>) -> Result<Response<archives::ExportStream>, Status> {
                answer(read!(archives::export, &self.0, request))
            }

            async fn upload_file(&self, request: Request<Streaming<pb::UploadFileRequest>>) -> Result<Response<pb::UploadFileResponse>, Status> {
                answer(blobs::upload(&self.0, request).await)
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
                answer(read!(contents::read, &self.0, request))
            }

            type WatchProjectStream = watch::WatchStream;

            async fn watch_project(&self, request: Request<pb::WatchProjectRequest>) -> Result<Response<watch::WatchStream>, Status> {
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
                answer(read!(blobs::download, &self.0, request))
            }
        }
    };
}

rpcs! {
    reads {
        list_projects(ListProjectsRequest) -> ListProjectsResponse = projects::list;
        get_project(GetProjectRequest) -> GetProjectResponse = projects::get;
        list_deletions(ListDeletionsRequest) -> ListDeletionsResponse = deletions::list;
        get_usage(GetUsageRequest) -> GetUsageResponse = usage::account;
        get_project_usage(GetProjectUsageRequest) -> GetProjectUsageResponse = usage::project;
        list_forks(ListForksRequest) -> ListForksResponse = forks::list;
        list_revisions(ListRevisionsRequest) -> ListRevisionsResponse = history::list;
        get_revision(GetRevisionRequest) -> GetRevisionResponse = history::get;
        diff_revisions(DiffRevisionsRequest) -> DiffRevisionsResponse = history::diff;
        list_file_revisions(ListFileRevisionsRequest) -> ListFileRevisionsResponse = file_history::list;
        blame_file(BlameFileRequest) -> BlameFileResponse = file_history::blame;
        list_labels(ListLabelsRequest) -> ListLabelsResponse = labels::list;
        list_locks(ListLocksRequest) -> ListLocksResponse = locks::list;
        list_messages(ListMessagesRequest) -> ListMessagesResponse = messages::list;
        search_messages(SearchMessagesRequest) -> SearchMessagesResponse = search::messages;
        load_project(LoadProjectRequest) -> LoadProjectResponse = files::load;
        list_files(ListFilesRequest) -> ListFilesResponse = files::list;
        get_file(GetFileRequest) -> GetFileResponse = files::get;
        search_files(SearchFilesRequest) -> SearchFilesResponse = search::files;
        list_conflicts(ListConflictsRequest) -> ListConflictsResponse = conflicts::list;
        get_conflict(GetConflictRequest) -> GetConflictResponse = conflicts::get;
        list_templates(ListTemplatesRequest) -> ListTemplatesResponse = templates::list;
        get_template(GetTemplateRequest) -> GetTemplateResponse = templates::get;
        get_template_file(GetTemplateFileRequest) -> GetTemplateFileResponse = templates::file;
        list_template_reviews(ListTemplateReviewsRequest) -> ListTemplateReviewsResponse = reviews::list;
        list_template_reports(ListTemplateReportsRequest) -> ListTemplateReportsResponse = reviews::reports;
        read_preview_file(ReadPreviewFileRequest) -> ReadPreviewFileResponse = previews::read;
        get_preview_tree(GetPreviewTreeRequest) -> GetPreviewTreeResponse = previews::tree;
        read_preview_contents(ReadPreviewContentsRequest) -> ReadPreviewContentsResponse = previews::contents;
        get_site(GetSiteRequest) -> GetSiteResponse = sites::get;
        list_deployments(ListDeploymentsRequest) -> ListDeploymentsResponse = sites::list;
        read_site_file(ReadSiteFileRequest) -> ReadSiteFileResponse = sites::read;
        get_turn_tree(GetTurnTreeRequest) -> GetTurnTreeResponse = turns::tree;
        read_turn_files(ReadTurnFilesRequest) -> ReadTurnFilesResponse = turns::read;
        list_turn_messages(ListTurnMessagesRequest) -> ListTurnMessagesResponse = turns::list_messages;
    }
    writes {
        create_project(CreateProjectRequest) -> CreateProjectResponse = projects::create;
        update_project(UpdateProjectRequest) -> UpdateProjectResponse = projects::update;
        delete_project(DeleteProjectRequest) -> DeleteProjectResponse = projects::delete;
        undelete_project(UndeleteProjectRequest) -> UndeleteProjectResponse = projects::undelete;
        acknowledge_deletions(AcknowledgeDeletionsRequest) -> AcknowledgeDeletionsResponse = deletions::acknowledge;
        fork_project(ForkProjectRequest) -> ForkProjectResponse = forks::fork;
        merge_project(MergeProjectRequest) -> MergeProjectResponse = forks::merge;
        delete_file(DeleteFileRequest) -> DeleteFileResponse = blobs::delete;
        restore_revision(RestoreRevisionRequest) -> RestoreRevisionResponse = history::restore;
        revert_revision(RevertRevisionRequest) -> RevertRevisionResponse = reverts::revert;
        undo_revision(UndoRevisionRequest) -> UndoRevisionResponse = reverts::undo;
        redo_revision(RedoRevisionRequest) -> RedoRevisionResponse = reverts::redo;
        set_label(SetLabelRequest) -> SetLabelResponse = labels::set;
        delete_label(DeleteLabelRequest) -> DeleteLabelResponse = labels::delete;
        set_lock(SetLockRequest) -> SetLockResponse = locks::set;
        delete_lock(DeleteLockRequest) -> DeleteLockResponse = locks::delete;
        update_message(UpdateMessageRequest) -> UpdateMessageResponse = messages::update;
        delete_message(DeleteMessageRequest) -> DeleteMessageResponse = messages::delete;
        set_reaction(SetReactionRequest) -> SetReactionResponse = messages::set_reaction;
        delete_reaction(DeleteReactionRequest) -> DeleteReactionResponse = messages::delete_reaction;
        save_project(SaveProjectRequest) -> SaveProjectResponse = files::save;
        resolve_conflict(ResolveConflictRequest) -> ResolveConflictResponse = conflicts::resolve;
        create_preview(CreatePreviewRequest) -> CreatePreviewResponse = previews::create;
        delete_preview(DeletePreviewRequest) -> DeletePreviewResponse = previews::delete;
        unpublish_site(UnpublishSiteRequest) -> UnpublishSiteResponse = sites::unpublish;
        activate_deployment(ActivateDeploymentRequest) -> ActivateDeploymentResponse = sites::activate;
        publish_template(PublishTemplateRequest) -> PublishTemplateResponse = templates::publish;
        use_template(UseTemplateRequest) -> UseTemplateResponse = templates::use_template;
        unpublish_template(UnpublishTemplateRequest) -> UnpublishTemplateResponse = templates::unpublish;
        rate_template(RateTemplateRequest) -> RateTemplateResponse = reviews::rate;
        delete_template_review(DeleteTemplateReviewRequest) -> DeleteTemplateReviewResponse = reviews::delete;
        report_template(ReportTemplateRequest) -> ReportTemplateResponse = reviews::report;
        moderate_template(ModerateTemplateRequest) -> ModerateTemplateResponse = reviews::moderate;
        dismiss_template_reports(DismissTemplateReportsRequest) -> DismissTemplateReportsResponse = reviews::dismiss;
        begin_turn(BeginTurnRequest) -> BeginTurnResponse = turns::begin;
        commit_turn(CommitTurnRequest) -> CommitTurnResponse = turns::commit;
        end_turn(EndTurnRequest) -> EndTurnResponse = turns::end;
    }
}
