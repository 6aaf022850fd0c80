//! What the gateway serves itself: the first page, previews, published sites, the OpenAPI document and the readiness of the cluster.

pub(crate) mod account;
pub(crate) mod file_response;
mod host_pattern;
pub(crate) mod missing_page;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod preview;
pub(crate) mod preview_client;
pub(crate) mod preview_url;
pub(crate) mod readiness;
pub(crate) mod site;
pub(crate) mod site_url;
