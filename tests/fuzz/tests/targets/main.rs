//! Fuzz targets of what several services use.

mod page_tokens;
mod paths;
mod seeds;
