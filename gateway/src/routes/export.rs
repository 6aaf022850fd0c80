//! The export of a person's data.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::IntoResponse as _,
};
use chassis::task;
use proto::auth::ExportAccountRequest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    app::App,
    export::{Export, PIECES, Person},
    http::{content::within_opening_time, file_name::attachment},
    identity::authenticate::Authenticated,
    json::{body::Json, reply::Reply},
};

/// Streams a zip file as fast as the client reads it. What auth refuses is refused before the first byte.
pub(crate) async fn export(State(app): State<Arc<App>>, caller: Authenticated, Json(request, _share): Json<ExportAccountRequest>) -> Reply {
    respond(app, caller, request).await
}

pub(crate) async fn respond(app: Arc<App>, caller: Authenticated, request: ExportAccountRequest) -> Reply {
    let request = caller.context.stream_request(request);
    let opening = async { Ok(app.upstream.auth_streams().export_account(request).await?.into_inner()) };
    let account = within_opening_time(opening).await?;
    let (sender, pieces) = mpsc::channel(PIECES);
    let person = Person { id: caller.user.id.to_string(), context: caller.context, credential: caller.credential };
    task::spawn(Export::new(Arc::clone(&app), person, sender).run(account));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, attachment("account.zip")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(pieces))).into_response())
}
