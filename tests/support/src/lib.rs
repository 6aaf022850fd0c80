//! Shared code for tests of a whole cluster. The tests are in the crates `attack`, `journeys`, `chaos` and `bench`.
//!
//! - [`cluster`]: a whole cluster in this process. [`process`]: a cluster in its own process.
//! - [`person`]: a user of the public HTTP API. [`sse`]: a viewer of events. [`grpc`]: calls by descriptor.
//! - [`model_server`]: a model provider that answers from a script. [`script`]: journeys in Node.js.
//! - [`vite`]: a project that is compiled for a preview. [`projects`]: projects from folders and npm packages.
//! - [`contract`]: the HTTP bindings of the contract. [`document`]: the OpenAPI document. [`issuer`]: access tokens that a test issues.
//! - [`identity_provider`]: an issuer of OpenID Connect for sign-ins.
//! - [`sink`]: a server for what an exporter sends. [`upstream`]: a registry of npm packages.
//! - [`canary`]: time limits that exclude the time during which the machine was starved.

pub mod cluster;
pub mod contract;
pub mod document;
pub mod grpc;
pub mod identity_provider;
pub mod issuer;
pub mod model_server;
pub mod person;
pub mod process;
pub mod projects;
pub mod script;
pub mod sink;
pub mod sse;
pub mod upstream;
pub mod vite;

pub use chassis::testing::canary;
pub use cluster::Cluster;
pub use person::Person;
