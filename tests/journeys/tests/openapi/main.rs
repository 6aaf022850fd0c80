//! The OpenAPI document: tools that read it, the answers of a cluster, and requests that are generated from it.

mod document;
mod fuzz;
mod tools;
