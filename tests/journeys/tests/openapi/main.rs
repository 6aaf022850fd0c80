//! The OpenAPI document: programs that read it, the cluster's answers, and requests that are generated from it.

mod document;
mod fuzz;
mod tools;
