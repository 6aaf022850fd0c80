//! A whole project in one response. It is read from project-storage page by page, as fast as the client reads it, so that a slow client
//! holds one page in memory and not the project.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use chassis::{context::Context, task::spawn_and_wait};
use futures::stream;
use proto::{
    error::ErrorCode,
    project_storage::{LoadProjectRequest, LoadProjectResponse},
};

use crate::{
    error::{Failure, fault},
    json::reply::Reply,
    upstream::Upstream,
};

/// Bytes of the files of a page.
const PAGE_BYTES: i32 = 1024 * 1024;
/// The end of the JSON of a page. Its files come last.
const END: &str = "]}";

/// Streams the same JSON as one response of project-storage would be.
pub(super) async fn stream(upstream: Arc<Upstream>, context: Context, request: LoadProjectRequest) -> Reply {
    let mut request = LoadProjectRequest { page_bytes: PAGE_BYTES, ..request };
    let first = next_page(&upstream, &context, &mut request).await?;
    let last = request.page_token.is_empty();
    let begin = if last { text(&first)? } else { open(&text(&first)?)?.to_owned() };
    let body = if last { Body::from(begin) } else { Body::from_stream(pages(upstream, context, request, begin)) };
    Ok(response(body))
}

fn response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Fetches the page of the request's token, and sets the token of the next page.
async fn next_page(upstream: &Upstream, context: &Context, request: &mut LoadProjectRequest) -> Result<LoadProjectResponse, Failure> {
    let mut page = upstream.projects().load_project(context.request(request.clone())).await?.into_inner();
    request.page_token = std::mem::take(&mut page.next_page_token);
    Ok(page)
}

/// The rest of a response: a text, then the pages of the request.
struct RemainingPages {
    upstream: Arc<Upstream>,
    context: Context,
    request: LoadProjectRequest,
    begin: Option<String>,
}

fn pages(
    upstream: Arc<Upstream>,
    context: Context,
    request: LoadProjectRequest,
    begin: String,
) -> impl stream::Stream<Item = Result<Bytes, Error>> {
    let rest = RemainingPages { upstream, context, request, begin: Some(begin) };
    stream::try_unfold(Some(rest), |rest| async {
        let Some(mut rest) = rest else { return Ok(None) };
        if let Some(begin) = rest.begin.take() {
            return Ok(Some((Bytes::from(begin), Some(rest))));
        }
        // In its own task: if the client stops reading, this body is not polled, and the unread page would use the window of other calls.
        let (page, rest) = spawn_and_wait(async move { (next_page(&rest.upstream, &rest.context, &mut rest.request).await, rest) }).await;
        let page = page.map_err(Error::from)?;
        let files = files(page).map_err(Error::from)?;
        let is_last = rest.request.page_token.is_empty();
        let text = if is_last { format!(",{files}{END}") } else { format!(",{files}") };
        Ok(Some((Bytes::from(text), (!is_last).then_some(rest))))
    })
}

/// The response has begun, so an error can only abort it.
#[derive(Debug, thiserror::Error)]
#[error("the project could not be read to its end: {0}")]
struct Error(String);

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        tracing::warn!("the project could not be read to its end: {}", failure.0);
        Self(failure.0.to_string())
    }
}

fn text(page: &LoadProjectResponse) -> Result<String, Failure> {
    serde_json::to_string(page).map_err(|e| fault(ErrorCode::Internal, "INTERNAL", e.to_string()).into())
}

/// The JSON of a page without its end.
fn open(text: &str) -> Result<&str, Failure> {
    text.strip_suffix(END).ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "the files of a page do not come last").into())
}

/// The files of a page, separated by commas.
fn files(page: LoadProjectResponse) -> Result<String, Failure> {
    let text = text(&LoadProjectResponse { files: page.files, ..LoadProjectResponse::default() })?;
    let files = open(&text)?.split_once('[').map(|(_, files)| files.to_owned());
    files.ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "a page has no files").into())
}

#[cfg(test)]
mod tests {
    use proto::project_storage::{File, Project};

    use super::*;

    #[test]
    fn pages_join_to_one_document() {
        let file = |path: &str| File { path: path.to_owned(), ..File::default() };
        let page = |paths: &[&str]| LoadProjectResponse {
            project: Some(Project { id: "p[]}".to_owned(), ..Project::default() }),
            files: paths.iter().map(|path| file(path)).collect(),
            ..LoadProjectResponse::default()
        };
        let whole = page(&["a]}", "b", "c\"[{", "d"]);
        let joined = [
            open(&text(&page(&["a]}", "b"])).unwrap()).unwrap(),
            ",",
            &files(page(&["c\"[{"])).unwrap(),
            ",",
            &files(page(&["d"])).unwrap(),
            END,
        ]
        .concat();
        assert_eq!(joined, text(&whole).unwrap());
    }
}
