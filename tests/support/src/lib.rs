//! What tests of a whole cluster share. The tests are in the crates that depend on this one: `attack`, `journeys`, `chaos`, `bench`.
//!
//! - [`cluster`]: a whole cluster in this process; [`process`]: a cluster in its own process.
//! - [`person`]: a user of the public HTTP API; [`sse`]: a viewer of events; [`grpc`]: calls by descriptor.
//! - [`model_server`]: a model provider that answers from a script; [`script`]: journeys that are scripts of Node.js.
//! - [`contract`]: the HTTP bindings of the contract; [`document`]: the OpenAPI document; [`issuer`]: access tokens of a test.
//! - [`canary`]: how much time the machine gave to the test.

pub mod cluster;
pub mod contract;
pub mod document;
pub mod grpc;
pub mod issuer;
pub mod model_server;
pub mod person;
pub mod process;
pub mod script;
pub mod sse;

pub use chassis::testing::canary;
pub use cluster::Cluster;
pub use person::Person;
