//! The OpenAPI document: programs that read it, a cluster's answers beside it, and cases that are made from it.

mod document;
mod fuzz;
mod tools;
