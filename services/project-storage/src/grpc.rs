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
mod templates;
mod text;
mod turns;
mod usage;

use std::sync::Arc;

use proto::project_storage as pb;
use tonic::{Request, Response, Status, Streaming};

use crate::{app::App, error::Error};

/// The implementation of the generated service.
pub(crate) struct Service(pub(crate) Arc<App>);

fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(chassis::error::status)
}

/// Implements the service: one line per RPC.
macro_rules! rpcs {
    ($($name:ident($request:ident) -> $response:ident = $handler:path;)*) => {
        #[tonic::async_trait]
        impl pb::project_storage_service_server::ProjectStorageService for Service {
            $(async fn $name(&self, request: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                answer($handler(&self.0, request).await)
            })*

            type ImportArchiveStream = imports::ImportStream;

            async fn import_archive(&self, request: Request<Streaming<pb::ImportArchiveRequest>>) -> Result<Response<imports::ImportStream>, Status> {
                answer(imports::import(&self.0, request).await)
            }

            type ExportProjectStream = archives::ExportStream;

            async fn export_project(&self, request: Request<pb::ExportProjectRequest>) -> Result<Response<archives::ExportStream>, Status> {
                answer(archives::export(&self.0, request).await)
            }

            async fn upload_file(&self, request: Request<Streaming<pb::UploadFileRequest>>) -> Result<Response<pb::UploadFileResponse>, Status> {
                answer(blobs::upload(&self.0, request).await)
            }

            type ReadFilesStream = contents::ReadStream;

            async fn read_files(&self, request: Request<pb::ReadFilesRequest>) -> Result<Response<contents::ReadStream>, Status> {
                answer(contents::read(&self.0, request).await)
            }

            type DownloadFileStream = blobs::DownloadStream;

            async fn download_file(&self, request: Request<pb::DownloadFileRequest>) -> Result<Response<blobs::DownloadStream>, Status> {
                answer(blobs::download(&self.0, request).await)
            }
        }
    };
}

rpcs! {
    create_project(CreateProjectRequest) -> CreateProjectResponse = projects::create;
    list_projects(ListProjectsRequest) -> ListProjectsResponse = projects::list;
    get_project(GetProjectRequest) -> GetProjectResponse = projects::get;
    update_project(UpdateProjectRequest) -> UpdateProjectResponse = projects::update;
    delete_project(DeleteProjectRequest) -> DeleteProjectResponse = projects::delete;
    undelete_project(UndeleteProjectRequest) -> UndeleteProjectResponse = projects::undelete;
    list_deletions(ListDeletionsRequest) -> ListDeletionsResponse = deletions::list;
    acknowledge_deletions(AcknowledgeDeletionsRequest) -> AcknowledgeDeletionsResponse = deletions::acknowledge;
    get_usage(GetUsageRequest) -> GetUsageResponse = usage::account;
    get_project_usage(GetProjectUsageRequest) -> GetProjectUsageResponse = usage::project;
    fork_project(ForkProjectRequest) -> ForkProjectResponse = forks::fork;
    merge_project(MergeProjectRequest) -> MergeProjectResponse = forks::merge;
    list_forks(ListForksRequest) -> ListForksResponse = forks::list;
    delete_file(DeleteFileRequest) -> DeleteFileResponse = blobs::delete;
    list_revisions(ListRevisionsRequest) -> ListRevisionsResponse = history::list;
    get_revision(GetRevisionRequest) -> GetRevisionResponse = history::get;
    diff_revisions(DiffRevisionsRequest) -> DiffRevisionsResponse = history::diff;
    list_file_revisions(ListFileRevisionsRequest) -> ListFileRevisionsResponse = file_history::list;
    blame_file(BlameFileRequest) -> BlameFileResponse = file_history::blame;
    restore_revision(RestoreRevisionRequest) -> RestoreRevisionResponse = history::restore;
    revert_revision(RevertRevisionRequest) -> RevertRevisionResponse = reverts::revert;
    undo_revision(UndoRevisionRequest) -> UndoRevisionResponse = reverts::undo;
    redo_revision(RedoRevisionRequest) -> RedoRevisionResponse = reverts::redo;
    list_labels(ListLabelsRequest) -> ListLabelsResponse = labels::list;
    set_label(SetLabelRequest) -> SetLabelResponse = labels::set;
    delete_label(DeleteLabelRequest) -> DeleteLabelResponse = labels::delete;
    list_locks(ListLocksRequest) -> ListLocksResponse = locks::list;
    set_lock(SetLockRequest) -> SetLockResponse = locks::set;
    delete_lock(DeleteLockRequest) -> DeleteLockResponse = locks::delete;
    list_messages(ListMessagesRequest) -> ListMessagesResponse = messages::list;
    search_messages(SearchMessagesRequest) -> SearchMessagesResponse = search::messages;
    update_message(UpdateMessageRequest) -> UpdateMessageResponse = messages::update;
    delete_message(DeleteMessageRequest) -> DeleteMessageResponse = messages::delete;
    set_reaction(SetReactionRequest) -> SetReactionResponse = messages::set_reaction;
    delete_reaction(DeleteReactionRequest) -> DeleteReactionResponse = messages::delete_reaction;
    save_project(SaveProjectRequest) -> SaveProjectResponse = files::save;
    load_project(LoadProjectRequest) -> LoadProjectResponse = files::load;
    list_files(ListFilesRequest) -> ListFilesResponse = files::list;
    get_file(GetFileRequest) -> GetFileResponse = files::get;
    search_files(SearchFilesRequest) -> SearchFilesResponse = search::files;
    list_conflicts(ListConflictsRequest) -> ListConflictsResponse = conflicts::list;
    get_conflict(GetConflictRequest) -> GetConflictResponse = conflicts::get;
    resolve_conflict(ResolveConflictRequest) -> ResolveConflictResponse = conflicts::resolve;
    create_preview(CreatePreviewRequest) -> CreatePreviewResponse = previews::create;
    delete_preview(DeletePreviewRequest) -> DeletePreviewResponse = previews::delete;
    publish_template(PublishTemplateRequest) -> PublishTemplateResponse = templates::publish;
    list_templates(ListTemplatesRequest) -> ListTemplatesResponse = templates::list;
    get_template(GetTemplateRequest) -> GetTemplateResponse = templates::get;
    get_template_file(GetTemplateFileRequest) -> GetTemplateFileResponse = templates::file;
    use_template(UseTemplateRequest) -> UseTemplateResponse = templates::use_template;
    unpublish_template(UnpublishTemplateRequest) -> UnpublishTemplateResponse = templates::unpublish;
    list_template_reviews(ListTemplateReviewsRequest) -> ListTemplateReviewsResponse = reviews::list;
    rate_template(RateTemplateRequest) -> RateTemplateResponse = reviews::rate;
    delete_template_review(DeleteTemplateReviewRequest) -> DeleteTemplateReviewResponse = reviews::delete;
    report_template(ReportTemplateRequest) -> ReportTemplateResponse = reviews::report;
    moderate_template(ModerateTemplateRequest) -> ModerateTemplateResponse = reviews::moderate;
    list_template_reports(ListTemplateReportsRequest) -> ListTemplateReportsResponse = reviews::reports;
    read_preview_file(ReadPreviewFileRequest) -> ReadPreviewFileResponse = previews::read;
    begin_turn(BeginTurnRequest) -> BeginTurnResponse = turns::begin;
    get_turn_tree(GetTurnTreeRequest) -> GetTurnTreeResponse = turns::tree;
    read_turn_files(ReadTurnFilesRequest) -> ReadTurnFilesResponse = turns::read;
    list_turn_messages(ListTurnMessagesRequest) -> ListTurnMessagesResponse = turns::list_messages;
    commit_turn(CommitTurnRequest) -> CommitTurnResponse = turns::commit;
    end_turn(EndTurnRequest) -> EndTurnResponse = turns::end;
}
