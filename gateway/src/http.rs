//! HTTP itself: names of headers and files, ETags, idempotency keys, media types, content codings, ranges and quota headers.

pub(crate) mod coding;
pub(crate) mod content;
pub(crate) mod etag;
pub(crate) mod file_name;
pub(crate) mod headers;
pub(crate) mod idempotency;
pub(crate) mod media;
pub(crate) mod quota;
pub(crate) mod range;
