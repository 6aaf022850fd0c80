//! The RPCs: decode, call one function, encode.

mod conversation;

use std::sync::Arc;

use chassis::error::status;
use proto::{
    compile::{
        BuildPageRequest, BuildPageResponse, BuildSiteRequest, BuildSiteResponse, CheckTreeRequest, CheckTreeResponse, GetModuleRequest,
        GetModuleResponse, compile_service_server::CompileService,
    },
    error::Violations,
};
use tonic::{Request, Response, Status, Streaming};

use self::conversation::Answers;
use crate::{
    app::App,
    build::Kind,
    error::{Error, SERVICE},
};

const MAX_NAME: usize = 128;

/// The service as tonic mounts it.
pub(crate) struct Service(pub(crate) Arc<App>);

#[tonic::async_trait]
impl CompileService for Service {
    type BuildPageStream = Answers<BuildPageResponse>;

    async fn build_page(&self, request: Request<Streaming<BuildPageRequest>>) -> Result<Response<Self::BuildPageStream>, Status> {
        Ok(Response::new(conversation::open(&self.0, Kind::Page, request.into_inner())))
    }

    type CheckTreeStream = Answers<CheckTreeResponse>;

    async fn check_tree(&self, request: Request<Streaming<CheckTreeRequest>>) -> Result<Response<Self::CheckTreeStream>, Status> {
        Ok(Response::new(conversation::open(&self.0, Kind::Check, request.into_inner())))
    }

    type BuildSiteStream = Answers<BuildSiteResponse>;

    async fn build_site(&self, request: Request<Streaming<BuildSiteRequest>>) -> Result<Response<Self::BuildSiteStream>, Status> {
        Ok(Response::new(conversation::open_site(&self.0, request.into_inner())))
    }

    async fn get_module(&self, request: Request<GetModuleRequest>) -> Result<Response<GetModuleResponse>, Status> {
        let name = request.into_inner().name;
        let mut violations = Violations::default();
        violations.length("name", &name, 1..=MAX_NAME);
        if name.contains('\0') {
            violations.add("name", "must have no NUL");
        }
        violations.check(SERVICE).map_err(|fault| status(Error::from(fault)))?;
        let body = self.0.cache.output(&name).await.map_err(status)?;
        Ok(Response::new(GetModuleResponse { body: body.into(), media_type: media_type(&name).to_owned() }))
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        // Files of packages.
        Some("woff2") => "font/woff2",
        Some("woff") => "font/woff",
        Some("ttf") => "font/ttf",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("wasm") => "application/wasm",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("map") => "application/json",
        _ => "application/octet-stream",
    }
}
