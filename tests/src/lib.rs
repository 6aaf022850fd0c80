//! Journeys over the public surface, on a real cluster. Helpers first: [`cluster`] starts one, [`person`] uses it, [`sse`] watches
//! it, [`model_server`] answers in place of a model provider, [`canary`] tells how much of the time was there, [`document`] whether
//! an answer is documented, [`attack`] is what a stranger may try. The journeys are in `tests/`, the measurements in `src/bin/bench`.

pub mod attack;
pub mod chaos;
pub mod cluster;
pub mod contract;
pub mod deployment;
pub mod document;
pub mod grpc;
pub mod issuer;
pub mod model_server;
pub mod person;
pub mod process;
pub mod proxy;
pub mod script;
pub mod sse;
pub mod tools;

pub use chassis::testing::canary;
pub use cluster::Cluster;
pub use person::Person;
