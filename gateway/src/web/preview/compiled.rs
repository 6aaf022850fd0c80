//! Pages that are compiled before a browser runs them, and their modules. The compiler asks for files that it does not know; they are read
//! with the capability of the preview, at the revision that the request found.

use std::time::{Duration, Instant};

use axum::{
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    compile::{BuildPageRequest, GetModuleRequest, Mode, Page, Start, build_page_request, build_page_response},
    project_storage::ReadPreviewFileResponse,
};

use super::{Target, authorization};
use crate::{
    app::App,
    build::{
        failure,
        source::{Access, Source},
        unfinished,
    },
    edge::request::RequestInfo,
    error::{Failure, fault_of},
    http::etag::{has_version, put_etag},
    upstream::present,
    web::{preview_client::Place, preview_url::Label},
};

/// Where the addresses of modules begin, below the base of the preview.
const MODULES: &str = "@m/";
/// Where the addresses of files begin: those of the project have the id of a blob, and those of packages another hash.
const ASSETS: &str = "@a/";
/// Digits of the id of a blob.
const BLOB_ID: usize = 40;
/// The time that a build may take here in addition to the limit of compile, whose refusal says more than a timeout.
const MARGIN: Duration = Duration::from_secs(5);
/// An address of content has the same answer for ever.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// The page of a tree, or a page with the errors that stop it.
pub(super) async fn page(app: &App, info: &RequestInfo, target: &Target<'_>, file: ReadPreviewFileResponse) -> Result<Response, Failure> {
    let (client, base, revision) = (&app.origins.client, app.origins.preview.base(target.label), file.revision.clone());
    let page = build(app, info, target, file).await?;
    let place = Place { base: &base, revision: &revision };
    let etag = client.etag(&page.etag, &place);
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let mut response = match page.html.is_empty() {
        true => (StatusCode::UNPROCESSABLE_ENTITY, [kind], client.insert_into_errors(&page.error_html, &place)).into_response(),
        false if has_version(&target.request.headers, &etag) => StatusCode::NOT_MODIFIED.into_response(),
        false => ([kind], client.insert(&page.html, &place)).into_response(),
    };
    if response.status() != StatusCode::UNPROCESSABLE_ENTITY {
        put_etag(response.headers_mut(), &etag);
    }
    Ok(response)
}

/// A module of a compiled page, or a file of a package. `None` if the path is that of neither, or if the project is not compiled. The name is
/// a hash and opens nothing alone: the capability must be valid now. The files of a turn are not read for it: whether they are compiled is known
/// by the module alone.
pub(super) async fn module(
    app: &App,
    info: &RequestInfo,
    (label, path): (&Label, &str),
    request: &Parts,
) -> Result<Option<Response>, Failure> {
    if !is_output(path) {
        return Ok(None);
    }
    let context = info.context(None);
    let (mut projects, mut compiler) = (app.upstream.projects(), app.upstream.compiler());
    let authorized = projects.read_preview_file(context.request(authorization(label)));
    let read = compiler.get_module(context.request(GetModuleRequest { name: path.to_owned() }));
    let (authorized, read) = tokio::join!(authorized, read);
    let is_compiled = match authorized.map_err(|status| fault_of(&status)) {
        Ok(page) => !page.get_ref().compiled_tree_id.is_empty(),
        // Without a page nothing is compiled.
        Err(fault) if fault.reason == "FILE_NOT_FOUND" => false,
        Err(fault) => return Err(fault.into()),
    };
    let module = match read.map_err(|status| failure(&status)) {
        Err(Failure(fault)) if label.turn.is_some() && fault.reason == "MODULE_NOT_FOUND" => return Ok(None),
        _ if label.turn.is_none() && !is_compiled => return Ok(None),
        read => read?.into_inner(),
    };
    let etag = format!("\"{path}\"");
    let mut response = match has_version(&request.headers, &etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => module.body.into_response(),
    };
    if let Ok(kind) = HeaderValue::try_from(module.media_type)
        && response.status().is_success()
    {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    put_etag(response.headers_mut(), &etag);
    mark_immutable(&mut response);
    Ok(Some(response))
}

/// Whether the path is the address of something that compile has made or fetched.
fn is_output(path: &str) -> bool {
    let of_package = |name: &str| name.split('.').next().is_some_and(|id| id.len() != BLOB_ID);
    path.starts_with(MODULES) || path.strip_prefix(ASSETS).is_some_and(of_package)
}

/// Lets browsers keep the answer without asking again.
pub(super) fn mark_immutable(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, IMMUTABLE);
}

/// What the files are read with.
fn access<'a>(target: &Target<'a>) -> Access<'a> {
    match target.staged {
        Some(staged) => Access::Turn(staged),
        None => Access::Capability(target.label.capability.clone()),
    }
}

/// Compiles the tree, and answers what the compiler asks.
async fn build(app: &App, info: &RequestInfo, target: &Target<'_>, file: ReadPreviewFileResponse) -> Result<Page, Failure> {
    let mut context = info.context(None);
    context.deadline = Some(Instant::now() + app.config.build_timeout + MARGIN);
    let start = Start {
        tree_id: file.compiled_tree_id,
        base_path: app.origins.preview.base(target.label),
        mode: Mode::Development.into(),
        person_id: file.user_id,
    };
    let (mut messages, stream) = mpsc::channel(1);
    let first = BuildPageRequest { part: Some(build_page_request::Part::Start(start)) };
    // The channel has room for it.
    messages.send(first).await.map_err(|_| unfinished())?;
    let mut source = Source::new(app, context.clone(), access(target), file.revision);
    let call = app.upstream.compiler().build_page(context.stream_request(stream)).await;
    let mut answers = call.map_err(|status| failure(&status))?.into_inner();
    while let Some(answer) = answers.message().await.map_err(|status| failure(&status))? {
        match present(answer.part)? {
            build_page_response::Part::NeedTree(_) => source.send_tree(&mut messages).await?,
            build_page_response::Part::NeedContents(need) => source.send_contents(need.blob_ids, &mut messages).await?,
            build_page_response::Part::Page(page) => return Ok(page),
        }
    }
    Err(unfinished())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_tell_outputs_from_files_of_the_project() {
        let (blob, hash) = ("0".repeat(40), "0".repeat(24));
        for path in [format!("@m/{hash}.js"), format!("@m/{hash}.js.map"), format!("@a/{hash}.woff2")] {
            assert!(is_output(&path), "{path}");
        }
        for path in [format!("@a/{blob}.svg"), format!("{hash}.js"), format!("src/@m/{hash}.js"), String::new()] {
            assert!(!is_output(&path), "{path}");
        }
    }
}
