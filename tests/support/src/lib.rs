//! What tests of a whole cluster have in common. No test is here; who needs it depends on it: `journeys`, `chaos`, `bench`, `house`.
//!
//! - [`cluster`]: a whole cluster in this process; [`process`]: one in a process of its own.
//! - [`person`]: somebody who uses the public HTTP API; [`sse`]: how events are watched; [`grpc`]: calls by descriptor.
//! - [`model_server`]: answers in place of a model provider; [`script`]: runs journeys that are scripts of Node.js.
//! - [`contract`]: the bindings of the contract as data; [`document`]: whether an answer is documented; [`issuer`]: tokens.
//! - [`canary`]: how much of the time was there.

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
