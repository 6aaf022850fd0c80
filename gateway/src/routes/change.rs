//! The handler of a request that makes a revision of a project.

/// A handler of a request that makes a revision: binds the ids of the path and the headers, and calls one RPC.
macro_rules! change {
    ($name:ident, $request:ident, $rpc:ident, [$($id:ident),*]) => {
        pub(crate) async fn $name(
            axum::extract::State(app): axum::extract::State<std::sync::Arc<$crate::app::App>>,
            mut caller: $crate::identity::authenticate::Authenticated,
            headers: axum::http::HeaderMap,
            ids: $crate::json::params::PathParams,
            $crate::json::body::Json(mut request, _share): $crate::json::body::Json<$request>,
        ) -> $crate::json::reply::Reply {
            $(ids.bind(&mut request.$id, stringify!($id))?;)*
            $crate::http::idempotency::read_key(&headers, &mut request.request_id, "request_id")?;
            $crate::http::etag::if_match(&headers, &mut request.if_match)?;
            caller.context.deadline = Some(std::time::Instant::now() + $crate::routes::projects::SAVE_TIME);
            let key = request.request_id.clone();
            let mut answer = app.upstream.projects().$rpc(chassis::client::idempotent(caller.context.request(request), &key)).await?.into_inner();
            let replay = $crate::http::idempotency::Replay(std::mem::take(&mut answer.replayed));
            let mut response = $crate::json::reply::reply(&answer)?;
            $crate::http::etag::put_etag(response.headers_mut(), answer.project.as_ref().map_or("", |project| &project.etag));
            Ok(replay.mark(response))
        }
    };
}

pub(super) use change;
