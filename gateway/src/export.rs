//! The export of a person's data: one zip file with JSON lines of what the services have, and an archive of each project. Each piece is sent
//! before the next one is read, so that neither the number of projects nor their size needs memory here.

mod pages;
mod zip;

use std::sync::Arc;

use bytes::Bytes;
use chassis::context::Context;
use proto::{
    agent_streaming::{GetTokenUsageRequest, ListProviderKeysRequest},
    auth::{ExportAccountResponse, GetFactorsRequest, export_account_response::Entry},
    error::ErrorCode,
    project_storage::{ExportProjectRequest, GetUsageRequest},
};
use serde::Serialize;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use self::{
    pages::{messages, projects, revisions, templates, turns},
    zip::{TooLarge, Zip},
};
use crate::{app::App, error::fault, http::content::StreamError, identity::sessions::Credential};

/// Bytes that are sent as one piece.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for the client.
pub(crate) const PIECES: usize = 4;

/// Why the export ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client has gone.
    #[error("the client has gone")]
    Gone,
    #[error("{0}")]
    Service(proto::error::Fault),
    #[error("a file of the export has 4 GiB or more")]
    TooLarge,
    #[error("a message is no JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<TooLarge> for Failure {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Service(crate::error::fault_of(&status))
    }
}

/// Whose data is exported.
pub(crate) struct Person {
    pub(crate) context: Context,
    pub(crate) credential: Credential,
    pub(crate) id: String,
}

/// An export while it is written.
pub(crate) struct Export {
    pub(crate) app: Arc<App>,
    pub(crate) person: Person,
    zip: Zip,
    out: mpsc::Sender<Result<Bytes, StreamError>>,
}

impl Export {
    pub(crate) fn new(app: Arc<App>, person: Person, out: mpsc::Sender<Result<Bytes, StreamError>>) -> Self {
        Self { app, person, zip: Zip::default(), out }
    }

    /// Writes the whole archive. A failure aborts the answer, so that nobody takes a part for the whole.
    pub(crate) async fn run(mut self, account: Streaming<ExportAccountResponse>) {
        match self.write_all(account).await {
            Ok(()) | Err(Failure::Gone) => {}
            Err(failure) => {
                tracing::warn!(cause = chassis::error::chain(&failure), "an export of a person's data was aborted");
                // The client may have gone, too.
                let _ = self.out.send(Err(StreamError(failure.to_string()))).await;
            }
        }
    }

    async fn write_all(&mut self, account: Streaming<ExportAccountResponse>) -> Result<(), Failure> {
        self.account(account).await?;
        // A slow client may have taken longer than the access token is valid.
        self.renew().await?;
        self.factors().await?;
        let ids = projects(self).await?;
        for id in ids {
            self.renew().await?;
            let folder = format!("projects/{id}");
            messages(self, &format!("{folder}/messages.jsonl"), &id).await?;
            turns(self, &format!("{folder}/turns.jsonl"), &id).await?;
            revisions(self, &format!("{folder}/revisions.jsonl"), &id).await?;
            self.provider_keys(&format!("{folder}/provider-keys.jsonl"), &id).await?;
            self.files(&format!("{folder}/files.zip"), &id).await?;
        }
        self.renew().await?;
        templates(self).await?;
        self.provider_keys("provider-keys.jsonl", "").await?;
        self.usage().await?;
        self.zip.finish();
        self.flush(0).await
    }

    /// Writes the entries of auth. They come in the order of the files.
    async fn account(&mut self, mut entries: Streaming<ExportAccountResponse>) -> Result<(), Failure> {
        let mut open = "";
        while let Some(entry) = entries.message().await? {
            let Some(entry) = entry.entry else { continue };
            let (name, line) = match &entry {
                Entry::Account(account) => ("account.jsonl", serde_json::to_vec(account)?),
                Entry::Session(session) => ("sessions.jsonl", serde_json::to_vec(session)?),
                Entry::Identity(identity) => ("identities.jsonl", serde_json::to_vec(identity)?),
                Entry::ServiceAccount(account) => ("service-accounts.jsonl", serde_json::to_vec(account)?),
                Entry::Passkey(passkey) => ("passkeys.jsonl", serde_json::to_vec(passkey)?),
                Entry::Event(event) => ("events.jsonl", serde_json::to_vec(event)?),
            };
            if open != name {
                self.zip.end()?;
                self.zip.begin(name);
                open = name;
            }
            self.line(&line).await?;
        }
        Ok(self.zip.end()?)
    }

    /// Writes the archive of a project as a file of this one. A project that was deleted meanwhile has none.
    async fn files(&mut self, path: &str, project: &str) -> Result<(), Failure> {
        let request = ExportProjectRequest { project_id: project.to_owned(), ..ExportProjectRequest::default() };
        let opened = self.app.upstream.project_streams().export_project(self.person.context.stream_request(request)).await;
        let Some(parts) = found(opened)? else { return Ok(()) };
        let mut parts = parts.into_inner();
        self.zip.begin(path);
        while let Some(part) = parts.message().await? {
            self.zip.write(&part.data);
            self.flush(PIECE).await?;
        }
        Ok(self.zip.end()?)
    }

    /// Writes which ways to sign in the account has, without their secrets.
    async fn factors(&mut self) -> Result<(), Failure> {
        let request = self.person.context.request(GetFactorsRequest {});
        let factors = self.app.upstream.auth().get_factors(request).await?.into_inner();
        self.zip.begin("factors.jsonl");
        self.message(&factors).await?;
        Ok(self.zip.end()?)
    }

    /// Writes the keys of model providers of a project, or of the person if there is none, without the keys themselves.
    async fn provider_keys(&mut self, path: &str, project: &str) -> Result<(), Failure> {
        let request = self.person.context.request(ListProviderKeysRequest { project_id: project.to_owned() });
        let Some(keys) = found(self.app.upstream.agents().list_provider_keys(request).await)? else { return Ok(()) };
        self.zip.begin(path);
        for key in &keys.into_inner().provider_keys {
            self.message(key).await?;
        }
        Ok(self.zip.end()?)
    }

    async fn usage(&mut self) -> Result<(), Failure> {
        let context = self.person.context.clone();
        let storage = self.app.upstream.projects().get_usage(context.request(GetUsageRequest {})).await?.into_inner();
        let tokens = self.app.upstream.agents().get_token_usage(context.request(GetTokenUsageRequest {})).await?.into_inner();
        self.zip.begin("usage.jsonl");
        self.line(&serde_json::to_vec(&storage)?).await?;
        self.line(&serde_json::to_vec(&tokens)?).await?;
        Ok(self.zip.end()?)
    }

    /// Gets an access token that is valid for the next calls, and ends the export if the session has ended.
    async fn renew(&mut self) -> Result<(), Failure> {
        let anonymous = Context { user: None, ..self.person.context.clone() };
        let user = self.app.sessions.user(&self.person.credential, &anonymous).await.map_err(Failure::Service)?;
        if user.id.to_string() != self.person.id {
            return Err(Failure::Service(fault(ErrorCode::Unauthenticated, "SESSION_ENDED", "the session has ended; sign in again")));
        }
        self.person.context.user = Some(user);
        Ok(())
    }

    pub(crate) fn begin(&mut self, path: &str) {
        self.zip.begin(path);
    }

    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        Ok(self.zip.end()?)
    }

    /// Writes a message as a line of JSON.
    pub(crate) async fn message(&mut self, message: &(impl Serialize + Sync)) -> Result<(), Failure> {
        self.line(&serde_json::to_vec(message)?).await
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.zip.write(line);
        self.zip.write(b"\n");
        self.flush(PIECE).await
    }

    /// Sends what was written, if it is at least this much. Waits until the client takes it.
    async fn flush(&mut self, least: usize) -> Result<(), Failure> {
        if self.zip.waiting() < least {
            return Ok(());
        }
        self.out.send(Ok(self.zip.take().into())).await.map_err(|_| Failure::Gone)
    }
}

/// The answer, or `None` if what it is about does not exist.
fn found<T>(answer: Result<T, Status>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}
