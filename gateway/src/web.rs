//! What the gateway serves itself: the first page, previews, the OpenAPI document and the readiness of the cluster.

pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod preview;
pub(crate) mod preview_client;
pub(crate) mod preview_url;
pub(crate) mod readiness;
