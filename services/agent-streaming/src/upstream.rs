//! Calls to project-storage, auth, rate-limit and compile.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use chassis::{
    client::{MAX_MESSAGE_BYTES, ServiceChannel},
    context::Context,
    limit,
};
use proto::{
    auth::{AccountDeletion, AcknowledgeAccountDeletionsRequest, ListAccountDeletionsRequest, auth_service_client::AuthServiceClient},
    build_input::ReadContents,
    compile::compile_service_client::CompileServiceClient,
    error::{DEFAULT_DOMAIN, ErrorCode, Fault},
    id::{MessageId, ProjectId, TurnId, UserId},
    project_storage::{
        AcknowledgeDeletionsRequest, BeginTurnRequest, CommitTurnRequest, CommitTurnResponse, Deletion, EndTurnRequest, File,
        GetProjectRequest, GetTurnTreeRequest, GetTurnTreeResponse, ListDeletionsRequest, ListFilesRequest, ListFilesResponse,
        ListMessagesRequest, ListTurnMessagesRequest, Message, Project, ReadFilesRequest, ReadTurnFilesRequest,
        project_storage_service_client::ProjectStorageServiceClient,
    },
    rate_limit::rate_limit_service_client::RateLimitServiceClient,
};
use tokio::time::{Instant, sleep};

use crate::{
    error::SERVICE,
    turn::{Failure, Reason},
};

/// The rate limit of new turns.
const POLICY: &str = "agent";
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Paths of one request.
const PATHS: usize = 200;

#[derive(Clone)]
pub(crate) struct Upstream {
    storage: ProjectStorageServiceClient<ServiceChannel>,
    auth: AuthServiceClient<ServiceChannel>,
    limits: RateLimitServiceClient<ServiceChannel>,
    compile: CompileServiceClient<ServiceChannel>,
    build_timeout: Duration,
}

impl Upstream {
    /// `compile` is its channel, and how long a conversation with it may take.
    pub(crate) fn new(storage: ServiceChannel, auth: ServiceChannel, limits: ServiceChannel, compile: (ServiceChannel, Duration)) -> Self {
        let storage = ProjectStorageServiceClient::new(storage)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            storage,
            auth: AuthServiceClient::new(auth),
            limits: RateLimitServiceClient::new(limits),
            compile: CompileServiceClient::new(compile.0),
            build_timeout: compile.1,
        }
    }

    pub(crate) fn limits(&self) -> RateLimitServiceClient<ServiceChannel> {
        self.limits.clone()
    }

    pub(crate) fn compile(&self) -> CompileServiceClient<ServiceChannel> {
        self.compile.clone()
    }

    /// How long a conversation with compile may take.
    pub(crate) fn build_timeout(&self) -> Duration {
        self.build_timeout
    }

    /// Counts a new turn of the user against the rate limit.
    pub(crate) async fn check_rate_limit(&self, context: &Context, user: UserId) -> Result<(), Fault> {
        let subject = format!("user:{user}");
        limit::check(&mut self.limits.clone(), context, SERVICE, &[(POLICY, &subject)]).await.map(drop)
    }

    /// Begins the turn as the user of the request.
    pub(crate) async fn begin(&self, context: &Context, request: BeginTurnRequest) -> Result<ProjectId, Fault> {
        let answer = self.storage.clone().begin_turn(context.request(request)).await.map_err(|status| fault(&status))?;
        let project = answer.into_inner().project_id;
        project
            .parse()
            .map_err(|_| Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", "project-storage answered with an invalid project id"))
    }

    pub(crate) async fn tree(&self, turn: TurnId, revision: &str) -> Result<GetTurnTreeResponse, Fault> {
        let request = GetTurnTreeRequest { turn_id: turn.to_string(), revision: revision.to_owned() };
        let answer = self.storage.clone().get_turn_tree(Context::background().request(request)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| fault(&status))
    }

    pub(crate) async fn files(&self, request: ReadTurnFilesRequest) -> Result<Vec<File>, Fault> {
        let answer = self.storage.clone().read_turn_files(Context::background().request(request)).await;
        answer.map(|answer| answer.into_inner().files).map_err(|status| fault(&status))
    }

    /// The messages with the given ids or, without ids, the newest messages before the turn.
    pub(crate) async fn messages(&self, turn: TurnId, limit: i32, ids: &[MessageId]) -> Result<Vec<Message>, Fault> {
        let message_ids = ids.iter().map(MessageId::to_string).collect();
        let request = ListTurnMessagesRequest { turn_id: turn.to_string(), limit, message_ids };
        let answer = self.storage.clone().list_turn_messages(Context::background().request(request)).await;
        answer.map(|answer| answer.into_inner().messages).map_err(|status| fault(&status))
    }

    pub(crate) async fn commit(&self, request: CommitTurnRequest) -> Result<CommitTurnResponse, Fault> {
        let answer = self.storage.clone().commit_turn(Context::background().request(request)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| fault(&status))
    }

    pub(crate) async fn end(&self, request: EndTurnRequest) -> Result<(), Fault> {
        self.storage.clone().end_turn(Context::background().request(request)).await.map(drop).map_err(|status| fault(&status))
    }
}

impl Upstream {
    /// Whether the user of the request may read a project.
    pub(crate) async fn may_read(&self, context: &Context, project: ProjectId) -> Result<bool, Fault> {
        match self.project(context, project).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.code == ErrorCode::NotFound => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// A project, which the user of the request may read.
    pub(crate) async fn project(&self, context: &Context, project: ProjectId) -> Result<Project, Fault> {
        let request = GetProjectRequest { project_id: project.to_string() };
        let answer = self.storage.clone().get_project(context.request(request)).await.map_err(|status| fault(&status))?;
        Ok(answer.into_inner().project.unwrap_or_default())
    }

    /// The newest messages of a project that are not deleted, at most `limit`, the oldest first, which the user of the request may read.
    pub(crate) async fn list_messages(&self, context: &Context, project: ProjectId, limit: usize) -> Result<Vec<Message>, Fault> {
        let (mut messages, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                ListMessagesRequest { project_id: project.to_string(), page_size: 200, page_token, ..ListMessagesRequest::default() };
            let answer = self.storage.clone().list_messages(context.request(request)).await.map_err(|status| fault(&status))?;
            let page = answer.into_inner();
            messages.extend(page.messages.into_iter().filter(|message| message.delete_time.is_none()));
            page_token = page.next_page_token;
            if page_token.is_empty() || messages.len() >= limit {
                messages.truncate(limit);
                messages.reverse();
                return Ok(messages);
            }
        }
    }

    /// The files of a revision, or of the head, which the user of the request may read.
    pub(crate) async fn list_files(&self, context: &Context, project: ProjectId, revision: String) -> Result<ListFilesResponse, Fault> {
        let request = ListFilesRequest { project_id: project.to_string(), revision };
        let answer = self.storage.clone().list_files(context.request(request)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| fault(&status))
    }

    /// Contents of files of a revision, in the order of their paths, which the user of the request may read.
    pub(crate) async fn read_files(
        &self,
        context: &Context,
        project: ProjectId,
        revision: &str,
        paths: &[&str],
    ) -> Result<Vec<Bytes>, Fault> {
        let mut contents = ReadContents::default();
        for paths in paths.chunks(PATHS) {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            let request = ReadFilesRequest { project_id: project.to_string(), revision: revision.to_owned(), paths };
            let answer = self.storage.clone().read_files(context.request(request)).await;
            let mut stream = answer.map_err(|status| fault(&status))?.into_inner();
            while let Some(message) = stream.message().await.map_err(|status| fault(&status))? {
                contents.add(message);
            }
        }
        let missing = || Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", "project-storage has not sent all files");
        contents.finish(paths).ok_or_else(missing)
    }

    /// Deletions with a higher id that this service has not acknowledged.
    pub(crate) async fn deletions(&self, after: u64) -> Result<Vec<Deletion>, Fault> {
        let request = ListDeletionsRequest { after, page_size: 0 };
        let answer = self.storage.clone().list_deletions(Context::background().request(request)).await;
        answer.map(|answer| answer.into_inner().deletions).map_err(|status| fault(&status))
    }

    pub(crate) async fn acknowledge_deletion(&self, id: u64) -> Result<(), Fault> {
        let request = AcknowledgeDeletionsRequest { ids: vec![id] };
        self.storage.clone().acknowledge_deletions(Context::background().request(request)).await.map(drop).map_err(|status| fault(&status))
    }

    /// Deletions of accounts with a higher id that this service has not acknowledged.
    pub(crate) async fn account_deletions(&self, after: u64) -> Result<Vec<AccountDeletion>, Fault> {
        let request = ListAccountDeletionsRequest { after, page_size: 0 };
        let answer = self.auth.clone().list_account_deletions(Context::background().request(request)).await;
        answer.map(|answer| answer.into_inner().deletions).map_err(|status| fault(&status))
    }

    pub(crate) async fn acknowledge_account_deletion(&self, id: u64) -> Result<(), Fault> {
        let request = Context::background().request(AcknowledgeAccountDeletionsRequest { ids: vec![id] });
        self.auth.clone().acknowledge_account_deletions(request).await.map(drop).map_err(|status| fault(&status))
    }
}

/// The fault in a status. An internal error without a domain was made by the client because the connection broke, so it counts as
/// `UNAVAILABLE`.
pub(crate) fn fault(status: &tonic::Status) -> Fault {
    let fault = Fault::from_status(status);
    if fault.code == ErrorCode::Internal && fault.domain == DEFAULT_DOMAIN {
        return Fault { code: ErrorCode::Unavailable, reason: "UNAVAILABLE".to_owned(), ..fault };
    }
    fault
}

/// Whether the service refused the call for good. After any other fault the call may have been carried out, or may succeed later.
pub(crate) fn is_refusal(fault: &Fault) -> bool {
    match fault.code {
        ErrorCode::InvalidArgument
        | ErrorCode::Unauthenticated
        | ErrorCode::Forbidden
        | ErrorCode::NotFound
        | ErrorCode::Conflict
        | ErrorCode::Unimplemented => true,
        // These are exceeded quotas. A rate limit is lifted by waiting.
        ErrorCode::RateLimited => matches!(fault.reason.as_str(), "TOO_MANY_PROJECTS" | "ACCOUNT_TOO_LARGE" | "MESSAGE_TOO_LARGE"),
        ErrorCode::Timeout | ErrorCode::Unavailable | ErrorCode::Internal => false,
    }
}

/// Repeats an idempotent call until it is answered or refused, or until `timeout` has passed. Without a timeout it repeats the call
/// until the caller drops the future.
pub(crate) async fn retry_until_answered<T, F>(timeout: Option<Duration>, mut call: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let started = Instant::now();
    let mut pause = MIN_PAUSE;
    loop {
        let fault = match call().await {
            Err(fault) if !is_refusal(&fault) => fault,
            answered => return answered,
        };
        if timeout.is_some_and(|timeout| started.elapsed() + pause > timeout) {
            return Err(fault);
        }
        tracing::warn!(reason = fault.reason, "a call to another service failed and is repeated: {fault}");
        sleep(fault.retry_after.unwrap_or(pause).clamp(pause, MAX_PAUSE)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// The failure of a turn whose call to project-storage was refused.
pub(crate) fn failure_of(fault: &Fault) -> Failure {
    let reason = match (fault.code, fault.reason.as_str()) {
        (ErrorCode::InvalidArgument | ErrorCode::RateLimited, _) => Reason::LimitExceeded,
        (ErrorCode::Forbidden, "PATH_LOCKED") => Reason::PathLocked,
        (ErrorCode::Forbidden | ErrorCode::Unauthenticated, _)
        | (ErrorCode::NotFound, "PROJECT_NOT_FOUND" | "TURN_NOT_FOUND" | "REVISION_NOT_FOUND") => Reason::AccessLost,
        _ => Reason::Internal,
    };
    let foreign = fault.domain != format!("{SERVICE}.backlot.dev");
    let message = if reason == Reason::Internal && foreign {
        "the files of the project could not be read or written".to_owned()
    } else {
        fault.message.clone()
    };
    Failure::new(reason, message)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn fault(code: ErrorCode) -> Fault {
        Fault::new("project-storage", code, "X", "x")
    }

    #[tokio::test]
    async fn a_transient_fault_is_retried_and_a_refusal_is_not() {
        let calls = Cell::new(0);
        let answer = retry_until_answered(None, || async {
            calls.set(calls.get() + 1);
            if calls.get() < 4 { Err(fault(ErrorCode::Unavailable)) } else { Ok(calls.get()) }
        });
        assert_eq!(answer.await, Ok(4));
        for code in [ErrorCode::Conflict, ErrorCode::NotFound, ErrorCode::InvalidArgument, ErrorCode::Forbidden] {
            calls.set(0);
            let refused = retry_until_answered(None, || async {
                calls.set(calls.get() + 1);
                Err::<(), _>(fault(code))
            });
            assert_eq!((refused.await.map_err(|f| f.code), calls.get()), (Err(code), 1));
        }
        for (reason, refusal) in [("TOO_MANY_PROJECTS", true), ("ACCOUNT_TOO_LARGE", true), ("RATE_LIMITED", false)] {
            assert_eq!(is_refusal(&Fault::new("project-storage", ErrorCode::RateLimited, reason, "x")), refusal, "{reason}");
        }
    }

    #[tokio::test]
    async fn retries_stop_at_the_timeout() {
        // No pause starts that would end after the timeout, so a slow machine makes fewer calls and never more.
        for (timeout, most) in [(Duration::ZERO, 1), (Duration::from_millis(500), 3)] {
            let calls = Cell::new(0);
            let answer = retry_until_answered(Some(timeout), || async {
                calls.set(calls.get() + 1);
                Err::<(), _>(fault(ErrorCode::Timeout))
            });
            assert_eq!(answer.await.map_err(|f| f.code), Err(ErrorCode::Timeout));
            assert!((1..=most).contains(&calls.get()), "{} calls within {timeout:?}", calls.get());
        }
    }

    #[test]
    fn a_refusal_has_a_stable_reason() {
        let of = |code, reason: &str| failure_of(&Fault::new("project-storage", code, reason, "x")).reason;
        assert_eq!(of(ErrorCode::InvalidArgument, "FILE_TOO_LARGE"), Reason::LimitExceeded);
        assert_eq!(of(ErrorCode::RateLimited, "ACCOUNT_TOO_LARGE"), Reason::LimitExceeded);
        assert_eq!(of(ErrorCode::Forbidden, "ROLE_REQUIRED"), Reason::AccessLost);
        assert_eq!(of(ErrorCode::Forbidden, "PATH_LOCKED"), Reason::PathLocked);
        assert_eq!(of(ErrorCode::NotFound, "PROJECT_NOT_FOUND"), Reason::AccessLost);
        assert_eq!(of(ErrorCode::Conflict, "TURN_DIGEST_MISMATCH"), Reason::Internal);
    }
}
