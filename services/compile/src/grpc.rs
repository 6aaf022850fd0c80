//! The RPCs: decode, call one function, encode.

mod conversation;
mod packages;

use std::sync::Arc;

use chassis::error::status;
use proto::{
    compile::{
        AddPackagesRequest, AddPackagesResponse, BuildPageRequest, BuildPageResponse, BuildSiteRequest, BuildSiteResponse,
        CheckTreeRequest, CheckTreeResponse, ExportPackagesRequest, ExportPackagesResponse, GetModuleRequest, GetModuleResponse,
        ImportPackagesRequest, ImportPackagesResponse, ListBundlesRequest, ListBundlesResponse, ListPackagesRequest, ListPackagesResponse,
        OutlineTreeRequest, OutlineTreeResponse, compile_service_server::CompileService,
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

    type OutlineTreeStream = Answers<OutlineTreeResponse>;

    async fn outline_tree(&self, request: Request<Streaming<OutlineTreeRequest>>) -> Result<Response<Self::OutlineTreeStream>, Status> {
        Ok(Response::new(conversation::open_outlines(&self.0, request.into_inner())))
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

    type AddPackagesStream = Answers<AddPackagesResponse>;

    async fn add_packages(&self, request: Request<AddPackagesRequest>) -> Result<Response<Self::AddPackagesStream>, Status> {
        packages::add(&self.0, request.into_inner()).map(Response::new).map_err(status)
    }

    type ListPackagesStream = Answers<ListPackagesResponse>;

    async fn list_packages(&self, _: Request<ListPackagesRequest>) -> Result<Response<Self::ListPackagesStream>, Status> {
        Ok(Response::new(packages::list(&self.0)))
    }

    type ListBundlesStream = Answers<ListBundlesResponse>;

    async fn list_bundles(&self, _: Request<ListBundlesRequest>) -> Result<Response<Self::ListBundlesStream>, Status> {
        Ok(Response::new(packages::bundles(&self.0)))
    }

    type ExportPackagesStream = Answers<ExportPackagesResponse>;

    async fn export_packages(&self, _: Request<ExportPackagesRequest>) -> Result<Response<Self::ExportPackagesStream>, Status> {
        Ok(Response::new(packages::export(&self.0)))
    }

    type ImportPackagesStream = Answers<ImportPackagesResponse>;

    async fn import_packages(
        &self,
        request: Request<Streaming<ImportPackagesRequest>>,
    ) -> Result<Response<Self::ImportPackagesStream>, Status> {
        Ok(Response::new(packages::import(&self.0, request.into_inner())))
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
