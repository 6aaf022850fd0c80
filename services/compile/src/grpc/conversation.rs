//! The two streams of a build.

use std::{pin::Pin, sync::Arc};

use chassis::{error::status, server::stream_fault, task};
use futures::{FutureExt as _, Stream, StreamExt as _, stream, stream::BoxStream};
use prost::Message as _;
use proto::compile::{
    BuildPageRequest, BuildPageResponse, BuildSiteRequest, BuildSiteResponse, CheckTreeRequest, CheckTreeResponse, Findings, NeedContents,
    NeedTree, OutlineTreeRequest, OutlineTreeResponse, Outlines, Page, SiteFile, build_page_request, build_page_response,
    build_site_request, build_site_response, check_tree_request, check_tree_response, outline_tree_request, outline_tree_response,
    site_file,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use crate::{
    app::App,
    build::{self, Kind, site::Site},
    dialogue::{Dialogue, MAX_PART, Part, Question},
    error::{Error, SERVICE},
    outlines::{self, Made},
};

/// Bytes of the outlines of one message, apart from a single larger one.
const MAX_OUTLINES: usize = 1024 * 1024;

pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A message of a service.
pub(super) trait Answer: Send + 'static {
    fn question(question: Question) -> Self;
}

/// A message of a service whose result is one message.
pub(super) trait PageAnswer: Answer {
    fn result(page: Page) -> Self;
}

/// Compiles or checks a tree while the answers are read.
pub(super) fn open<Q, A>(app: &Arc<App>, kind: Kind, messages: Streaming<Q>) -> Answers<A>
where
    Q: Into<Part> + Send + 'static,
    A: PageAnswer,
{
    let (dialogue, questions) = dialogue(messages);
    let app = Arc::clone(app);
    let work = task::spawn(async move { build::run(&app, kind, dialogue).await });
    answers(questions, work, |page| stream::iter([A::result(page)]).boxed())
}

/// Builds a site while the answers are read.
pub(super) fn open_site(app: &Arc<App>, messages: Streaming<BuildSiteRequest>) -> Answers<BuildSiteResponse> {
    let (dialogue, questions) = dialogue(messages);
    let app = Arc::clone(app);
    let work = task::spawn(async move { build::site::run(&app, dialogue).await });
    answers(questions, work, site_parts)
}

/// Outlines the files of a tree while the answers are read.
pub(super) fn open_outlines(app: &Arc<App>, messages: Streaming<OutlineTreeRequest>) -> Answers<OutlineTreeResponse> {
    let (dialogue, questions) = dialogue(messages);
    let app = Arc::clone(app);
    let work = task::spawn(async move { outlines::run(&app, dialogue).await });
    answers(questions, work, outline_parts)
}

fn dialogue<Q: Into<Part> + Send + 'static>(messages: Streaming<Q>) -> (Dialogue, mpsc::Receiver<Question>) {
    let parts = messages.map(|message| message.map(Into::into).map_err(|status| Error::from(stream_fault(SERVICE, &status)))).boxed();
    let (sender, questions) = mpsc::channel(1);
    (Dialogue { parts, questions: sender }, questions)
}

/// The questions of a build, and the parts of its result. The build ends if they are dropped.
fn answers<A: Answer, T: Send + 'static>(
    questions: mpsc::Receiver<Question>,
    work: JoinHandle<Result<T, Error>>,
    parts: impl FnOnce(T) -> BoxStream<'static, A> + Send + 'static,
) -> Answers<A> {
    let work = AbortOnDropHandle::new(work);
    let result = async move {
        let error = match work.await {
            Ok(Ok(result)) => return parts(result).map(Ok).boxed(),
            Ok(Err(error)) => status(error),
            Err(error) => Status::internal(error.to_string()),
        };
        stream::iter([Err(error)]).boxed()
    };
    Box::pin(ReceiverStream::new(questions).map(|question| Ok(A::question(question))).chain(result.flatten_stream()))
}

/// Outlines in messages of some size. No outlines are one message.
fn outline_parts(made: Made) -> BoxStream<'static, OutlineTreeResponse> {
    use outline_tree_response::Part;
    let Made { outlines, memory } = made;
    let (mut parts, mut bytes) = (vec![Outlines::default()], 0);
    for outline in outlines {
        let size = outline.encoded_len();
        if bytes + size > MAX_OUTLINES && bytes > 0 {
            parts.push(Outlines::default());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.outlines.push(outline);
        }
    }
    let parts = parts.into_iter().map(move |part| {
        // The bytes are counted until the last one is sent.
        let _counted = &memory;
        OutlineTreeResponse { part: Some(Part::Outlines(part)) }
    });
    stream::iter(parts).boxed()
}

/// The findings, and then the files.
fn site_parts(site: Site) -> BoxStream<'static, BuildSiteResponse> {
    use build_site_response::Part;
    let Site { findings, files, memory } = site;
    let findings = Part::Findings(Findings { findings });
    let files = files.into_iter().flat_map(file_parts).map(Part::File);
    let parts = std::iter::once(findings).chain(files).map(move |part| {
        // The bytes are counted until the last one is sent.
        let _counted = &memory;
        BuildSiteResponse { part: Some(part) }
    });
    stream::iter(parts).boxed()
}

/// A file of the tree in one part, a generated one in parts of its content.
fn file_parts(file: compiler_client::message::SiteFile) -> Vec<SiteFile> {
    use site_file::Content;
    let path = &file.path;
    let size_bytes = file.content.len() as u64;
    let hashed = file.hashed;
    let part = |content, is_last| SiteFile { path: path.clone(), content: Some(content), is_last, size_bytes, hashed };
    if !file.source.is_empty() {
        return vec![part(Content::TreePath(file.source.clone()), true)];
    }
    let count = file.content.len().div_ceil(MAX_PART).max(1);
    let range = |at: usize| at * MAX_PART..((at + 1) * MAX_PART).min(file.content.len());
    (0..count).map(|at| part(Content::Data(file.content.slice(range(at))), at + 1 == count)).collect()
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

impl From<BuildSiteRequest> for Part {
    fn from(message: BuildSiteRequest) -> Self {
        match message.part {
            Some(build_site_request::Part::Start(start)) => Self::Start(start),
            Some(build_site_request::Part::Files(files)) => Self::Files(files),
            Some(build_site_request::Part::Content(content)) => Self::Content(content),
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
}

impl PageAnswer for BuildPageResponse {
    fn result(page: Page) -> Self {
        Self { part: Some(build_page_response::Part::Page(page)) }
    }
}

impl Answer for BuildSiteResponse {
    fn question(question: Question) -> Self {
        let part = match question {
            Question::Tree => build_site_response::Part::NeedTree(NeedTree {}),
            Question::Contents(blob_ids) => build_site_response::Part::NeedContents(NeedContents { blob_ids }),
        };
        Self { part: Some(part) }
    }
}

impl From<OutlineTreeRequest> for Part {
    fn from(message: OutlineTreeRequest) -> Self {
        match message.part {
            Some(outline_tree_request::Part::Start(start)) => Self::Start(start),
            Some(outline_tree_request::Part::Files(files)) => Self::Files(files),
            Some(outline_tree_request::Part::Content(content)) => Self::Content(content),
            None => Self::Empty,
        }
    }
}

impl Answer for OutlineTreeResponse {
    fn question(question: Question) -> Self {
        let part = match question {
            Question::Tree => outline_tree_response::Part::NeedTree(NeedTree {}),
            Question::Contents(blob_ids) => outline_tree_response::Part::NeedContents(NeedContents { blob_ids }),
        };
        Self { part: Some(part) }
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
}

impl PageAnswer for CheckTreeResponse {
    fn result(page: Page) -> Self {
        Self { part: Some(check_tree_response::Part::Findings(Findings { findings: page.findings })) }
    }
}
