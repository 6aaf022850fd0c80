//! The two streams of a build.

use std::{pin::Pin, sync::Arc};

use chassis::{error::status, server::stream_fault, task};
use futures::{Stream, StreamExt as _, stream};
use proto::compile::{
    BuildPageRequest, BuildPageResponse, CheckTreeRequest, CheckTreeResponse, Findings, NeedContents, NeedTree, Page, build_page_request,
    build_page_response, check_tree_request, check_tree_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use crate::{
    app::App,
    build::{self, Kind},
    dialogue::{Dialogue, Part, Question},
    error::{Error, SERVICE},
};

pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A message of a service: a question, or the result.
pub(super) trait Answer: Send + 'static {
    fn question(question: Question) -> Self;
    fn result(page: Page) -> Self;
}

/// Runs a build while the answers are read. It ends if they are dropped.
pub(super) fn open<Q, A>(app: &Arc<App>, kind: Kind, messages: Streaming<Q>) -> Answers<A>
where
    Q: Into<Part> + Send + 'static,
    A: Answer,
{
    let parts = messages.map(|message| message.map(Into::into).map_err(|status| Error::from(stream_fault(SERVICE, &status)))).boxed();
    let (sender, questions) = mpsc::channel(1);
    let app = Arc::clone(app);
    let work = task::spawn(async move { build::run(&app, kind, Dialogue { parts, questions: sender }).await });
    let work = AbortOnDropHandle::new(work);
    let result = async move {
        match work.await {
            Ok(result) => result.map(A::result).map_err(status),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    };
    Box::pin(ReceiverStream::new(questions).map(|question| Ok(A::question(question))).chain(stream::once(result)))
}

impl From<BuildPageRequest> for Part {
    fn from(message: BuildPageRequest) -> Self {
        match message.part {
            Some(build_page_request::Part::Start(start)) => Self::Start(start),
            Some(build_page_request::Part::Files(files)) => Self::Files(files),
            Some(build_page_request::Part::Content(content)) => Self::Content(content),
            None => Self::Empty,
        }
    }
}

impl From<CheckTreeRequest> for Part {
    fn from(message: CheckTreeRequest) -> Self {
        match message.part {
            Some(check_tree_request::Part::Start(start)) => Self::Start(start),
            Some(check_tree_request::Part::Files(files)) => Self::Files(files),
            Some(check_tree_request::Part::Content(content)) => Self::Content(content),
            None => Self::Empty,
        }
    }
}

impl Answer for BuildPageResponse {
    fn question(question: Question) -> Self {
        let part = match question {
            Question::Tree => build_page_response::Part::NeedTree(NeedTree {}),
            Question::Contents(blob_ids) => build_page_response::Part::NeedContents(NeedContents { blob_ids }),
        };
        Self { part: Some(part) }
    }

    fn result(page: Page) -> Self {
        Self { part: Some(build_page_response::Part::Page(page)) }
    }
}

impl Answer for CheckTreeResponse {
    fn question(question: Question) -> Self {
        let part = match question {
            Question::Tree => check_tree_response::Part::NeedTree(NeedTree {}),
            Question::Contents(blob_ids) => check_tree_response::Part::NeedContents(NeedContents { blob_ids }),
        };
        Self { part: Some(part) }
    }

    fn result(page: Page) -> Self {
        Self { part: Some(check_tree_response::Part::Findings(Findings { findings: page.findings })) }
    }
}
